"""Markdown without a library: what most descriptions consist of is formatted, and nothing else is let through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypiserver.web.html.light_markdown import light
from pypiserver.web.html.sanitizer import is_safe
from tests.descriptions import BOMBS, MD, SHAPES, shape

REL = 'rel="nofollow noopener"'


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("# One\n## Two ##\n####### seven", "<h3>One</h3><h4>Two</h4><p>####### seven</p>"),
        ("One\n===\n\nTwo\n---", "<h3>One</h3><h4>Two</h4>"),
        ("a\nb\n\nc", "<p>a b</p><p>c</p>"),
        ("**b** __c__ *e* `x < 1`", "<p><strong>b</strong> <strong>c</strong> <em>e</em> <code>x &lt; 1</code></p>"),
        ("snake_case_name 2 * 3 * 4 \\*a\\*", "<p>snake_case_name 2 * 3 * 4 *a*</p>"),
        ("- a\n- b\n  more\n\n- c\n\nd", "<ul><li>a</li><li>b more</li><li>c</li></ul><p>d</p>"),
        ("1. a\n2. b", "<ol><li>a</li><li>b</li></ol>"),
        ("- a\n1. b", "<ul><li>a</li></ul><ol><li>b</li></ol>"),
        ("- [x] a\n- [ ] b", "<ul><li>\u2611 a</li><li>\u2610 b</li></ul>"),
        ("```python\n# x < 1\n\ny\n```\nz", "<pre># x &lt; 1\n\ny</pre><p>z</p>"),
        ("~~~\nno end", "<pre>no end</pre>"),
        ("    code\n    more", "<pre>code\nmore</pre>"),
        ("> a\n> b", "<blockquote><p>a b</p></blockquote>"),
        ("| a | b |\n|---|---|", "<pre>| a | b |\n|---|---|</pre>"),
        ("***", "<hr>"),
        ("[a](https://x.example/?a&b)", f'<p><a href="https://x.example/?a&amp;b" {REL}>a</a></p>'),
        ('[a](https://x.example/p_(q) "title")', f'<p><a href="https://x.example/p_(q)" {REL}>a</a></p>'),
        ("[a][b] [b][]\n\n[b]: https://x.example/", 2 * f'<a href="https://x.example/" {REL}>%s</a> '),
        ("<https://x.example/>", f'<p><a href="https://x.example/" {REL}>https://x.example/</a></p>'),
        ("[a](docs/x.md) [b](javascript:alert(1)) [c][none]", "<p>a b c</p>"),
        ("![words](https://x.example/p.png)", ""),
        ("[![b](https://x.example/b.svg)](https://x.example) text", "<p>text</p>"),
        ("[![b][i]][l]\n", ""),
        ('<p align="center"><b onclick="x">hi</b></p><!-- no -->', "<p>hi</p>"),
        ("a <script>alert(1)</script> b", "<p>a alert(1) b</p>"),
        ("<scr<script>ipt>", "<p>&lt;script&gt;</p>"),
        ('[a](https://x.example/"onclick="x)', f'<p><a href="https://x.example/&quot;onclick=&quot;x" {REL}>a</a></p>'),
        ("&lt;b&gt; & \0", "<p>&amp;lt;b&amp;gt; &amp; \0</p>"),
        ("", ""),
    ],
)  # fmt: skip
def test_what_descriptions_consist_of_is_formatted(text: str, html: str) -> None:
    expected = (html % ("a", "b")).strip() if "%s" in html else html
    made = light(text)
    assert made == expected or made == f"<p>{expected}</p>"
    assert is_safe(made)


@given(st.text(alphabet="ab `*_[]()!<>#-=|~\\1.:/\n\"'&\0\u2028", max_size=200))
def test_whatever_it_is_given_is_safe(text: str) -> None:
    assert is_safe(light(text))


@pytest.mark.parametrize("name", [name for name, (kind, _) in {**SHAPES, **BOMBS}.items() if kind == MD])
def test_what_is_made_to_harm_is_safe(name: str) -> None:
    text = shape(name, 9_000) if name in SHAPES else BOMBS[name][1]()[:50_000]
    assert is_safe(light(text))
