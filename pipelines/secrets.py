"""What must not be read in a log, a sentence or a file: credentials in addresses, and values of secret variables."""

from __future__ import annotations

import logging
import os
import re

_CREDENTIALS = re.compile(r"(?<=://)[^\s/'\"]+@")
_SIGNED = re.compile(r"(?i)([?&][^\s=&'\"]*(?:sig|signature|token|credential|key)[^\s=&'\"]*=)[^\s&'\"]+")
_SECRET = re.compile(r"(?i)secret|password|token|access_key|fernet|_key$|_conn$")
_SHORT = 8  # characters below which a value is no secret, and hiding it would blot out words


def without_secrets(text: str) -> str:
    """``text`` with stars in place of credentials in addresses, of signatures in their queries, and of the values of
    this process's variables that are named like secrets."""
    text = _SIGNED.sub(r"\1***", _CREDENTIALS.sub("***@", text))
    for name, value in os.environ.items():
        if _SECRET.search(name) and len(value) >= _SHORT and value in text:
            text = text.replace(value, "***")
    return text


class Discreet(logging.Formatter):
    """Formats records of any library, tracebacks included, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))
