"""No code compares or takes apart what an exception or a stored fault says: they carry data for that.

Sentences are written again, and translated; a comparison with one then fails in silence.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CODE = Path(__file__).resolve().parents[2] / "pypiserver"
TAKEN_APART = frozenset({
    "startswith", "endswith", "partition", "rpartition", "split", "rsplit", "splitlines", "removeprefix",
    "removesuffix", "find", "rfind", "index", "rindex", "count", "replace", "translate",
})  # fmt: skip
SEARCHED = frozenset({"search", "match", "fullmatch", "sub", "subn", "findall", "finditer"})
# Attributes of ours that are sentences or parts of them, and what changes a text and leaves it one.
SENTENCES = frozenset({"sentence", "message", "public", "rule", "fault"})
WRAPPERS = frozenset({"str", "repr", "printable", "one_line", "cut", "line_of", "redacted"})
# By module and function: looks into the words of a library, because it tells nothing else; and what is no look.
ALLOWED = {
    "file.is_damage": "sqlite3 tells its codes from Python 3.11 on",
    "file.is_full": "sqlite3 tells its codes from Python 3.11 on",
    "file._switch_to_wal": "sqlite3 tells its codes from Python 3.11 on",
    "connections.is_lost": "sqlite3 tells its codes from Python 3.11 on",
    "driver._reason": "what PostgreSQL says has the statement in it, on lines of its own",
    "object_store.refusal": "obstore tells no status of a listing that was refused",
    "object_store._words": "obstore says more than a line, with addresses that may be signed",
    "archive_limits.__exit__": "what a library says of an archive is made one short line",
    "tls_files.check": "the reason of an SSLError is a code",
    "problem_details.readable": "a page leaves out a text of ours for programs; nothing is decided by it",
    "file_rules.forbidden": "the rule that withholds a file is the name of a setting, and no sentence",
    "withheld_files.summary_of": "the rule that withholds a file is the name of a setting, and no sentence",
    "xmlrpc.handle": "XML has no way to write some characters",
    "migrations.": "a step takes old rows over once, and is never changed again",
}
_SQL = re.compile(
    r"fault\s+(?:NOT\s+)?I?LIKE|\b(?:substr|strpos|instr|position|replace|split_part)\((?:\w+\.)?fault\b", re.I
)


@dataclass
class Reader(ast.NodeVisitor):
    """Finds, function by function, where the words of a failure are looked into."""

    found: list[tuple[str, int, str]] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    failures: list[set[str]] = field(default_factory=lambda: [set()])
    texts: list[set[str]] = field(default_factory=lambda: [{"fault", "sentence"}])

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        named = {each.arg for each in arguments if each.annotation and _names_failure(ast.unparse(each.annotation))}
        self.functions.append(node.name)
        self.failures.append(self.failures[-1] | named)
        self.texts.append(set(self.texts[-1]))
        self.generic_visit(node)
        for stack in (self.functions, self.failures, self.texts):
            stack.pop()

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - the visitor's own name

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.failures[-1].add(node.name)
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        if self.is_text(node.value):
            self.texts[-1] |= {each.id for each in node.targets if isinstance(each, ast.Name)}

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute):
            is_method = node.func.attr in TAKEN_APART and self.is_text(node.func.value)
            is_pattern = node.func.attr in SEARCHED and any(map(self.is_text, node.args))
            if is_method or is_pattern:
                self.note(node)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        left = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            inside = isinstance(operator, ast.In | ast.NotIn) and self.is_text(right)
            pair = (left, right)
            equal = any(map(self.is_text, pair)) and any(map(_is_words, pair))
            if inside or equal:
                self.note(node)
            left = right
        self.generic_visit(node)

    def visit_Match(self, node: ast.Match) -> None:
        if self.is_text(node.subject):
            self.note(node)
        self.generic_visit(node)

    def is_failure(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Name):
            return node.id in self.failures[-1]
        return isinstance(node, ast.Attribute) and (node.attr == "__cause__" or _is_called_failure(node.attr))

    def is_text(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Name):
            return node.id in self.texts[-1]
        if isinstance(node, ast.Subscript):
            return self.is_text(node.value)
        if isinstance(node, ast.Attribute):
            return node.attr in SENTENCES or (node.attr == "reason" and self.is_failure(node.value))
        if isinstance(node, ast.JoinedStr):
            parts = [each.value for each in node.values if isinstance(each, ast.FormattedValue)]
            return any(self.is_failure(each) or self.is_text(each) for each in parts)
        if not isinstance(node, ast.Call):
            return False
        if isinstance(node.func, ast.Attribute):
            return self.is_text(node.func.value)
        is_wrapper = isinstance(node.func, ast.Name) and node.func.id in WRAPPERS
        return is_wrapper and any(self.is_failure(each) or self.is_text(each) for each in node.args)

    def note(self, node: ast.expr | ast.stmt) -> None:
        self.found.append((self.functions[-1] if self.functions else "", node.lineno, ast.unparse(node)))


def _names_failure(annotation: str) -> bool:
    return (
        re.search(r"Error\b|Exception\b|Unavailable\b|BadArchive\b|InvalidFilename\b|InvalidDistribution\b", annotation)
        is not None
    )


def _is_called_failure(name: str) -> bool:
    return name.strip("_") in ("error", "failure", "exception")


def _is_words(node: ast.expr) -> bool:
    """A constant that is more than the empty text, or a name that is spelled as one."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and node.value != ""
    return isinstance(node, ast.Name) and node.id.isupper()


def looked_into(source: str) -> list[tuple[str, int, str]]:
    """(function, line, code) of each place in a module that looks into the words of a failure."""
    tree = ast.parse(source)
    reader = Reader()
    reader.visit(tree)
    words = [(node.lineno, node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return reader.found + [("", line, each) for line, each in words if isinstance(each, str) and _SQL.search(each)]


def places() -> Iterator[tuple[str, int, str]]:
    for path in sorted(CODE.rglob("*.py")):
        for function, line, code in looked_into(path.read_text("utf-8")):
            yield f"{path.stem}.{function}", line, code


def test_no_code_looks_into_the_words_of_a_failure() -> None:
    found = list(places())
    assert [each for each in found if each[0] not in ALLOWED] == []
    assert set(ALLOWED) == {place for place, _, _ in found}


LOOKS = [
    "try: pass\nexcept OSError as error:\n    kind = str(error).partition(': ')[2]",
    "try: pass\nexcept OSError as error:\n    said = f'{error}'\n    kind = said.startswith('it cannot be ')",
    "try: pass\nexcept OSError as error:\n    kind = 'locked' in printable(str(error))",
    "try: pass\nexcept OSError as error:\n    kind = str(error).strip() == 'It is full.'",
    "try: pass\nexcept OSError as error:\n    kind = PATTERN.search(str(error.__cause__))",
    "def kind(error: InvalidDistribution) -> bool: return ' is refused: ' in error.reason",
    "def kind(fault: str) -> bool: return fault.startswith(AWAITS)",
    "def kind(row: FileFault) -> bool: return row.sentence == CHANGED",
    "def kind(self) -> list[str]: return str(self._failure).splitlines()",
    "def kind(mistake: Mistake) -> list[str]: return mistake.sentence[:80].split(': ')",
    "def kind(error: Exception) -> str:\n    match str(error):\n        case 'x': return 'y'",
    "QUERY = \"SELECT 1 FROM file WHERE fault LIKE 'it cannot be %'\"",
    "QUERY = f\"SELECT 1 FROM file WHERE substr(file.fault, 1, {size}) = '{begin}'\"",
]
LOOKS_NOT = [
    "try: pass\nexcept OSError as error:\n    log(str(error), error.strerror or error)",
    "def kind(error: InvalidDistribution) -> bool: return error.kind == 'corrupt' and error.filename.endswith('.whl')",
    "def kind(row: FileFault) -> bool: return bool(row.fault) and row.fault != ''",
    "def kind(status: ProjectStatus) -> str: return status.reason.partition(' ')[0]",
    "def kind(last: str, error: Exception) -> bool: return str(error) != last",
]


@pytest.mark.parametrize("source", LOOKS)
def test_a_look_into_the_words_is_seen(source: str) -> None:
    assert len(looked_into(source)) == 1


@pytest.mark.parametrize("source", LOOKS_NOT)
def test_data_may_be_compared_and_words_be_shown(source: str) -> None:
    assert looked_into(source) == []
