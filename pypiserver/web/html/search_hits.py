"""Which parts of a text a search has found, so that a page can mark them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from ...catalog.project_list import terms_of

_WORD = re.compile(r"[^\W_]+")


class Hits:
    """Divides texts into what the words of ``search`` find, as the full text does it: words that begin with one."""

    def __init__(self, search: str) -> None:
        self._terms = tuple(_plain(term) for term in terms_of(search))

    def __call__(self, text: str) -> Iterator[tuple[str, bool]]:
        """(part, whether it is found) of the text, in order."""
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
    """The word without case and accents."""
    return "".join(each for each in unicodedata.normalize("NFD", word) if not unicodedata.combining(each)).casefold()
