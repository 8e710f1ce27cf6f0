"""The characters that names of folders, files and archive members may have.

**Invariants:** the rule is a list of code points and uses no Unicode table, so every Python version gives the same
answer; it refuses a name that a database, a page or a log line cannot hold, and accepts any other, which is escaped
where it is shown.
"""

from __future__ import annotations

import re

# Control characters (category Cc), line and paragraph separators (Zl, Zp), and lone surrogates, with which Python
# represents bytes of a name that are not UTF-8 (PEP 383). Unicode never changes these categories.
_REFUSED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


_REFUSED_IN_ARCHIVE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_KINDS = {"\u2028": "a line separator (U+2028)", "\u2029": "a paragraph separator (U+2029)"}
# The Finder keeps a folder's icon in this file; sdists made on a Mac contain it.
_ICON = re.compile("(?<![^/])Icon\r(?![^/])")


def allowed_in_a_path(text: str) -> bool:
    """Whether a folder or file with this name or path is served; ``text`` is what ``os.fsdecode`` gives in UTF-8."""
    # All that is refused in ASCII is what Python calls not printable: a third of the time of the expression.
    return text.isprintable() if text.isascii() else _REFUSED.search(text) is None


def refused_in_an_archive(path: str) -> str | None:
    """The forbidden characters in a member's path, in words; None when an archive may have the path.

    ``path`` has surrogate escapes for bytes that are not UTF-8. pip unpacks names in Latin-1 and the ``Icon\\r`` of a
    Mac, and old sdists contain them, so both are allowed.
    """
    found = _REFUSED_IN_ARCHIVE.findall(path if "Icon\r" not in path else _ICON.sub("Icon", path))
    return _KINDS.get(min(found), "control characters") if found else None
