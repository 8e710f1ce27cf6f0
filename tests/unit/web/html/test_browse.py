"""Pages for people: the welcome page, the list of projects, projects and releases, as a browser asks for them."""

from __future__ import annotations

import base64
import configparser
import gzip
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import html5lib
import pytest
from packaging.utils import NormalizedName

from pypiserver.model import Listed
from pypiserver.text import one_line
from pypiserver.web.html import browse
from pypiserver.web.html.atom_feed import atom
from pypiserver.web.html.copy_script import SCRIPT
from pypiserver.web.html.pages import POLICY, size
from pypiserver.web.html.project_page import commands
from pypiserver.web.html.renderer_process import RenderProcess
from pypiserver.web.html.welcome import settings
from tests.browser.library import fill, fill_hostile, fill_many
from tests.make_archives import core_metadata, make_sdist, make_wheel

from ...wsgi import Answer, Client

Serve = Callable[..., Client]
Put = Callable[..., Path]
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
PIP = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"
LOGIN = "Basic " + base64.b64encode(b"a:b").decode()


class Kept(RenderProcess):
    """One for all tests of this process, as to start it takes as long as a test."""

    def abort(self) -> None:
        """It is not that of one application."""

    def close(self) -> None:
        """Only when it has ended: it is begun again."""
        if self._process is not None and self._process.poll() is not None:
            super().close()


PROCESS = Kept()


@pytest.fixture(scope="module", autouse=True)
def process_ends() -> Iterator[None]:
    yield
    RenderProcess.close(PROCESS)


@pytest.fixture
def look(serve: Serve) -> Callable[..., Answer]:
    """Ask as a browser does, and hold every page to what all of them are."""
    client: list[Client] = []

    def look(path: str, *, status: int = 200, **headers: str) -> Answer:
        if not client:
            client.append(digested(serve()))
        answer = client[0].get(path, **{"HTTP_ACCEPT": BROWSER, **headers})
        assert answer.status == status, answer.text
        if status == 200:
            check(answer)
        return answer

    return look


def digested(client: Client) -> Client:
    """The client, once every file was read (until then the list has names only), and whose pages wait until
    descriptions are rendered.
    """
    renderer = client._application.web.renderer  # type: ignore[attr-defined]
    renderer.wait_seconds, renderer._make_process = 60, lambda: PROCESS
    # What it is asked from now on goes to that process.
    renderer.close()
    application = client._application
    application.repository.serial()  # type: ignore[attr-defined]
    while application.backend.digester.digest_some():  # type: ignore[attr-defined]
        pass
    return client


def check(answer: Answer) -> None:
    html5lib.HTMLParser(strict=True).parse(answer.body, transport_encoding="utf-8")
    assert (answer.headers["content-security-policy"], answer.headers["referrer-policy"]) == (POLICY, "no-referrer")
    assert (answer.headers["x-content-type-options"], answer.headers["x-frame-options"]) == ("nosniff", "DENY")
    assert (
        "<script" not in answer.text.replace(f"<script>{SCRIPT}</script>", "", 1)
        and " style=" not in answer.text
        and "onerror=" not in tags(answer.text)
    )
    # Nothing is loaded from elsewhere, and there is one heading of the first order.
    assert [link for link in re.findall(r"<link [^>]*href=\"([^\"]*)\"", answer.text) if "://" in link] == []
    assert ("<img" in answer.text, answer.text.count("<h1>")) == (False, 1)


def tags(html: str) -> str:
    return " ".join(re.findall(r"<[a-z][^>]*>", html))


def words(html: str) -> str:
    main = html.partition("<main")[2].partition("</main>")[0]
    return " ".join(re.sub(r"<[^>]*>", " ", main.partition(">")[2]).split())


# -- every page ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_page_is_compressed_for_who_asks_for_it(root: Path, serve: Serve, coding: str) -> None:
    library = gzip if coding == "gzip" else zstd_library()
    fill(root)
    client = digested(serve())
    for path in ("/projects/", "/project/lantern/", "/project/lantern/2.1.0/"):
        plain = client.get(path, HTTP_ACCEPT=BROWSER)
        packed = client.get(path, HTTP_ACCEPT=BROWSER, HTTP_ACCEPT_ENCODING=f"{coding}, deflate, br")
        assert library.decompress(packed.body) == plain.body, path
        assert len(packed.body) < len(plain.body) / 2, path
        assert (packed.headers["content-encoding"], "content-encoding" in plain.headers) == (coding, False), path
        assert packed.headers["vary"] == plain.headers["vary"] == "Accept, Accept-Encoding", path


def zstd_library() -> Any:
    return importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


def test_a_page_that_needs_a_password_is_not_compressed(root: Path, serve: Serve) -> None:
    fill(root)
    client = serve(auther=lambda user, password: True, authenticate="list")
    for path in ("/", "/projects/?q=lantern", "/project/lantern/"):
        answer = client.get(path, HTTP_ACCEPT=BROWSER, HTTP_ACCEPT_ENCODING="gzip", HTTP_AUTHORIZATION=LOGIN)
        assert (answer.status, "content-encoding" in answer.headers) == (200, False)
        assert answer.body.startswith(b"<!DOCTYPE html>")


# -- the welcome page ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "pretty"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("text/html;q=0.9, */*;q=0.8", True),
        ("*/*", False),
        (None, False),
        (PIP, False),
        ("application/json, text/html;q=0.5", False),
        ("text/html;q=0", False),
    ],
)
def test_only_browsers_get_the_pretty_welcome_page(serve: Serve, accept: str | None, pretty: bool) -> None:
    answer = serve().get("/", **({} if accept is None else {"HTTP_ACCEPT": accept}))
    assert ("stylesheet" in answer.text, answer.headers["vary"]) == (pretty, "Accept")


def test_the_welcome_page_says_what_is_here(root: Path, look: Callable[..., Answer]) -> None:
    fill(root)
    page = look("/").text
    assert "17 projects with 22 files" in words(page)
    assert "Newest uploads lantern 2.2.0rc1 2026-02-28 21:20 UTC tidewater 1.2.3 2026-02-26 21:20 UTC" in words(page)


@pytest.mark.parametrize(
    ("headers", "url"),
    [
        ({"HTTP_HOST": "pypi.example"}, "http://pypi.example/"),
        ({"HTTP_HOST": "pypi.example", "wsgi.url_scheme": "https"}, "https://pypi.example/"),
        ({"HTTP_HOST": "pypi.example:81", "SCRIPT_NAME": "/pypi"}, "http://pypi.example:81/pypi/"),
        (
            {
                "HTTP_HOST": "10.0.0.1:8080",
                "HTTP_X_FORWARDED_HOST": "pypi.example",
                "HTTP_X_FORWARDED_PROTO": "https",
                "HTTP_X_FORWARDED_PREFIX": "/team/pypi",
            },
            "https://pypi.example/team/pypi/",
        ),
    ],
)
def test_the_address_is_the_one_the_browser_used(serve: Serve, put: Put, headers: dict[str, str], url: str) -> None:
    put(*make_wheel("foo", "1.0"))
    client = serve(forwarded_headers="proto,host,prefix")
    home = client.get("/", HTTP_ACCEPT=BROWSER, **headers).text
    assert f'readonly value="{url}simple/"' in home and f"repository = {url}\n" in home
    page = client.get("/project/foo/", HTTP_ACCEPT=BROWSER, **headers).text
    assert f"pip install --index-url {url}simple/ " in page


@pytest.mark.parametrize("url", ["https://pypi.example/", "http://pypi.example:81/x/", "http://[::1]:8080/"])
def test_what_is_to_be_pasted_can_be_read_by_the_tools(url: str) -> None:
    texts = {tool: text for tool, _, text in settings(url)}
    pip, pypirc = configparser.ConfigParser(), configparser.ConfigParser()
    pip.read_string(texts["pip"])
    pypirc.read_string(texts["twine"])
    is_insecure = url.startswith("http://pypi")
    assert pip["global"]["index-url"] == f"{url}simple/"
    assert pip["global"].get("trusted-host") == ("pypi.example" if is_insecure else None)
    assert pypirc["distutils"]["index-servers"].split() == ["pypiserver"]
    assert pypirc["pypiserver"]["repository"] == url
    if sys.version_info >= (3, 11):
        import tomllib

        uv, poetry, pdm = (tomllib.loads(texts[tool])["tool"] for tool in ("uv", "Poetry", "PDM"))
        index = {"name": "pypiserver", "url": f"{url}simple/"}
        assert uv == {"uv": {"index": [{**index, "default": True}]}}
        assert poetry == {"poetry": {"source": [{**index, "priority": "primary"}]}}
        assert pdm == {"pdm": {"source": [{**index, "name": "pypi", "verify_ssl": not is_insecure}]}}


@pytest.mark.parametrize(
    ("rights", "said", "unsaid"),
    [
        ({}, "Or upload them:", "passwd"),
        (
            {"auther": lambda user, password: True, "authenticate": "update"},
            "Or upload them, with your name and password:",
            "passwd",
        ),
        ({"password_file": None, "authenticate": "update"}, "pypi-server passwd htpasswd.txt NAME", "Or upload"),
    ],
)
def test_an_empty_folder_says_what_to_type(serve: Serve, rights: dict[str, object], said: str, unsaid: str) -> None:
    answer = serve(**rights).get("/", HTTP_ACCEPT=BROWSER, HTTP_HOST="pypi.example")
    check(answer)
    text = words(answer.text)
    assert "There is nothing here yet" in text and said in text and unsaid not in text
    assert "Newest uploads" not in text and "Search" not in text


def test_without_the_right_to_list_nothing_is_told(serve: Serve, root: Path) -> None:
    fill(root)
    client = serve(auther=lambda user, password: password == "b", authenticate="list")
    page = client.get("/", HTTP_ACCEPT=BROWSER)
    check(page)
    assert "lantern" not in page.text and "22" not in words(page.text) and "nothing here" not in page.text
    for path in ("/projects/", "/project/lantern/", "/project/lantern/2.1.0/", "/project/unknown/", "/packages/"):
        assert client.get(path, HTTP_ACCEPT=BROWSER).status == 401, path
        answer = client.get(path, HTTP_ACCEPT=BROWSER, HTTP_AUTHORIZATION=LOGIN)
        assert (answer.status, "private" in answer.headers["cache-control"]) == (200, True) or path.endswith("unknown/")
    page = client.get("/", HTTP_ACCEPT=BROWSER, HTTP_AUTHORIZATION=LOGIN)
    assert ("lantern" in page.text, "private" in page.headers["cache-control"]) == (True, True)


def test_the_operators_page_is_for_everyone(serve: Serve, tmp_path: Path) -> None:
    own = tmp_path / "own.html"
    own.write_text("{{URL}} {{VERSION}} {{NUMPKGS}} {{PACKAGES}} {{SIMPLE}}")
    client = serve(welcome=own)
    assert client.get("/", HTTP_ACCEPT=BROWSER).body == client.get("/").body
    assert "content-security-policy" not in client.get("/").headers


# -- the list --------------------------------------------------------------------------------------------------------


def names(answer: Answer) -> list[str]:
    return re.findall(r'<th scope="row"><a href="\.\./project/([^/]+)/">', answer.text)


def test_the_list_is_searched_sorted_and_paged(root: Path, look: Callable[..., Answer]) -> None:
    fill(root)
    fill_many(root, 60)
    first = look("/projects/")
    assert names(first) == sorted(names(first)) and len(names(first)) == browse.PAGE
    assert "77 projects, page 1 of 2" in words(first.text)
    assert len(names(look("/projects/?page=2"))) == 27
    assert names(look("/projects/?sort=date"))[:2] == ["lantern", "tidewater"]
    assert names(look("/projects/?sort=size"))[0] == "lantern"
    assert names(look("/projects/?sort=-name"))[:1] == ["weirkeeper"]
    assert names(look("/projects/?q=estuary")) == ["estuary", "estuary-plots"]
    assert names(look("/projects/?q=telemetry")) == ["lantern"]
    assert names(look("/projects/?show=yanked")) == ["lantern", "old-gauge"]
    assert names(look("/projects/?show=marked")) == ["millstone"]
    assert "Nothing matches." in look("/projects/?q=nowhere").text


def test_a_row_says_what_is_yanked_and_archived(root: Path, look: Callable[..., Answer]) -> None:
    fill(root)
    text = re.sub(r"[0-9.]+ (bytes|kB)", "SIZE", words(look("/projects/").text))
    assert "lantern 2.1.0 2026-02-28 21:20 SIZE 1 of 6 yanked Read measurements" in text
    assert re.search(r"old-gauge 0.3.0 \d{4}-\d\d-\d\d \d\d:\d\d SIZE yanked Read gauges", text)
    assert "SIZE archived Grind logs" in text


@pytest.mark.parametrize(
    "query",
    [
        *["page=0", "page=-1", "page=x", "page=%C2%B2", "page=9999999999999", "page=99", "sort=x", "show=x"],
        *["q=%FF", "q=%00", "q=%0A", "q=" + "a" * 5000],
    ],
)
def test_a_query_that_means_nothing_is_no_error(put: Put, look: Callable[..., Answer], query: str) -> None:
    put(*make_wheel("foo", "1.0"))
    look(f"/projects/?{query}")


def test_the_form_and_the_links_keep_what_was_asked(put: Put, look: Callable[..., Answer]) -> None:
    for number in range(60):
        put(*make_wheel(f"foo-{number}", "1.0"))
    page = look("/projects/?q=foo+%22%3E%3Cscript%3E&sort=date").text
    assert 'value="foo &quot;&gt;&lt;script&gt;"' in page and "“foo &quot;&gt;&lt;script&gt;”" in page
    page = look("/projects/?q=foo&sort=date").text
    assert (
        '<option value="date" selected>' in page and 'aria-sort="descending"><a href="?q=foo&amp;sort=-date">' in page
    )
    assert '<a rel="next" href="?q=foo&amp;sort=date&amp;page=2">' in page


def test_a_tool_that_installs_a_project_named_projects_is_sent_to_it(serve: Serve, put: Put) -> None:
    put(*make_wheel("projects", "1.0"))
    client = serve()
    answer = client.get("/projects/", HTTP_ACCEPT=PIP)
    assert (answer.status, answer.headers["location"]) == (302, "../simple/projects/")
    assert client.get("/project/projects/", HTTP_ACCEPT=BROWSER).status == 200


def test_an_empty_list_says_so(look: Callable[..., Answer]) -> None:
    assert "There are no projects here yet." in look("/projects/").text
    assert "There are no files here yet." in look("/packages/").text


def test_what_was_found_is_marked(put: Put, look: Callable[..., Answer]) -> None:
    put(*make_wheel("Caf-Tools", "1.0", summary="A Caf\u00e9's <tools>, and nothing of decaf"))
    page = look("/projects/?q=caf").text
    assert "<mark>Caf</mark>-Tools</a>" in page
    assert "A <mark>Café</mark>&#039;s &lt;tools&gt;, and nothing of decaf" in page
    assert "<mark>" not in look("/projects/").text and "<mark>" not in look("/projects/?q=%3C").text


def test_a_word_of_the_summary_counts_more_than_a_keyword(put: Put, look: Callable[..., Answer]) -> None:
    put(*make_wheel("aaa", "1.0", metadata=core_metadata("aaa", "1.0", extra=["Keywords: turbine,wind"])))
    put(*make_wheel("zzz", "1.0", summary="Watches a turbine"))
    assert names(look("/projects/?q=turbine")) == ["zzz", "aaa"]


def test_the_feed_has_the_newest_uploads(serve: Serve, put: Put) -> None:
    put(*make_wheel("foo", "1.0", summary='a <b> & "c"\x07'), mtime=1_700_000_000)
    put(*make_wheel("foo", "1.1"), mtime=1_700_000_060)
    put(*make_wheel("bar", "2.0", summary="Bars"), mtime=1_700_000_030)
    client = digested(serve())
    answer = client.get("/projects/feed.atom", HTTP_HOST="pypi.example")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/atom+xml; charset=utf-8")
    feed = ElementTree.fromstring(answer.body)
    space = "{http://www.w3.org/2005/Atom}"
    assert [each.findtext(f"{space}title") for each in feed.iter(f"{space}entry")] == ["foo 1.1", "bar 2.0"]
    assert [each.findtext(f"{space}id") for each in feed.iter(f"{space}entry")] == [
        "http://pypi.example/project/foo/1.1/",
        "http://pypi.example/project/bar/2.0/",
    ]
    assert feed.findtext(f"{space}updated") == "2023-11-14T22:14:20Z"
    assert 'href="../projects/feed.atom"' in client.get("/projects/", HTTP_ACCEPT=BROWSER).text
    assert client.get("/project/foo/", HTTP_ACCEPT=BROWSER).text.count("projects/feed.atom") == 0


@pytest.mark.parametrize("summary", ["a <b> & \x00 \ufffe \ud800 \x1b]0;x\x07 ]]>", "\u2028\u202e", ""])
def test_a_feed_is_xml_whatever_a_summary_says(summary: str) -> None:
    moment = datetime(2026, 1, 1, tzinfo=timezone.utc)
    row = Listed(NormalizedName("foo"), "foo", "1.0", "1.0+x", moment, 1, 1, 0, one_line(summary), "")
    feed = ElementTree.fromstring(atom("https://pypi.example/", [row], site="pypiserver"))
    assert feed.find("{http://www.w3.org/2005/Atom}entry/{http://www.w3.org/2005/Atom}id") is not None


def test_a_project_has_a_feed_of_its_releases(serve: Serve, put: Put) -> None:
    for version, time in (("1.0", 1_700_000_000), ("1.1", 1_700_000_060), ("0.9.1", 1_700_000_030)):
        put(*make_wheel("Foo.Bar", version), mtime=time)
    client = serve()
    answer = client.get("/project/foo-bar/feed.atom", HTTP_HOST="pypi.example")
    assert answer.headers["content-type"] == "application/atom+xml; charset=utf-8"
    feed = ElementTree.fromstring(answer.body)
    space = "{http://www.w3.org/2005/Atom}"
    assert [
        (each.findtext(f"{space}title"), each.findtext(f"{space}updated")) for each in feed.iter(f"{space}entry")
    ] == [
        ("Foo.Bar 1.1", "2023-11-14T22:14:20Z"),
        ("Foo.Bar 0.9.1", "2023-11-14T22:13:50Z"),
        ("Foo.Bar 1.0", "2023-11-14T22:13:20Z"),
    ]
    assert feed.findtext(f"{space}id") == "http://pypi.example/project/foo-bar/feed.atom"
    assert client.get("/project/Foo.Bar/feed.atom").headers["location"] == "../foo-bar/feed.atom"
    assert client.get("/project/none/feed.atom").status == 404
    assert 'href="./feed.atom"' in client.get("/project/foo-bar/", HTTP_ACCEPT="text/html").text
    assert 'href="../feed.atom"' in client.get("/project/foo-bar/1.0/", HTTP_ACCEPT="text/html").text


def test_a_feed_of_nothing_is_a_feed(serve: Serve) -> None:
    assert ElementTree.fromstring(serve().get("/projects/feed.atom").body).tag.endswith("feed")


# -- a project -------------------------------------------------------------------------------------------------------


def test_what_is_left_out_is_counted(put: Put, look: Callable[..., Answer]) -> None:
    extras = [f"Provides-Extra: option{number:03d}" for number in range(100)]
    classifiers = [f"Classifier: Topic :: Number {number}" for number in range(310)]
    metadata = core_metadata("foo", "1.0", summary="x" * 600, extra=[*extras, *classifiers])
    put(*make_wheel("foo", "1.0", metadata=metadata))
    text = words(look("/project/foo/").text)
    shown = [number for number in range(100) if f"option{number:03d}" in text]
    assert shown == list(range(len(shown))) and 20 < len(shown) < 40
    assert f"option{shown[-1]:03d} and {100 - len(shown)} more" in text
    assert "Number 299" in text and "Number 300" not in text and text.endswith("Only the first 300 are shown.")
    assert "x …" in text


def test_wheels_say_what_they_are_built_for(put: Put, look: Callable[..., Answer]) -> None:
    for tags in (
        "cp310-cp310-win_amd64",
        "cp39-cp39-win_amd64",
        "cp38-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64",
    ):
        put(f"foo-1.0-{tags}.whl", make_wheel("foo", "1.0", tag=tags.split(".")[0])[1])
    text = words(look("/project/foo/").text)
    assert "Built for Linux x86_64 Python 3.8+ Windows amd64 Python 3.9, 3.10" in text


def test_source_files_are_listed_apart_from_built_ones(put: Put, look: Callable[..., Answer]) -> None:
    wheel, _ = put(*make_wheel("foo", "1.0")), put(*make_wheel("bar", "1.0"))
    sdist = put(*make_sdist("foo", "1.0"))
    page = look("/project/foo/").text
    first, second = page.index('scope="rowgroup">Source<'), page.index('scope="rowgroup">Built<')
    assert first < page.index(f'<tr id="{sdist.name}">') < second < page.index(f'<tr id="{wheel.name}">')
    assert 'scope="rowgroup"' not in look("/project/bar/").text


def test_a_long_summary_ends_with_a_word_and_is_whole_in_its_title(put: Put, look: Callable[..., Answer]) -> None:
    whole = " ".join(f"word{number:03d}" for number in range(100))
    put(*make_wheel("foo", "1.0", metadata=core_metadata("foo", "1.0", summary=whole)))
    (found,) = re.findall('<p class="lead" title="([^"]*)">([^<]*) …</p>', look("/project/foo/").text)
    assert found[0] == whole and whole.startswith(found[1] + " ") and 480 < len(found[1]) < 512


def test_sizes_and_times_are_told(root: Path, look: Callable[..., Answer]) -> None:
    fill(root)
    text = words(look("/project/lantern/").text)
    assert re.search(r"2 files, [0-9.]+ kB 5 versions, [0-9.]+ kB", text)
    assert "2026-02-23 21:20 UTC" in text


def test_a_project_shows_its_newest_release(root: Path, look: Callable[..., Answer]) -> None:
    fill(root)
    page = look("/project/lantern/").text
    text = words(page)
    assert text.startswith(
        "lantern 2.1.0 latest Read measurements from field stations Released 2026-02-23 21:20 UTC pip pip"
    )
    for said in (
        "simple/ lantern click to select uv",
        "Requires Python &gt;=3.10",
        "License MIT",
        "Author Ines Marsh &lt;ines@example.org&gt;",
        "Keywords measurement, station, telemetry",
        "tidewater &gt;=1.2",
        "with mqtt paho-mqtt &gt;=2",
        "2.2.0rc1 pre 2026-02-28 21:20",
        "2.0.0 yanked 2025-08-03",
        "Topic Scientific/Engineering :: Hydrology",
        "lantern-1.9.0-py3-none-any.whl : it is ",
        "Readings are in UTC.",
        "signature · metadata",
    ):
        assert said in text, said
    assert '<a href="../../project/tidewater/">tidewater</a>' in page and ">attrs</a>" not in page
    assert 'href="https://docs.example/lantern/" rel="nofollow noopener"' in page
    assert re.search(r'sha256 <code class="all">[0-9a-f]{64}</code>', page)
    assert 'href="../../packages/lantern-2.1.0-py3-none-any.whl.asc"' in page


def test_every_link_of_a_page_leads_somewhere(root: Path, serve: Serve) -> None:
    from urllib.parse import urljoin, urlsplit

    fill(root)
    client = serve()
    seen, todo = set(), ["/"]
    while todo:
        path = todo.pop()
        answer = client.get(path, HTTP_ACCEPT=BROWSER, SCRIPT_NAME="")
        assert answer.status in (200, 302), path
        if answer.status == 302:
            todo.append(urljoin(path, answer.headers["location"]))
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        for link in re.findall(r'(?:href|action)="([^"]*)"', answer.text):
            target = urlsplit(urljoin(path, link.replace("&amp;", "&")))
            key = target.path + (f"?{target.query}" if target.query else "")
            if not target.netloc and key not in seen:
                seen.add(key)
                todo.append(key)
    assert {"/project/lantern/2.0.0/", "/packages/tidewater-1.2.3-py3-none-any.whl", "/projects/?sort=-name"} <= seen


def test_a_release_says_when_it_is_yanked_old_or_unfinished(root: Path, look: Callable[..., Answer]) -> None:
    fill(root)
    text = words(look("/project/lantern/2.0.0/").text)
    assert "This release is yanked: loses the last reading of a day." in text and "lantern==2.0.0" in text
    assert "This is an older release. The newest release is lantern 2.1.0" in text
    assert "lantern 2.0.0 latest" not in text and "2.1.0 latest" in text
    text = words(look("/project/lantern/2.2.0rc1/").text)
    assert "lantern 2.2.0rc1 pre-release" in text and "older" not in text.partition("The newest release is")[0]
    assert "lantern 2.1.0 latest" in words(look("/project/lantern/").text)
    assert "This project is archived: use lantern, which does all of this" in words(look("/project/millstone/").text)


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/projects?q=a", "projects/?q=a"),
        ("/project/Foo_Bar", "Foo_Bar/"),
        ("/project/Foo_Bar/", "../foo-bar/"),
        ("/project/foo-bar/1.0", "1.0/"),
        ("/project/foo-bar/1/", "../../foo-bar/1.0/"),
        ("/project/Foo.Bar/1.0.0/", "../../foo-bar/1.0/"),
    ],
)
def test_other_spellings_are_sent_to_the_normal_one(serve: Serve, put: Put, path: str, location: str) -> None:
    put(*make_wheel("foo-bar", "1.0"))
    answer = serve().get(path, HTTP_ACCEPT=BROWSER)
    assert (answer.status, answer.headers["location"]) == (302, location)


@pytest.mark.parametrize("path", ["/project/unknown/", "/project/foo/9/", "/project/foo/x%20y/", "/static/style.css"])
def test_what_is_not_here_is_missing(serve: Serve, put: Put, path: str) -> None:
    put(*make_wheel("foo", "1.0"))
    assert serve().get(path, HTTP_ACCEPT=BROWSER).status == 404


def test_a_project_of_broken_files_says_what_is_wrong_with_them(put: Put, look: Callable[..., Answer]) -> None:
    put("foo-1.0-py3-none-any.whl", b"PK nothing")
    said = "foo-1.0-py3-none-any.whl: it is "
    assert said in look("/project/foo/", status=503).text


@pytest.mark.parametrize("mtime", [-315_619_200, 0], ids=["1960", "1970"])
def test_a_file_of_any_time_is_shown(put: Put, look: Callable[..., Answer], mtime: int) -> None:
    put(*make_wheel("foo", "1.0"), mtime=mtime)
    for path in ("/", "/projects/", "/project/foo/", "/packages/"):
        assert datetime.fromtimestamp(mtime, timezone.utc).strftime("%Y-%m-%d") in look(path).text


def test_a_quarantined_project_offers_nothing_and_says_why(root: Path, put: Put, look: Callable[..., Answer]) -> None:
    put(*make_wheel("foo", "1.0"))
    (root / ".status").mkdir()
    (root / ".status" / "foo").write_text("quarantined\nit steals")
    text = words(look("/project/foo/").text)
    assert "This project is quarantined: it steals" in text and "foo-1.0-py3" not in text and "pip install" not in text


def test_files_without_a_version_are_shown(put: Put, look: Callable[..., Answer]) -> None:
    put(*make_wheel("foo", "1.0"))
    put("foo.zip", make_wheel("foo", "1.0")[1])
    assert "foo.zip" in words(look("/project/foo/").text)


def test_nothing_a_package_says_is_markup(root: Path, look: Callable[..., Answer]) -> None:
    fill_hostile(root)
    listed = names(look("/projects/"))
    assert len(listed) == 5
    for name in listed:
        page = look(f"/project/{name}/").text
        assert not re.search(r"javascript:|onmouseover=|owned", re.sub(r'"[^"]*"', "", tags(page)))
        assert not re.search(r"<(iframe|form action=.https|svg|base|meta http|object|style|input name=.q.>)", page)
        assert page.count('id="content"') == 1
        for link in re.findall(r'href="([^"]*)"', page):
            assert link.startswith(("../", "./", "#", "https://", "1.0/")), link


def test_pages_are_small(root: Path, look: Callable[..., Answer]) -> None:
    fill(root)
    fill_many(root, 60)
    assert len(look("/").body) < 10_000
    assert len(look("/projects/").body) < 30_000
    assert len(look("/project/lantern/").body) < 15_000


def test_the_stylesheet_is_kept_for_good(serve: Serve) -> None:
    client = serve()
    for address in re.findall(r'href="(static/[^"]+)"', client.get("/", HTTP_ACCEPT=BROWSER).text):
        answer = client.get(f"/{address}")
        assert (answer.status, answer.headers["cache-control"]) == (200, "max-age=31536000, immutable")
        assert len(answer.body) < 16_000 and b"http" not in answer.body.replace(b"http://www.w3.org/2000/svg", b"")
    assert client.get("/static/..%2fpages.py").status == 404


def test_without_full_text_the_list_is_the_same(root: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(root)
    monkeypatch.setattr("pypiserver.catalog.changes.has_fts5", lambda: False)
    client = digested(serve())
    assert sorted(names(client.get("/projects/?q=estuary", HTTP_ACCEPT=BROWSER))) == ["estuary", "estuary-plots"]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (99_949, "100 kB"),
        (1_500_000, "1.5 MB"),
        (2e15, "2000 TB"),
    ],
)
def test_sizes_are_said_with_a_unit(number: float, text: str) -> None:
    assert size(number) == text


def test_a_command_trusts_a_host_without_tls_by_name() -> None:
    assert commands("foo", "1.0", pinned=False, url="http://pypi.example/")[0] == (
        "pip",
        "pip install --index-url http://pypi.example/simple/ --trusted-host pypi.example foo",
    )
