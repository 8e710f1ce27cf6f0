"""A sentence of the product is repeated by one test file at most, its owner; all other tests compare data.

``FEW`` is the number of texts in tests that repeat four words or more of a sentence. It only falls: a failure carries
``kind``, ``filename``, ``project``, ``reason``, ``rule`` or ``setting``, which ``tests.raising.raises`` compares.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
WORDS = 4
FEW = 90
# Their texts are reasons and samples of their own, and not what the product says.
NO_OWNERS = ("test_caches.py", "test_english.py", "test_error_data.py", "test_prose.py", "test_swaps.py")
_WORD = re.compile(r"[A-Za-z][a-z'-]*|\d+")
_TEXT = re.compile(
    r""""{3}[\s\S]*?"{3}|#[^\n]*|\b(?:reason|ids?)="[^"\n]*"|(?P<quote>["'])(?P<text>(?:(?!(?P=quote))[^\\\n]|\\.)*)(?P=quote)"""
)
Run = tuple[str, ...]


def runs(text: str) -> set[Run]:
    """Each four words that follow each other in a text, without punctuation."""
    words = [word.strip(".,;:!?()[]\"'") for word in re.sub(r"\\.", " ", text).split()]
    found = zip(*(words[at:] for at in range(WORDS)), strict=False)
    return {run for run in found if all(map(_WORD.fullmatch, run))}


def texts(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of each text on one line, but of ids and the reasons of marks; docstrings and comments are none.

    A tokenizer would be exact, and would take a second of the suite's thirty.
    """
    for match in _TEXT.finditer(source):
        if text := match["text"]:
            yield source.count("\n", 0, match.start()) + 1, text


@pytest.fixture(scope="module")
def repeated() -> dict[Run, list[str]]:
    """The places in unit tests that repeat a run of words of the product."""
    said = {
        run
        for path in (TOP / "pypiserver").rglob("*.py")
        for _, text in texts(path.read_text("utf-8"))
        for run in runs(text)
    }
    found: dict[Run, list[str]] = defaultdict(list)
    for path in sorted((TOP / "tests" / "unit").rglob("*.py")):
        if path.name not in NO_OWNERS:
            for line, text in texts(path.read_text("utf-8")):
                for run in runs(text) & said:
                    found[run].append(f"{path.relative_to(TOP)}:{line}")
    return found


def test_a_sentence_is_repeated_by_its_owner_alone(repeated: dict[Run, list[str]]) -> None:
    shared = {
        " ".join(run): places
        for run, places in repeated.items()
        if len({place.partition(":")[0] for place in places}) > 1
    }
    assert shared == {}


def test_few_texts_repeat_what_the_product_says(repeated: dict[Run, list[str]]) -> None:
    places = sorted({place for each in repeated.values() for place in each})
    assert len(places) <= FEW, "\n".join(places)


def test_words_are_found_and_names_are_not() -> None:
    assert runs("pypi.server: 'x.y' has no such file.") == {("has", "no", "such", "file")}
    assert runs("HTTP_X_FORWARDED_FOR a/b/c/d e.f.g.h") == set()
    assert [text for _, text in texts('"""Not this."""\nx = "this"  # not "this"\nf(reason="not this")')] == ["this"]
