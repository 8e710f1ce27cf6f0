"""Which characters the names of folders, of files, and of the members of an archive may have.

**Invariants:** the rule is a list of code points and asks no table of Unicode, so every Python judges a name alike; a
name that no database, page or line of a log can hold is refused, any other is taken and escaped where it is shown.
"""

from __future__ import annotations

import re

# Control characters (category Cc), the separators of lines and paragraphs (Zl, Zp), and halves of surrogate pairs, as
# which Python gives the bytes of a name that are not UTF-8 (PEP 383). Unicode never changes these categories.
_REFUSED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


_REFUSED_IN_ARCHIVE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_KINDS = {"\u2028": "a line separator (U+2028)", "\u2029": "a paragraph separator (U+2029)"}
# The file in which the Finder keeps a folder's icon; sdists made on a Mac have it.
_ICON = re.compile("(?<![^/])Icon\r(?![^/])")


def allowed_in_a_path(text: str) -> bool:
    """Whether a folder or file of this name or path is served: ``text`` is as ``os.fsdecode`` gives it in UTF-8."""
    return _REFUSED.search(text) is None


def refused_in_an_archive(path: str) -> str | None:
    """What a member's path has that no member of an archive may have; None when an archive may have it.

    Bytes that are no UTF-8 are given as by ``surrogateescape``. pip unpacks names in Latin-1 and the ``Icon\\r`` of a
    Mac, and old sdists have them.
    """
    found = _REFUSED_IN_ARCHIVE.findall(path if "Icon\r" not in path else _ICON.sub("Icon", path))
    return _KINDS.get(min(found), "control characters") if found else None
