"""The two ways a stage fails, told apart by the exit status of its process."""

from __future__ import annotations

BAD_DATA_EXIT = 65  # EX_DATAERR of sysexits.h: trying again cannot help
FAILURE_EXIT = 1


class SwathError(Exception):
    """Something went wrong that may pass: a network, a disk, a service.

    The message is a sentence that says what is wrong, with which file or value, and what to do.
    """

    exit_status = FAILURE_EXIT


class BadData(SwathError):
    """The input itself is wrong, so a retry gives the same answer: bad scene, label, parameter or model."""

    exit_status = BAD_DATA_EXIT
