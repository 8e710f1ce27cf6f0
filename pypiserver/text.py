"""Text from outside, made fit for one line of a log, a page or a reason phrase.

The rule to keep: text from a package, a sidecar or a request passes :func:`cut` or :func:`line_of` where it enters, so
that nothing behind that border is longer than its field allows.
"""

from __future__ import annotations

# Characters of why something was yanked, or why a project is archived.
MAX_REASON = 4000
# Characters of a sentence that says what is wrong with a file or a request.
MAX_SENTENCE = 2000


def printable(text: str) -> str:
    """The text with every character that is not printable written as an escape, so it cannot forge a line."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def one_line(text: str) -> str:
    """The text with every run of white space and control characters made one space."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def cut(text: str, limit: int) -> str:
    """The text, or its beginning with three dots: ``limit`` characters at most."""
    return text if len(text) <= limit else text[: limit - 3] + "..."


def line_of(text: str, limit: int) -> str:
    """The beginning of the text on one line, ``limit`` characters at most; costs no more than that, however long."""
    return cut(one_line(text[: 4 * limit]), limit)
