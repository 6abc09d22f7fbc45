"""A command does not outlive whoever started it: a retry would meet it at its work."""

from __future__ import annotations

import os
import signal
import threading

LIFELINE = "SWATH_LIFELINE"  # "stdin": the starter holds the other end of standard input and sends nothing


def hold() -> None:
    """End this process group at once when standard input closes, where the starter asked for that.

    Children inherit both, so each of them sees to it, whichever of them are left.
    """
    if os.environ.get(LIFELINE) == "stdin":
        threading.Thread(target=_end_at_close, name="lifeline", daemon=True).start()


def _end_at_close() -> None:
    while os.read(0, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)
