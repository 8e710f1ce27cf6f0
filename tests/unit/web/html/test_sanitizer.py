"""The strict form of HTML: what is written in it passes the check, and nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypiserver.web.html.sanitizer import MAX_DEPTH, TooDeepError, is_safe, rewritten

SAFE = '<p>a <a href="https://x.example" rel="nofollow noopener">b</a><br></p>'


@pytest.mark.parametrize(
    "html",
    [
        "",
        "a &amp; &lt;b&gt;",
        SAFE,
        '<h3 id="readme-a">a</h3>',
        '<span class="mi">1</span>',
        '<a href="#readme-a" rel="nofollow noopener">a</a>',
        "<b>" * MAX_DEPTH + "</b>" * MAX_DEPTH,
    ],
)
def test_the_strict_form_is_safe(html: str) -> None:
    assert is_safe(html)


@pytest.mark.parametrize(
    "html",
    [
        "<",
        ">",
        "a > b",
        "<script>a</script>",
        "<SCRIPT>",
        "<img>",
        "<input>",
        "<h1>a</h1>",
        "<h2>a</h2>",
        "<p>",
        "</p>",
        "<p></b>",
        "<b><i></b></i>",
        "<br/>",
        "</br>",
        "<b >a</b>",
        "<b\n>a</b>",
        "<!-- a -->",
        "<!DOCTYPE html>",
        "<b onclick=\"a\">a</b>",
        "<b style=\"a\">a</b>",
        '<b id="a">a</b>',
        '<b id="readme-a" id="b">a</b>',
        '<b href="https://x.example">a</b>',
        '<a href="javascript:a">a</a>',
        '<a href=" https://x.example">a</a>',
        '<a href="//x.example">a</a>',
        '<a href="https:///x">a</a>',
        '<a href="../">a</a>',
        '<a href="#content">a</a>',
        '<a rel="opener">a</a>',
        "<a href='https://x.example'>a</a>",
        '<span class="badge">a</span>',
        '<span class="n bad">a</span>',
        '<b class="n">a</b>',
        '<span title="<b>">a</span>',
        "<b>" * (MAX_DEPTH + 1) + "</b>" * (MAX_DEPTH + 1),
        SAFE + "<script",
        SAFE + "\0<script>",
    ],
)  # fmt: skip
def test_anything_else_is_not(html: str) -> None:
    assert not is_safe(html)


PIECES = st.sampled_from(
    [
        *(
            "<p>",
            "</p>",
            "<b>",
            "</b>",
            "<script>",
            "</script>",
            "<!--",
            "-->",
            "<",
            ">",
            "&",
            '"',
            "'",
            "a",
            " ",
            "\0",
        ),
        *(
            "<a href='",
            "https://x",
            "javascript:x",
            "mailto:x",
            "#y",
            "'>",
            "<img alt='",
            "<td colspan=2 class=x>",
            "\n",
        ),
        *(
            "<h1 id=x>",
            "</h1>",
            "<span class='n' class='m'>",
            "<svg/onload=x>",
            "<![CDATA[",
            "]]>",
            "<br/>",
            "<input checked>",
        ),
    ]
)


@given(st.lists(PIECES | st.text(max_size=3), max_size=30).map("".join))
def test_whatever_is_rewritten_is_safe(html: str) -> None:
    assert is_safe(rewritten(html))


def test_what_is_nested_too_deeply_is_not_rewritten() -> None:
    with pytest.raises(TooDeepError):
        rewritten("<div>" * (MAX_DEPTH + 1))
