"""Descriptions that are made to harm whoever renders them, and what a page says of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hypothesis import strategies as st

from tests.make_archives import core_metadata, make_wheel

MD, RST = "text/markdown", "text/x-rst"
PENDING = "until it is formatted"
BECAUSE = "is shown as plain text, because"


def table(size: int) -> str:
    """A Markdown table of many columns, whose rows have one cell each: a parser fills up the others."""
    columns = size // 8
    return "|a" * columns + "|\n" + "|-" * columns + "|\n" + "a\n" * (size // 4)


def substitutions(levels: int = 21) -> str:
    """Each substitution is the next one twice."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    lines = [f".. |{letters[i]}| replace:: |{letters[i + 1]}| |{letters[i + 1]}|" for i in range(levels)]
    return "\n".join([*lines, f".. |{letters[levels]}| replace:: x", "", "|a|", ""])


def headings(count: int) -> str:
    """reST headings, each a level deeper, as far as there are characters to underline with."""
    marks = "=-`:.'\"~^_*+#"
    overlined = [f"{mark * 3}\nA\n{mark * 3}\n" for mark in marks]
    return "\n".join([*overlined, *(f"A\n{mark * 3}\n" for mark in marks)] * count)


# What is to be plain text, with a reason.
BOMBS: dict[str, tuple[str, Callable[[], str]]] = {
    "table of 5 kB": (MD, lambda: table(5_000)),
    "table of 17 kB": (MD, lambda: table(17_000)),
    "table of 96 kB": (MD, lambda: table(96_000)),
    "substitutions of 550 bytes": (RST, substitutions),
    "substitution of itself": (RST, lambda: ".. |a| replace:: |a| |a|\n\n|a|\n"),
    "quotations in quotations": (MD, lambda: ">" * 90_000),
    "quotations in quotations in reST": (RST, lambda: "\n\n".join(" " * i + "a" for i in range(400))),
    "lists in lists": (MD, lambda: "- " * 30_000 + "a"),
    "lists in lists in reST": (RST, lambda: "\n\n".join(" " * 2 * i + "- a" for i in range(300))),
    "HTML in HTML": (MD, lambda: "<div>" * 18_000),
    "emphasis in emphasis": (MD, lambda: "*a " * 15_000 + " a*" * 15_000),
    "included file": (RST, lambda: "a\n\n.. include:: /etc/passwd\n"),
    "table of a file": (RST, lambda: ".. csv-table:: a\n   :file: /etc/passwd\n"),
    "table of an address": (RST, lambda: ".. csv-table:: a\n   :url: http://127.0.0.1:9/\n"),
    "raw file": (RST, lambda: ".. raw:: html\n   :file: /etc/passwd\n"),
    "raw address": (RST, lambda: ".. raw:: html\n   :url: http://127.0.0.1:9/\n"),
    "raw role": (RST, lambda: ".. role:: r(raw)\n   :format: html\n\n:r:`<script>a</script>`\n"),
    "code that grows": (MD, lambda: "```python\n" + "a=1;" * 24_000 + "\n```\n"),
}  # fmt: skip

# What may be rendered or not, but is answered, and bounded.
SHAPES: dict[str, tuple[str, Callable[[int], str]]] = {
    "headings": (RST, headings),
    "headings in Markdown": (MD, lambda n: "# a\n" * n),
    "option list": (RST, lambda n: "-a" + ", -a" * n + "  b\n"),
    "option lists": (RST, lambda n: "--a=B, -c D  e\n" * n),
    "links in links": (MD, lambda n: "[" * n + "a" + "](b)" * n),
    "open links": (MD, lambda n: "[a](" * n),
    "brackets": (MD, lambda n: "[" * n),
    "pictures in pictures": (MD, lambda n: "![" * n + "](" * n),
    "references": (MD, lambda n: "[a]: /b 'c'\n\n" + "[a]" * n),
    "quotations": (MD, lambda n: "> " * (n % 90) + "a\n" * n),
    "comments": (MD, lambda n: "<!--" * n + "-->" * (n % 7)),
    "declarations": (MD, lambda n: "<![CDATA[" * n + "<?" * n),
    "attributes": (MD, lambda n: "<a " + "id=x " * n + ">" + "y" * n),
    "one attribute": (MD, lambda n: f"<img alt='{'&lt;' * n}'>"),
    "lists": (MD, lambda n: "\n".join(" " * 2 * (i % 60) + "- a" for i in range(n))),
    "emphasis": (MD, lambda n: "*a **b " * n),
    "delimiters": (MD, lambda n: "*_" * n + "a" + "_*" * n),
    "backticks": (MD, lambda n: "".join("e" + "`" * i for i in range(n % 400))),
    "footnotes": (MD, lambda n: "".join(f"[^{i}]: [^{i + 1}]\n" for i in range(n)) + "[^0]"),
    "addresses": (MD, lambda n: "www." * n + "a@" * n),
    "entities": (MD, lambda n: "&amp;" * n),
    "inline markup": (RST, lambda n: "*a ``b `c " * n),
    "footnotes in reST": (RST, lambda n: "[#]_ " * n + "\n\n" + ".. [#] a\n" * n),
    "grid": (RST, lambda n: ("+-" * (n % 60 + 1) + "+\n" + "|a" * (n % 60 + 1) + "|\n") * (n % 60 + 1)),
    "contents": (RST, lambda n: ".. contents::\n\n" + "".join(f"A{i}\n=====\n\n" for i in range(n))),
    "roles": (RST, lambda n: ".. role:: a\n" * n + "\n" + ":a:`b` " * n),
    "numbers": (RST, lambda n: "(mmmmmmmmmmcmxcix) a\n" * n),
    "mathematics": (RST, lambda n: ":math:`" + "{" * n + "}" * n + "`"),
    "code": (MD, lambda n: "```html\n" + "<a " * n + "\n```"),
    "bars": (RST, lambda n: "| a\n" * n + "|" * n),
}  # fmt: skip
# Bytes of what a shape's text may at most be made of.
LIMIT = 60_000


def shape(name: str, count: int) -> str:
    """The text of a shape, cut to ``LIMIT`` characters."""
    return SHAPES[name][1](count)[:LIMIT]


def texts() -> st.SearchStrategy[tuple[str, str]]:
    """(content type, text) of shapes one in the other, or one after the other, at any size."""
    names = st.lists(st.sampled_from(sorted(SHAPES)), min_size=1, max_size=3)
    counts = st.sampled_from([3, 50, 700, 9_000])
    return st.tuples(st.sampled_from([MD, RST, MD + "; variant=CommonMark"]), names, counts, st.booleans()).map(_joined)


def _joined(drawn: tuple[str, list[str], int, bool]) -> tuple[str, str]:
    kind, names, count, is_nested = drawn
    parts = [shape(name, count) for name in names]
    if is_nested and len(parts) > 1:
        indent = "  " if kind == RST else "> "
        parts[1:] = ["\n".join(indent + line for line in part.splitlines()[:500]) for part in parts[1:]]
    return kind, "\n\n".join(parts)[:LIMIT]


def described(project: str, content_type: str, text: str) -> tuple[str, bytes]:
    """A wheel with this description."""
    metadata = core_metadata(project, "1.0", extra=[f"Description-Content-Type: {content_type}"], description=text)
    return make_wheel(project, "1.0", metadata=metadata)


def bombs() -> Iterator[tuple[str, str, str]]:
    """(project, content type, text) of every bomb."""
    for number, (kind, make) in enumerate(BOMBS.values()):
        yield f"bomb-{number}", kind, make()
