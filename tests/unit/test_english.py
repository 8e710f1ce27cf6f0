"""Words that readers must look up or read twice are in no file of the program, its documentation and its tools.

Names of variables are words too. What tests say of themselves is counted, and the number only falls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
FOLDERS = (".ci", "bin", "docs", "pypiserver")
FEW = 240
BINARY = frozenset({".ico", ".png", ".pyc", ".woff2"})
# What to write instead.
BETTER = {
    "so long": "for this many seconds, as long as",
    "so many": "this many",
    "whoever|whomever": "users who, clients that, code that",
    "nobody|noone": "no user, no client; refused to everyone",
    "everybody": "everyone, all users",
    "somebody|anybody": "another user, a client, an attacker",
    "stands|stood": "is, has",
    "beside|besides": "next to; also",
    "away": "down, removed",
    "in vain": "unreferenced, without effect",
    "for ever": "without end, without a timeout",
    "yesterday|yesterday's": "older, legacy",
    "had it|be had": "contained it; available",
    "anew|afresh": "again",
    "the rules? to keep": "**Invariants:**",
    "goes on|go on|went on|going on": "continues, keeps, still",
    'behaviour|colour|licence|labelled(?! ")|defence': "US spelling",
    r"(?:normal|serial|recogn|author|organ|sanit)is(?:e|es|ed|ing|ation)": "US spelling",
}
PATTERNS = {re.compile(rf"(?<!\w)(?:{words})(?!\w)"): better for words, better in BETTER.items()}
ANY = re.compile(rf"(?<!\w)(?:{'|'.join(BETTER)})(?!\w)")
CAPITAL = re.compile(r"\b[A-Z](?=[a-z])")


def found_in(text: str) -> list[str]:
    """Each line with such a word, with its number and what to write instead."""
    plain = CAPITAL.sub(lambda match: match[0].lower(), text)
    return [
        f"{number}: {match[0]!r} in {line.strip()!r}; better: {better}"
        for number, line in enumerate(plain.splitlines() if ANY.search(plain) else (), start=1)
        for pattern, better in PATTERNS.items()
        if (match := pattern.search(line))
    ]


def files() -> Iterator[Path]:
    yield from (path for path in TOP.iterdir() if path.is_file() and path.name not in ("LICENSE.txt", ".git"))
    for folder in FOLDERS:
        yield from (path for path in sorted((TOP / folder).rglob("*")) if path.is_file() and path.suffix not in BINARY)


def test_every_file_is_in_plain_english() -> None:
    wrong = [f"{path.relative_to(TOP)}:{each}" for path in files() for each in found_in(path.read_text("utf-8"))]
    assert wrong == []


def test_tests_have_few_of_these_words() -> None:
    found = [
        f"{path.relative_to(TOP)}:{each}"
        for path in sorted((TOP / "tests").rglob("*.py"))
        if path.name != "test_english.py"
        for each in found_in(path.read_text("utf-8").replace("_", " "))
    ]
    assert len(found) <= FEW, "\n".join(found)


def test_each_of_the_words_is_found() -> None:
    assert len(found_in("Whoever stands beside it\nworked in vain.")) == 4
    assert found_in("beside_them = SO_LONG or BESIDE") == []
