"""Descriptions that are made to cost their renderer much: what nests, repeats or refers in Markdown, reST and HTML."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from .around import size
from .metadatas import packed

Chance = random.Random
MOST_CHARACTERS = 400_000
CODE = "".join(f"```{language}\n{{{{(((\n```\n" for language in ("c", "html", "js", "yaml"))
Text = Callable[[int], str]


def _repeated(unit: str, *, end: str = "") -> Text:
    return lambda number: unit * (number // len(unit)) + end


def _nested(opening: str, closing: str, inside: str = "x") -> Text:
    def text(number: int) -> str:
        times = number // (len(opening) + len(closing))
        return opening * times + inside + closing * times

    return text


def _table(number: int) -> str:
    """As many columns as rows, and a renderer that fills each row up."""
    columns = max(2, number // 8)
    return "|x" * columns + "|\n" + "|-" * columns + "|\n" + "x\n" * (number // 4)


def _indented(marker: str) -> Text:
    """Lists or quotes inside each other, each line further in than the one before: a triangle of ``number``."""
    return lambda number: "\n".join("  " * at + marker for at in range(int(number**0.5)))


def _references(number: int) -> str:
    return (
        "\n".join(f"[r{at}]: https://files.example/{'a' * 20}" for at in range(number // 50))
        + "\n\n"
        + "[r1]" * (number // 8)
    )


MARKDOWN: dict[str, Text] = {
    "table": _table,
    "table of short rows": lambda number: "a|b\n-|-\n" + "x\n" * (number // 2),
    "quotes": _nested("> ", ""),
    "lists": _indented("- x"),
    "lists on one line": _nested("- ", ""),
    "brackets": _nested("[", "](x)"),
    "open brackets": _repeated("[a]("),
    "images": _nested("![", "](x)"),
    "emphasis": _repeated("*a_ "),
    "strong": _repeated("**a *b "),
    "strikethrough": _repeated("~~a~ "),
    "backticks": lambda number: " ".join("`" * at for at in range(1, int((2 * number) ** 0.5))),
    "references": _references,
    "footnotes": lambda number: "\n".join(f"[^{at}] \n[^{at}]: x\n" for at in range(number // 16)),
    "entities": _repeated("&#1;&copy;&"),
    "links without marks": _repeated("www.a.example/(( "),
    "mail addresses": _repeated("a@b."),
    "comments": _repeated("<!-- "),
    "processing": _repeated("<?<!A<![CDATA["),
    "tags": _nested("<div><b>", "</b></div>"),
    "open tags": _repeated("<a href='x' "),
    "tables in HTML": _repeated("<table><tr><td>"),
    "headings": _repeated("# a\n"),
    "setext headings": _repeated("a\n=\n"),
    "code": lambda number: "```python\n" + "f'{" * (number // 3) + "\n```\n",
    "code in many languages": lambda number: CODE * (number // 80),
    "code of one line": lambda number: "```html+jinja\n" + "<{{ " * (number // 4) + "\n```\n",
    "thematic breaks": _repeated("* * *\n"),
    "one word": _repeated("a"),
    "escapes": _repeated("\\"),
}  # fmt: skip


def _substitutions(number: int) -> str:
    levels = min(60, 2 + number // 400)
    rows = [f".. |s{at}| replace:: |s{at + 1}| |s{at + 1}|" for at in range(levels)]
    return "\n".join([*rows, f".. |s{levels}| replace:: x"]) + "\n\n|s0|\n"


def _headings(number: int) -> str:
    marks = "=-~^\"'`*+#<>:.,_!$%&"
    return "".join(f"a\n{marks[at % len(marks)] * 2}\n\n" for at in range(min(number // 6, 20_000)))


def _grid(number: int) -> str:
    columns = max(2, int(number**0.5) // 4)
    rule = "+--" * columns + "+\n"
    return rule + ("|x " * columns + "|\n" + rule) * max(1, number // (2 * len(rule)))


REST: dict[str, Text] = {
    "substitutions": _substitutions,
    "headings": _headings,
    "one heading": _repeated("a\n=\n\n"),
    "option lists": _repeated("-a B  x\n"),
    "open option lists": _repeated("-a "),
    "include": lambda number: ".. include:: /dev/zero\n\n" * max(1, number // 30),
    "files of tables": lambda number: ".. csv-table:: x\n   :file: /dev/zero\n\n" * max(1, number // 50),
    "raw": lambda number: ".. raw:: html\n   :file: /dev/zero\n\n" * max(1, number // 50),
    "grid": _grid,
    "simple table": lambda number: "== ==\na  b\n== ==\n" + "x  y\n" * (number // 5) + "== ==\n",
    "broken grid": _repeated("+--+\n|x\n"),
    "footnotes": lambda number: "[#]_ " * (number // 12) + "\n\n" + ".. [#] x\n" * (number // 12),
    "citations": lambda number: "\n".join(f".. [c{at}] [c{at + 1}]_" for at in range(number // 16)),
    "references": lambda number: "`a`_ " * (number // 16) + "\n\n" + ".. _a: b_\n.. _b: a_\n" * (number // 32),
    "anonymous references": lambda number: "a__ " * (number // 10) + "\n\n" + "__ x://a.example\n" * (number // 35),
    "targets": lambda number: "\n".join(f".. _t{at}: t{at + 1}_" for at in range(number // 14)),
    "quotes": _indented("x\n"),
    "lists": _indented("- x\n"),
    "lists on one line": _nested("- ", ""),
    "enumerations": lambda number: "\n".join(f"{'m' * 15}ii. x" for _ in range(number // 20)),
    "definitions": _indented("x"),
    "fields": _repeated(":a: b\n"),
    "line blocks": lambda number: "\n".join("| " + " " * (at % 100) + "x" for at in range(number // 55)),
    "literal": lambda number: "::\n\n" + "  x\n" * (number // 4),
    "open marks": _repeated("*a `b |c ``d "),
    "roles": _repeated(":sup:`:sub:`a`` "),
    "code": lambda number: ".. code:: python\n\n   " + "f'{" * (number // 3) + "\n",
    "math": lambda number: ".. math:: " + "\\frac{" * (number // 6) + "\n",
    "errors": _repeated(".. nothing::\n\n*a\n\n"),
    "list tables": lambda number: ".. list-table::\n\n" + "   * - x\n     - y\n" * (number // 20),
    "admonitions": lambda number: "\n".join("   " * at + ".. note::\n" for at in range(int((number / 2) ** 0.5))),
    "doctest": _repeated(">>> x\n"),
    "comments": lambda number: "\n".join("  " * at + ".. x\n" for at in range(int(number**0.5))),
}  # fmt: skip

PLAIN: dict[str, Text] = {
    "one line": _repeated("a"),
    "lines": _repeated("\n"),
    "to be escaped": _repeated("<&>"),
    "no characters": _repeated("\u202e\ufeff\x0c\u2028"),
}
TYPES = {"markdown": ("text/markdown", MARKDOWN), "rst": ("text/x-rst", REST), "plain": ("text/plain", PLAIN)}


def described(content_type: str, text: str, project: str) -> bytes:
    """Metadata with a description."""
    head = f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\nDescription-Content-Type: {content_type}\n\n"
    return (head + text).encode()


def make(chance: Chance, project: str, texts: dict[str, Text], content_type: str) -> tuple[str, bytes]:
    """A package with a description of one or two kinds."""
    number = size(chance, 500, MOST_CHARACTERS)
    chosen = [chance.choice(list(texts.values())) for _ in range(chance.choice((1, 1, 1, 2)))]
    text = "\n\n".join(each(number // len(chosen))[: 4 * MOST_CHARACTERS] for each in chosen)
    return packed(chance, project, described(content_type, text, project))


def kinds() -> Iterable[tuple[str, Callable[[Chance, str], tuple[str, bytes]]]]:
    """Each kind with the function that makes a package of it."""
    for name, (content_type, texts) in TYPES.items():
        for kind, text in texts.items():
            one = {kind: text}
            yield (
                f"{name}: {kind}",
                lambda chance, project, one=one, content_type=content_type: make(chance, project, one, content_type),
            )
        if len(texts) > 4:
            yield (
                f"{name}: mixed",
                lambda chance, project, texts=texts, content_type=content_type: make(
                    chance, project, texts, content_type
                ),
            )
