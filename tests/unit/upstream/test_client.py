"""Asking an index: both kinds of page, logins, proxies, authorities, and what goes wrong."""

from __future__ import annotations

import base64
import gzip
import shutil
import ssl
import subprocess
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.version import Version

from pypiserver.distributions.filename import normalize
from pypiserver.errors import ConfigError
from pypiserver.upstream import authorities, client
from pypiserver.upstream.client import UpstreamFile, open_index
from pypiserver.upstream.errors import Unreachable, UpstreamError
from tests.fake_index import JSON, Answer, FakeIndex, serving
from tests.raising import raises

from ..cli.test_update import local, plain_environment, raven, update

__all__ = ["plain_environment"]

PAGE = "/simple/raven/"
WHEEL, SDIST = raven("2.0"), "raven-1.4.tar.gz"
DEAD = "http://127.0.0.1:9"  # the discard port: no one listens there


@pytest.fixture
def index() -> Iterator[FakeIndex]:
    with serving(FakeIndex()) as index:
        index.add("raven", WHEEL, **{"requires-python": ">=3.8,<99"})
        index.add("raven", SDIST, yanked="broken <b>")
        index.add("other", "other-1.tar.gz")
        yield index


def files(url: str, project: str = "raven", *, timeout: float = 30.0) -> list[UpstreamFile]:
    with open_index(url, connections=2, timeout=timeout) as asked:
        return asked.files(normalize(project))


def refused(url: str, kind: str, **options: float) -> str:
    """What is said of an index that is refused for this reason."""
    with raises(UpstreamError, kind=kind) as caught:
        files(url, **options)
    return str(caught.value)


@pytest.mark.parametrize("only_html", [False, True], ids=["json", "html"])
def test_a_page_says_the_same_in_both_forms(index: FakeIndex, only_html: bool) -> None:
    index.only_html = only_html
    assert files(index.url) == [
        UpstreamFile(WHEEL, Version("2.0"), "bdist_wheel", ">=3.8,<99"),
        UpstreamFile(SDIST, Version("1.4"), "sdist", is_yanked=True),
    ]
    assert files(index.url, "missing") == []


def test_the_address_may_lack_its_slash_and_have_more_than_a_path(index: FakeIndex) -> None:
    assert len(files(f"{index.url[:-1]}?x=y#z")) == 2
    assert index.seen == [(PAGE, None)]


BAD_PAGES = {
    "no JSON": Answer(200, b"{", {"Content-Type": JSON}),
    "no object": Answer(200, b"[]", {"Content-Type": JSON}),
    "no text": Answer(200, b"\xff\xfe\xfd", {"Content-Type": JSON}),
    "nested": Answer(200, b"[" * 200_000, {"Content-Type": JSON}),
    "a long number": Answer(200, b'{"files":' + b"9" * 10_000, {"Content-Type": JSON}),
    "another interface": Answer(200, b'{"meta":{"api-version":"2.0"},"files":[]}', {"Content-Type": JSON}),
}


@pytest.mark.parametrize("name", BAD_PAGES)
def test_a_page_that_cannot_be_read_is_an_error(index: FakeIndex, name: str) -> None:
    index.answers[PAGE] = BAD_PAGES[name]
    assert index.url in refused(index.url, "page")


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (Answer(500), "status", "500"),
        (Answer(403), "status", "403; "),
        (Answer(407), "status", "HTTPS_PROXY"),
        (Answer(200, b"x", {"Content-Type": "application/x\x1b[2J"}), "content-type", "application/x [2j"),
        (Answer(200, b"x"), "content-type", ""),
        (Answer(302, headers={"Location": "/simple/raven/"}), "circle", ""),
        (Answer(302, headers={"Location": "//u:secret@localhost/a"}), "redirect", "http://localhost,"),
        (Answer(302, headers={"Location": "http://127.0.0.1:9/"}), "redirect", "http://127.0.0.1:9,"),
        (Answer(302, headers={"Location": "http://[oops/"}), "redirect", ""),
        (Answer(302, headers={"Location": "file:///etc/passwd"}), "redirect", "file://"),
        (Answer(200, b"x" * 9, {"Content-Type": JSON, "Content-Encoding": "gzip"}), "broken-off", "Error"),
        (Answer(0), "unreachable", "HTTPS_PROXY"),
    ],
)
def test_what_the_index_did_is_said(index: FakeIndex, answer: Answer, kind: str, said: str) -> None:
    index.answers[PAGE] = answer
    message = refused(index.url, kind)
    assert message.startswith(f"The index {index.url} ") and said in message
    assert message.isprintable()
    assert "secret" not in message


def test_a_redirect_within_the_index_is_followed(index: FakeIndex) -> None:
    index.login = "me:secret"
    index.answers[PAGE] = Answer(301, headers={"Location": f"{index.url}other/"})
    assert files(index.url.replace("//", "//me:secret@")) == []
    assert [path for path, _ in index.seen] == [PAGE, "/simple/other/"]


def test_an_endless_page_is_not_read_to_its_end(index: FakeIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_PAGE", 1 << 20)
    index.answers[PAGE] = Answer(200, b" " * (4 << 20), {"Content-Type": JSON})
    assert "1 MiB" in refused(index.url, "too-large")


def test_the_body_of_a_redirect_is_not_read(index: FakeIndex) -> None:
    index.answers[PAGE] = Answer(302, headers={"Location": "/simple/other/", "Content-Length": "99999999999"})
    with open_index(index.url, connections=1, timeout=5) as asked:
        assert asked.files(normalize("raven")) == []
    assert [path for path, _ in index.seen] == [PAGE, "/simple/other/"]


def test_an_index_that_is_silent_is_given_up(index: FakeIndex) -> None:
    over = threading.Event()
    index.before = over.wait
    try:
        message = refused(index.url, "timeout", timeout=0.2)
    finally:
        over.set()
    assert "(timed out)" in message


def test_a_connection_that_was_closed_meanwhile_is_made_again(index: FakeIndex) -> None:
    index.answers[PAGE] = Answer(404, headers={"Connection": "close"})
    with open_index(index.url, connections=1) as asked:
        assert [asked.files(normalize("raven")) for _ in range(3)] == [[], [], []]


def test_one_connection_is_enough_for_projects_that_are_missing(index: FakeIndex) -> None:
    with open_index(index.url, connections=1) as asked:
        assert [asked.files(normalize(name)) for name in ("a", "b", "c")] == [[], [], []]
        assert len(asked.files(normalize("raven"))) == 2
    assert index.connections == 1


def test_no_more_is_unpacked_than_a_page_may_have(index: FakeIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_PAGE", 1 << 20)
    bomb = gzip.compress(b" " * (64 << 20))
    index.answers[PAGE] = Answer(200, bomb, {"Content-Type": JSON, "Content-Encoding": "gzip"})
    tracemalloc.start()
    try:
        assert "1 MiB" in refused(index.url, "too-large")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_an_index_that_cannot_be_reached_is_named_without_its_password() -> None:
    message = refused(f"{DEAD.replace('//', '//me:secret@')}/simple/", "unreachable")
    assert f" {DEAD}/simple/ " in message and "(Connection refused)" in message and "secret" not in message


def test_nothing_more_is_tried_when_the_index_cannot_be_reached() -> None:
    with pytest.raises(Unreachable):
        update([local("raven", "1"), local("other", "1")], FakeIndex(port=9))


def test_a_failure_in_between_is_told_with_its_projects(index: FakeIndex) -> None:
    index.answers["/simple/other/"] = Answer(500)
    index.answers["/simple/third/"] = Answer(500)
    status, out, err = update([local("Other", "1"), local("raven", "1.9"), local("third", "1")], index)
    assert status == 2
    assert "\n!u!\n" in out
    assert index.url in err and err.endswith(" Other, third.\n")


def test_an_index_that_hangs_up_now_and_then_is_asked_about_the_rest(index: FakeIndex) -> None:
    index.answers["/simple/middle/"] = Answer(0)
    status, out, err = update([local("first", "1"), local("middle", "1"), local("raven", "1.9")], index)
    assert status == 2
    assert "\ne!u\n" in out
    assert err.endswith(" middle.\n")


@pytest.mark.parametrize("where", ["address", "netrc", "nowhere"])
def test_the_password_comes_from_the_address_or_netrc(
    index: FakeIndex, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.login = "me:se:c/ret"
    url = index.url.replace("//", "//me:se%3Ac%2Fret@") if where == "address" else index.url
    if where == "netrc":
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login me password se:c/ret\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
    if where == "nowhere":
        assert "netrc" in refused(url, "status")
    else:
        assert len(files(url)) == 2


def test_a_proxy_of_the_environment_is_asked(index: FakeIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{index.port}")
    assert len(files("http://pypi.invalid/simple/")) == 2
    assert index.seen == [(PAGE, None)]


def test_exceptions_from_the_proxy_are_kept(index: FakeIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", DEAD.replace("//", "//me:secret@"))
    message = refused(index.url, "unreachable")
    assert "(Connection refused)" in message
    assert "secret" not in message
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert len(files(index.url)) == 2


@pytest.mark.parametrize("exceptions", ["127.0.0.0/8", "pypi.example, 127.0.0.1/32", "*"])
def test_a_network_can_be_excepted_from_the_proxy(
    index: FakeIndex, exceptions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", DEAD)
    monkeypatch.setenv("no_proxy", "10.0.0.0/8, oops/8")
    assert refused(index.url, "unreachable")
    monkeypatch.setenv("no_proxy", exceptions)
    assert len(files(index.url)) == 2


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "http://[oops", "gopher://127.0.0.1"])
def test_a_proxy_that_cannot_be_used_is_no_answer(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", proxy)
    assert refused("http://pypi.invalid/simple/", "unreachable")


def test_a_proxy_may_lack_its_scheme(index: FakeIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"127.0.0.1:{index.port}")
    assert len(files("http://pypi.invalid/simple/")) == 2


def test_the_host_may_have_letters_that_dns_has_not(index: FakeIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"127.0.0.1:{index.port}")
    assert len(files("http://me:sécret@müller.invalid/simple/")) == 2
    ((_, authorization),) = index.seen
    assert authorization == "Basic " + base64.b64encode("me:sécret".encode()).decode()


def test_the_authorities_of_certifi_are_trusted_where_the_system_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda self: None)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert authorities.trust(None).cert_store_stats()["x509_ca"] > 50


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that is its own authority, and its key, in one file."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("there is no openssl to make a certificate with")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=index"
    subprocess.run(
        [program, *command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path, "-out", f"{path}.crt"],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.mark.parametrize("variable", [None, *authorities.CA_VARIABLES])
def test_an_authority_of_the_environment_is_trusted(
    certificate: Path, variable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(FakeIndex(), certificate=certificate) as index:
        index.add("raven", WHEEL)
        url = index.url.replace("http:", "https:")
        if variable is None:
            message = refused(url, "untrusted")
            assert "self-signed certificate" in message.replace("self signed", "self-signed")
            assert "SSL_CERT_FILE" in message
        else:
            monkeypatch.setenv(variable, str(certificate))
            assert len(files(url)) == 1
            # It is the certificate of an address, and of no name.
            assert refused(url.replace("127.0.0.1", "localhost"), "untrusted")


@pytest.mark.parametrize("variable", [None, "SSL_CERT_FILE"])
def test_a_proxy_leads_to_an_index_with_tls_and_does_not_stand_for_it(
    certificate: Path, index: FakeIndex, variable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", f"http://me:secret@127.0.0.1:{index.port}")
    with serving(FakeIndex(rows=index.rows), certificate=certificate) as far:
        url = far.url.replace("http:", "https:")
        if variable is None:
            assert refused(url, "untrusted")
        else:
            monkeypatch.setenv(variable, str(certificate))
            assert len(files(url)) == 2
    assert set(index.seen) == {(f"127.0.0.1:{far.port}", "Basic bWU6c2VjcmV0")}


def test_an_authority_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    with raises(ConfigError, kind="missing", setting="REQUESTS_CA_BUNDLE", value="/nowhere.pem"):
        files("https://pypi.example/simple/")
