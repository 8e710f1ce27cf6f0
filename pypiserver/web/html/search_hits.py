"""Splitting a text into matches of a search and the rest, so that a page can highlight the matches.

**Invariants:** a word matches exactly if the full-text index finds it: if it begins with a word of the search, without
case and accents.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from ...catalog.project_list import terms_of

_WORD = re.compile(r"[^\W_]+")


class Hits:
    """Splits texts into words that begin with a word of ``search``, and the rest."""

    def __init__(self, search: str) -> None:
        self._terms = tuple(_plain(term) for term in terms_of(search))

    def __call__(self, text: str) -> Iterator[tuple[str, bool]]:
        """(part, whether it matches) of the text, in order."""
        if not self._terms:
            yield text, False
            return
        end = 0
        for word in _WORD.finditer(text):
            if _plain(word[0]).startswith(self._terms):
                yield text[end : word.start()], False
                yield word[0], True
                end = word.end()
        yield text[end:], False


def _plain(word: str) -> str:
    """The word case-folded and without accents."""
    return "".join(each for each in unicodedata.normalize("NFD", word) if not unicodedata.combining(each)).casefold()
