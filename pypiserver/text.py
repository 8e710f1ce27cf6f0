"""Text from outside, made fit for one line of a log, a page or a reason phrase.

**Invariants:** text from a package, a sidecar or a request passes :func:`cut` or :func:`line_of` where it enters, so
that no text inside is longer than its field allows.
"""

from __future__ import annotations

# Characters of the reason of a yank or a project status.
MAX_REASON = 4000
# Characters of a sentence about a fault of a file or a request.
MAX_SENTENCE = 2000
# The addresses that are every interface of a machine, and those by which the machine itself gets there.
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound to


def printable(text: str) -> str:
    """The text with every unprintable character escaped, so that it cannot forge a line."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def url_host(host: str) -> str:
    """A host as a URL has it: an IPv6 address is in brackets (RFC 3986 section 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def one_line(text: str) -> str:
    """The text with every run of white space and control characters replaced by one space."""
    if not text.isprintable():
        text = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(text.split())


def cut(text: str, limit: int) -> str:
    """The text, or its beginning and three dots: at most ``limit`` characters."""
    return text if len(text) <= limit else text[: limit - 3] + "..."


def cut_at_word(text: str, limit: int) -> str:
    """The text, or its first words and an ellipsis: at most ``limit`` characters."""
    if len(text) <= limit:
        return text
    words = text[: limit - 1].rpartition(" ")[0] or text[: limit - 2]
    return f"{words.rstrip()} …"


def line_of(text: str, limit: int) -> str:
    """The beginning of the text on one line: at most ``limit`` characters, in time that depends on ``limit`` only."""
    return cut(one_line(text[: 4 * limit]), limit)
