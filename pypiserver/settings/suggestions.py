"""What a word that is not known was probably meant to be.

**Invariants:** a suggestion is one of the known words, or there is none.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """The known word closest to this one (``cutoff`` from 0 to 1), or an empty string."""
    candidates = list(known)
    # Swapped letters are the likelier typo than what difflib ranks first.
    matches = [each for each in candidates if sorted(each) == sorted(word)]
    matches += difflib.get_close_matches(word, candidates, n=1, cutoff=cutoff)
    return matches[0] if matches else ""


def hinting(word: str) -> str:
    """The end of a sentence: a suggestion of ``word`` if there is one, else a full stop."""
    return f"; did you mean {word!r}?" if word else "."
