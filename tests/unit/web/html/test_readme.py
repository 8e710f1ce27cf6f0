"""Descriptions: rendered, and nothing in them runs, loads, leads astray or passes for a part of the page."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pypiserver.web.html import readme
from pypiserver.web.html.renderer import Renderer

MD = "text/markdown"
RST = "text/x-rst"
Render = Callable[[str, str], str]


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    with closing(Renderer(wait=60)) as renderer:
        yield renderer


@pytest.fixture
def render(renderer: Renderer) -> Render:
    """The description on the page, however long it takes."""
    return lambda text, kind: readme.shown(text, kind, renderer)


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
        (RST, "`broken", '</p><pre class="plain">`broken</pre>'),
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
def test_a_description_is_rendered(render: Render, kind: str, text: str, html: str) -> None:
    assert html in render(text, kind)


def test_a_link_within_a_description_leads_to_its_heading(render: Render) -> None:
    html = render("# Use it\n\n[up](#use-it)", MD)
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
def test_an_attack_is_text_or_nothing(render: Render, kind: str, attack: str) -> None:
    html = render(attack, kind)
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
    opened = html.count("<div"), len(re.findall("<p[ >]", html))
    assert opened == (html.count("</div"), html.count("</p>"))


@pytest.mark.parametrize(
    "attack",
    [
        '<span class="badge bad">yanked</span>',
        '<span class="all">a</span>',
        '<div class="notice warn" style="color:red">a</div>',
        '<section id="files" class="list">a</section>',
    ],
)
def test_no_part_of_a_description_looks_like_a_part_of_the_page(render: Render, attack: str) -> None:
    html = render(f"{attack}\n\n```python\nx = 1\n```", MD)
    assert 'class="n"' in html and html.count("class=") == html.count('class="n"') + html.count(
        'class="o"'
    ) + html.count('class="mi"')
    assert 'id="files"' not in html


def test_what_has_errors_says_so(render: Render) -> None:
    note = '<p class="note">The description is shown as plain text, because it has errors.</p>'
    assert render("`broken <", RST) == f'{note}<pre class="plain">`broken &lt;</pre>'


@pytest.mark.parametrize("kind", [MD, RST, "text/plain"])
def test_a_description_of_megabytes_is_cut(render: Render, kind: str) -> None:
    html = render("<" + "a" * 8_000_000, kind)
    assert len(html) < 201_000 and "Only its first 200,000 characters of 8,000,001 are shown.</p>" in html
    assert '<pre class="plain">&lt;aaa' in html


@pytest.mark.parametrize("size", ["b", "x"])
def test_no_configuration_of_docutils_allows_to_insert_files(
    render: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str
) -> None:
    (tmp_path / "secret").write_text("root:")
    (tmp_path / "docutils.conf").write_text("[general]\nfile_insertion_enabled: 1\nraw_enabled: 1\nhalt_level: 5\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCUTILSCONFIG", str(tmp_path / "docutils.conf"))
    with closing(Renderer(wait=60)) as fresh:
        html = readme.shown(f"{size}\n\n.. include:: {tmp_path}/secret\n", RST, fresh)
    assert "root:" not in html and "because it has errors" in html


WITHOUT = """
import logging, sys, threading
sys.modules["readme_renderer"] = None
logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stdout)
from pypiserver.web.html import readme
from pypiserver.web.html.renderer import Renderer
renderer = Renderer()
print(readme.shown("# a", "text/markdown", renderer))
print(readme.shown("# b", "text/x-rst", renderer))
print(readme.shown("#" * 50_001, "text/markdown", renderer)[:24])
print(threading.active_count(), [name for name in sys.modules if name in ("docutils", "nh3", "pygments")])
"""


def test_without_readme_renderer_markdown_is_readable_and_the_log_says_once_what_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [
        "WARNING Descriptions are shown almost unformatted, because readme_renderer is not installed: "
        "pip install 'pypiserver[web]'.",
        "<h3>a</h3>",
        '<pre class="plain"># b</pre>',
        '<pre class="plain">#####',
        "1 []",
    ], done.stderr
