"""Lines of the log that can be read and printed: one line each, without secrets.

**Invariants:** what a client or a package brings never makes a second line, and no line has a password, a token or a
signed address; the time is linear in the length of a text.
"""

from __future__ import annotations

import logging
import re

from ..text import cut, printable

LONGEST_VALUE = 4096  # characters of a header, a path or another part of a request
LONGEST_LINE = 2048  # characters of a line; the data of a package or a request may have megabytes
LONGEST_TRACEBACK = 64 * 1024


MARK_OF_TOKENS = "pps_"
# Each is linear in the length of the text: repetitions are bounded, or cannot start within their own match.
_SECRETS = (
    # API tokens (see access.token_text), whole or cut: the id stays, since it tells which one to revoke.
    (re.compile(r"(pps_[0-9A-Za-z]{8}_)[0-9A-Za-z]+"), r"\1***"),
    (re.compile(r"(?<=//)[^/@\s]+@"), "***@"),
    (re.compile(r"((?:token|passw|secret)[\w-]{0,40}(?:=|%3D))[^&\s]+", re.IGNORECASE), r"\1***"),
    # For the signed addresses of a bucket, at which any client gets the file: S3, GCS and Azure, also quoted once more.
    (re.compile(r"((?:signature|credential|accesskeyid|accessid)(?:=|%3D))[^&\s]+", re.IGNORECASE), r"\1***"),
    (re.compile(r"((?:[?&;]|%26|%3F)sig(?:=|%3D))[^&\s]+", re.IGNORECASE), r"\1***"),
    (re.compile(r"\b((?i:Basic|Bearer))\s{1,9}(?=\S{0,99}[A-Z0-9=+])[\w+/=.~-]{8,}"), r"\1 ***"),
)


def redacted(text: str) -> str:
    """The text without the passwords and tokens that are recognizable by their form."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def clean(text: str, longest: int = LONGEST_LINE) -> str:
    """One line of at most ``longest`` characters without secrets; unprintable characters are escaped."""
    # The text that marks a secret may follow it, beyond the end of the line.
    text = text[: 4 * longest]
    # Twice: an unprintable character inside a secret may separate it from the text that marks it as one.
    return cut(redacted(printable(redacted(text))), longest)


class CleanLines(logging.Filter):
    """Makes each record one clean line, and indents the lines of its traceback, so none can be forged.

    It is a filter of handlers and runs before any formatter, also one from ``--log-conf``.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Clean the record; every record passes."""
        # Lines about requests are already clean, and may contain the line ends of the format itself.
        if not getattr(record, "is_clean", False):
            record.msg, record.args, record.is_clean = clean(record.getMessage()), None, True
            if record.exc_info and not record.exc_text:
                lines = logging.Formatter().formatException(record.exc_info)[-LONGEST_TRACEBACK:].split("\n")
                record.exc_text = "\n".join("    " + clean(line) for line in lines)
            if record.stack_info:
                record.stack_info = "\n".join("    " + clean(line) for line in record.stack_info.split("\n"))
        return True
