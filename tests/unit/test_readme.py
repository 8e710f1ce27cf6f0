"""Descriptions: rendered, and nothing in them runs, loads, leads astray or passes for a part of the page."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from html.parser import HTMLParser

import pytest

from pypiserver.web import readme

MD = "text/markdown"
RST = "text/x-rst"


@pytest.mark.parametrize(
    ("kind", "text", "html"),
    [
        (MD, "**b** `c`", "<p><strong>b</strong> <code>c</code></p>"),
        ("text/markdown; charset=UTF-8; variant=GFM", "~~d~~", "<p><del>d</del></p>"),
        ("text/markdown; variant=CommonMark", "~~d~~", "<p>~~d~~</p>"),
        (RST, "*e* ``c``", "<p><em>e</em>"),
        ("", "*e*", "<p><em>e</em></p>"),
        ("text/plain", "*e* <b>", '<pre class="plain">*e* &lt;b&gt;</pre>'),
        ("text/html", "<b>x</b>", '<pre class="plain">&lt;b&gt;x&lt;/b&gt;</pre>'),
        (RST, "`broken", '<pre class="plain">`broken</pre>'),
        (MD, "# One\n\n###### Six", "<h3 id="),
        (MD, "[a](https://x.example/?a&b)", '<a href="https://x.example/?a&amp;b" rel="nofollow noopener">a</a>'),
        (MD, "[a](docs/x.md)", "<a>a</a>"),
        (MD, "[a](//x.example)", "<a>a</a>"),
        (MD, "[a](mailto:a@x.example)", '<a href="mailto:a@x.example" rel="nofollow noopener">a</a>'),
        (MD, "[a](javascript:alert(1))", "<a>a</a>"),
        (MD, "[a](ftp://x.example)", "<a>a</a>"),
        (MD, "![words](https://x.example/p.png)", "<p>words</p>"),
        (MD, "[![b](https://x.example/b.svg)](https://x.example)", 'noopener">b</a>'),
        (MD, "- [x] done\n- [ ] open", "\u2611"),
        (MD, "```python\nx = 1\n```", '<span class="n">x</span>'),
        (MD, '<a id="content" class="top" onclick="x()" style="x">a</a>', '<a id="readme-content">a</a>'),
        (MD, "a & b < c", "a &amp; b &lt; c"),
    ],
)  # fmt: skip
def test_a_description_is_rendered(kind: str, text: str, html: str) -> None:
    assert html in readme.render(text, kind)


def test_a_link_within_a_description_leads_to_its_heading() -> None:
    html = readme.render("# Use it\n\n[up](#use-it)", MD)
    target = html.partition('href="#')[2].partition('"')[0]
    assert target.startswith("readme-") and f'id="{target}"' in html


class _Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.addresses: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes.update(name for name, _ in attrs)
        self.addresses.update(value or "" for name, value in attrs if name == "href")


@pytest.mark.parametrize("kind", [MD, RST, "text/html", "text/plain", "nonsense"])
@pytest.mark.parametrize(
    "attack",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg><script>alert(1)</script></svg>",
        "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
        "<iframe srcdoc='<script>alert(1)</script>'>",
        "<a href='java\tscript:alert(1)'>x</a><a href='&#106;avascript:alert(1)'>y</a>",
        "<a href=' https://x.example'>x</a>",
        "<form action=https://x.example><input name=a><button>b</button></form>",
        "<style>*{display:none}</style><link rel=stylesheet href=https://x.example>",
        "<base href=https://x.example><meta http-equiv=refresh content=0>",
        "<video src=https://x.example poster=https://x.example><source srcset=https://x.example>",
        "<picture><source srcset=https://x.example><img src=https://x.example></picture>",
        "</div></main></body><h1>mine</h1>",
        "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
        "`x <javascript:alert(1)>`__ and `y <data:text/html,x>`__",
        ".. raw:: html\n\n   <script>alert(1)</script>",
        ".. include:: /etc/passwd",
        ".. image:: https://x.example/p.png\n   :target: javascript:alert(1)",
    ],
)  # fmt: skip
def test_an_attack_is_text_or_nothing(kind: str, attack: str) -> None:
    html = readme.render(attack, kind)
    tags = _Tags(html)
    assert not tags.names & {
        "script",
        "style",
        "img",
        "svg",
        "iframe",
        "form",
        "input",
        "button",
        "link",
        "base",
        "meta",
    }
    assert not tags.names & {"video", "source", "picture", "object", "h1", "h2", "main", "body", "math", "noscript"}
    assert tags.attributes <= {"href", "rel", "id", "class", "title", "align", "start", "colspan", "rowspan"}
    assert all(address.startswith(("#readme-", "https://", "mailto:")) for address in tags.addresses)
    assert "root:" not in html
    opened = html.count("<div"), html.count("<p>")
    assert opened == (html.count("</div"), html.count("</p>"))


@pytest.mark.parametrize("text", [">" * 90_000, "<div>" * 18_000, "*a " * 15_000 + " a*" * 15_000])
def test_what_would_take_minutes_is_plain_text(text: str) -> None:
    began = time.process_time()
    assert readme.render(text, MD).startswith('<pre class="plain">')
    assert time.process_time() - began < 20


def test_a_very_long_description_is_cut() -> None:
    assert len(readme.render("a" * 3_000_000, MD)) < 1_100_000


WITHOUT = """
import logging, sys
sys.modules["readme_renderer"] = None
logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stdout)
from pypiserver.web import readme
print(readme.render("# a", "text/markdown"))
print(readme.render("# b", "text/markdown"))
"""


def test_without_readme_renderer_it_is_plain_text_and_the_log_says_once_what_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [
        "WARNING Descriptions are shown as plain text, because readme_renderer is not installed: "
        "pip install 'pypiserver[web]'.",
        '<pre class="plain"># a</pre>',
        '<pre class="plain"># b</pre>',
    ], done.stderr


def test_what_cannot_be_rendered_is_no_error(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    from readme_renderer import rst

    def fail(text: str) -> str:
        raise RecursionError

    monkeypatch.setattr(rst, "render", fail)
    with caplog.at_level(logging.INFO, logger="pypiserver.web.readme"):
        assert readme.render("deep, deep", RST) == '<pre class="plain">deep, deep</pre>'
    assert "RecursionError" in caplog.text
