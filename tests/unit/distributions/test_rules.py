"""Every fault of an archive names its rule in one short word, which tests compare in place of its sentence."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypiserver import distributions

CODE = Path(distributions.__file__).parent
MAKERS = ("BadArchive", "ArchiveFault", "foreign")
RULE = re.compile(r"[a-z]+[0-9]*(?:-[a-z0-9]+)*")


def made(source: str) -> Iterator[tuple[str, str]]:
    """(rule, sentence) of each fault that a module makes; '' for what is no plain text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKERS and node.args[1:]:
            rule, sentence = node.args[:2]
            if isinstance(rule, ast.Constant):
                yield rule.value, ast.unparse(sentence)


FAULTS = [each for path in sorted(CODE.glob("*.py")) for each in made(path.read_text("utf-8"))]


def test_a_rule_is_a_short_word_and_a_sentence_has_one_rule() -> None:
    assert [rule for rule, _ in FAULTS if not RULE.fullmatch(rule) or len(rule) > 24] == []
    rules: dict[str, str] = {}
    for rule, sentence in FAULTS:
        assert sentence == "reason" or rules.setdefault(sentence, rule) == rule, sentence
    assert len(rules) > 70


@pytest.mark.parametrize("code", ['BadArchive("it has two sizes", "unsafe")', 'foreign("It cannot be read", "x")'])
def test_a_sentence_in_place_of_a_rule_is_seen(code: str) -> None:
    assert [rule for rule, _ in made(code) if not RULE.fullmatch(rule)]
