"""Text from outside, made fit for one line of a log, a page or a reason phrase."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with every character that is not printable written as an escape, so it cannot forge a line."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def one_line(text: str) -> str:
    """The text with every run of white space and control characters made one space."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())
