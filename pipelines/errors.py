"""The two ways a stage fails, told apart by the exit status of its process."""

from __future__ import annotations

from pipelines.secrets import without_secrets

BAD_DATA_EXIT = 65  # EX_DATAERR of sysexits.h: trying again cannot help
FAILURE_EXIT = 1


class SwathError(Exception):
    """Something went wrong that may pass: a network, a disk, a service.

    The message is a sentence that says what is wrong, with which file or value, and what to do; secrets are struck out.
    """

    exit_status = FAILURE_EXIT

    def __init__(self, sentence: str) -> None:
        super().__init__(without_secrets(sentence))  # it goes to logs, tasks' results and pages


class BadData(SwathError):
    """The input itself is wrong, so a retry gives the same answer: bad scene, label, parameter or model."""

    exit_status = BAD_DATA_EXIT
