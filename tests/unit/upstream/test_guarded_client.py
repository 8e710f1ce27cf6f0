"""Asking other indexes: where requests may go, what they say, and how long and how large responses may be."""

from __future__ import annotations

import base64
import gzip
import socket
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pypiserver.upstream import connections
from pypiserver.upstream.connections import AddressRefused
from pypiserver.upstream.errors import Unreachable, UpstreamError
from pypiserver.upstream.guarded_client import USER_AGENT, GuardedClient
from pypiserver.upstream.values import Upstream
from tests.certificates import Certificate, make_certificate
from tests.fake_upstream import FakeUpstream, noise, upstream
from tests.raising import raises
from tests.trap import Trap, trap

from ..cli.test_update import plain_environment

__all__ = ["plain_environment"]

PAGE = "/simple/raven/"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
Resolver = Callable[..., list[Any]]


@pytest.fixture
def up() -> Iterator[FakeUpstream]:
    with upstream() as up:
        up.add_wheel("raven", "1.0")
        yield up


def index(up: FakeUpstream, *hosts: str) -> Upstream:
    return Upstream("up", up.url, hosts=frozenset(hosts))


def got(
    up: FakeUpstream,
    path: str = PAGE,
    *,
    hosts: tuple[str, ...] = (),
    login: tuple[str, str] | None = None,
    limit: int = 1 << 20,
    headers: dict[str, str] | None = None,
    **seconds: float,
) -> tuple[int, bytes, str]:
    asked = index(up, *hosts)
    client = GuardedClient([asked], connections=2, logins={"up": login} if login else {}, connect_seconds=5)
    url = path if "://" in path else up.origin + path
    try:
        with client.get(asked, url, headers=headers or {}, **{"read_seconds": 20, **seconds}) as response:
            return response.status, response.read(limit), response.url
    finally:
        client.close()


def test_a_page_and_a_file_come_over_one_connection(up: FakeUpstream) -> None:
    (file,) = up.projects["raven"].files
    asked = index(up)
    client = GuardedClient([asked], connections=2)
    for path, expected in ((PAGE, 200), (file.path, 200), ("/simple/other/", 404), (file.path, 200)):
        with client.get(asked, up.origin + path, read_seconds=20) as response:
            assert (response.status, response.url) == (expected, up.origin + path)
            body = response.read()
        assert body == file.data or path != file.path
    client.close()
    assert up.connections == 1


# What is said.


def test_only_our_headers_are_sent(up: FakeUpstream) -> None:
    got(up, headers={"Accept": "text/html", "Range": "bytes=0-1"})
    assert set(up.seen[0].headers) == {"host", "accept", "range", "user-agent", "accept-encoding"}
    assert up.seen[0].headers["user-agent"] == USER_AGENT
    assert up.seen[0].headers["accept-encoding"] == "identity"
    for name in ("Cookie", "Authorization", "X-Forwarded-For", "Host"):
        with pytest.raises(ValueError, match=name):
            got(up, headers={name: "x"})


def test_the_login_goes_to_the_own_server_and_ends_with_the_first_redirect_that_leaves_it(up: FakeUpstream) -> None:
    up.login = "me:se:cret"
    with upstream() as other:
        up.spoil(PAGE, location=f"{up.origin}/second")
        up.spoil("/second", location=f"{other.origin}/third")
        other.spoil("/third", location=f"{up.origin}/fourth")
        status, _, url = got(up, hosts=(other.origin,), login=("me", "se:cret"))
        assert (status, url) == (401, f"{up.origin}/fourth")
        said = "Basic " + base64.b64encode(b"me:se:cret").decode()
        assert [(seen.path, seen.headers.get("authorization")) for seen in up.seen] == [
            (PAGE, said),
            ("/second", said),
            ("/fourth", None),
        ]
        assert [seen.headers.get("authorization") for seen in other.seen] == [None]


def test_the_login_does_not_go_to_a_file_host(up: FakeUpstream) -> None:
    with upstream() as other:
        got(up, f"{other.origin}/file", hosts=(other.origin,), login=("me", "secret"))
        assert "authorization" not in other.seen[0].headers


def test_the_login_of_netrc_counts_unless_another_is_given(
    up: FakeUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ada password lovelace\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for login, expected in ((None, b"ada:lovelace"), (("me", "x"), b"me:x")):
        got(up, login=login)
        assert up.seen[-1].headers["authorization"] == "Basic " + base64.b64encode(expected).decode()


# Where requests go.

INWARD = [
    "http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://LOCALHOST.:{port}/", "http://2130706433:{port}/",
    "http://0x7f.1:{port}/", "http://0177.0.0.1:{port}/", "http://127.1:{port}/", "http://127.0.0.1.:{port}/",
    "http://0:{port}/", "http://0.0.0.0:{port}/", "http://[::1]:{port}/", "http://[::]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/", "http://[::ffff:7f00:1]:{port}/", "http://[::ffff:10.0.0.1]/",
    "http://[64:ff9b::7f00:1]:{port}/", "http://[64:ff9b::]/", "http://[2002:7f00:1::]/", "http://[fe80::1]/",
    "http://169.254.169.254/latest/meta-data/", "http://metadata.google.internal/", "http://10.0.0.1/",
    "http://100.64.0.1/", "http://224.0.0.1/", "http://192.168.0.1/", "//127.0.0.1:{port}/x",
    "http://me:secret@127.0.0.1:{port}/", "file:///etc/passwd", "gopher://127.0.0.1:{port}/", "http://[oops/",
    "http:///x", "http://127.0.0.1:{port}\\@pypi.example/", "http://pypi.example@127.0.0.1:{port}/",
]  # fmt: skip


@pytest.mark.parametrize("location", INWARD)
def test_no_redirect_and_no_page_leads_inward(up: FakeUpstream, location: str) -> None:
    with trap() as inner:
        target = location.format(port=inner.port)
        up.spoil(PAGE, location=target)
        with pytest.raises(UpstreamError) as caught:
            got(up)
        assert caught.value.kind in ("redirect", "address") and "secret" not in str(caught.value)
        if "://" in target:
            with raises(UpstreamError, kind="address"):
                got(up, target)
        assert (inner.connections, inner.received) == (0, b"")


def resolve(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Every host has these addresses; the returned list gets the hosts that were looked up."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, *args: Any, **options: Any) -> list[Any]:
        asked.append(host)
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(family[":" in each], socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_a_name_that_has_a_private_address_is_not_connected_to(
    up: FakeUpstream, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with trap() as inner:
        up.spoil(PAGE, location=f"http://files.example:{inner.port}/")
        asked = index(up)
        client = GuardedClient([asked], connections=1)
        looked_up = []

        def asks(host: str, *rest: Any, **options: Any) -> list[Any]:
            looked_up.append(host)
            return real(address if host == "files.example" else host, *rest, **options)

        real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", asks)
        with raises(UpstreamError, kind="address") as caught, client.get(asked, up.origin + PAGE, read_seconds=20):
            pass
        client.close()
        assert "files.example" in str(caught.value)
        assert looked_up == ["127.0.0.1", "files.example"]
        assert inner.connections == 0


def connected(inner: Trap, is_allowed: Callable[[str], bool]) -> socket.socket:
    return connections._connected("files.example", inner.port, 5.0, (), is_allowed)


def test_of_several_addresses_only_public_ones_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with trap() as inner:
        asked = resolve(monkeypatch, "127.0.0.9", "127.0.0.1")
        with connected(inner, lambda address: address == "127.0.0.1") as sock:
            assert sock.getpeername()[0] == "127.0.0.1"
        assert asked == ["files.example"], "it is looked up once, so a second answer counts for nothing"


def test_the_connected_socket_is_looked_at_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with trap() as inner:
        resolve(monkeypatch, "127.0.0.1")
        verdicts = iter([True, False])
        with pytest.raises(AddressRefused):
            connected(inner, lambda address: next(verdicts))
    assert inner.received == b""


def test_a_server_that_the_settings_name_may_be_private(up: FakeUpstream) -> None:
    with upstream() as other:
        other.served["/x"] = b"here"
        up.spoil(PAGE, location=f"{other.origin}/x")
        assert got(up, hosts=(other.origin,)) == (200, b"here", f"{other.origin}/x")
        asked, unrelated = index(up, other.origin), Upstream("unrelated", "http://pypi.example/simple/")
        client = GuardedClient([asked, unrelated], connections=1)
        with client.get(asked, f"{other.origin}/x") as response:
            assert response.read() == b"here"
        # A connection that is kept is open to the index for which it was named, and to no other.
        with raises(UpstreamError, kind="address"), client.get(unrelated, f"{other.origin}/x"):
            pass
        client.close()


def test_five_redirects_are_followed_and_no_circle(up: FakeUpstream) -> None:
    up.served["/5"] = b"here"
    for number in range(5):
        up.spoil(f"/{number}", location=f"/{number + 1}", status=(301, 302, 303, 307, 308)[number])
    assert got(up, "/0") == (200, b"here", f"{up.origin}/5")
    up.spoil("/5", location="/0")
    up.forget()
    with raises(UpstreamError, kind="circle"):
        got(up, "/0")
    assert len(up.seen) == 6


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def test_nothing_leads_from_tls_to_a_server_without(
    up: FakeUpstream, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.authority))
    with upstream(certificate=certificate) as secure:
        secure.served["/x"] = b"here"
        assert got(secure, "/x")[1] == b"here"
        secure.spoil("/x", location=f"{up.origin}/x")
        with raises(UpstreamError, kind="redirect"):
            got(secure, "/x", hosts=(up.origin,))
        with raises(UpstreamError, kind="address"):
            got(secure, f"{up.origin}/x", hosts=(up.origin,))
        assert up.connections == 0
        # The other way is no harm.
        up.spoil("/x", location=f"{secure.origin}/y")
        secure.served["/y"] = b"there"
        assert got(up, "/x", hosts=(secure.origin,))[1] == b"there"


def test_a_certificate_that_is_not_trusted_is_no_answer(up: FakeUpstream, certificate: Certificate) -> None:
    with upstream(certificate=certificate) as secure, raises(Unreachable, kind="untrusted"):
        got(secure)


def test_through_a_proxy_the_host_of_the_address_is_judged(up: FakeUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    with upstream() as proxy:
        monkeypatch.setenv("http_proxy", proxy.origin)
        asked = Upstream("far", "http://pypi.example/simple/")
        client = GuardedClient([asked], connections=1)
        with client.get(asked, "http://files.example/x") as response:
            assert response.status == 404
        with raises(UpstreamError, kind="address"), client.get(asked, "http://10.0.0.1/x"):
            pass
        client.close()
        assert [seen.path for seen in proxy.seen] == ["http://files.example/x"]


# What comes back.


def spoiled(up: FakeUpstream, kind: str, seconds: float = 20, **what: Any) -> None:
    """Getting the page fails with this kind, and takes little memory."""
    what = {"raw": b"", **what} if "raw_forever" in what else what
    up.spoil(PAGE, **what)
    tracemalloc.start()
    try:
        with pytest.raises(UpstreamError) as caught:
            got(up, read_seconds=seconds, headers={"Accept-Encoding": "gzip, deflate"}, total_seconds=20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.kind == kind, caught.value
    assert peak < 8 << 20


def test_a_head_has_a_limited_size(up: FakeUpstream) -> None:
    spoiled(up, "unreachable", raw=HEAD, raw_forever=b"X-Long: " + b"x" * 60_000 + b"\r\n")


def test_a_line_of_a_head_has_a_limited_size(up: FakeUpstream) -> None:
    spoiled(up, "unreachable", raw=HEAD + b"X-Long: ", raw_forever=b"x" * 60_000)


def test_interim_responses_end(up: FakeUpstream) -> None:
    spoiled(up, "unreachable", raw_forever=b"HTTP/1.1 100 Continue\r\n\r\n")


def test_a_location_of_a_megabyte_is_no_address(up: FakeUpstream) -> None:
    spoiled(up, "unreachable", location="/" + "x" * (1 << 20))
    up.heal()
    spoiled(up, "redirect", location="/" + "x" * 60_000)


def test_a_line_before_a_chunk_has_a_limited_size(up: FakeUpstream) -> None:
    spoiled(up, "broken-off", raw=HEAD + b"Transfer-Encoding: chunked\r\n\r\n", raw_forever=b"0" * 60_000)


def test_an_endless_body_in_chunks_is_left(up: FakeUpstream) -> None:
    spoiled(
        up,
        "too-large",
        raw=HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
        raw_forever=b"400\r\n" + b"x" * 1024 + b"\r\n",
    )


def test_no_more_is_unpacked_than_asked_for(up: FakeUpstream) -> None:
    for coding in ("gzip", "deflate"):
        up.heal()
        spoiled(up, "too-large", body=b" " * (64 << 20), coding=coding)


@pytest.mark.parametrize(
    ("coding", "kind"),
    [
        ("gzip", "broken-off"),
        ("deflate", "broken-off"),
        ("br", "coding"),
        ("gzip, gzip", "coding"),
        ("x" * 99, "coding"),
    ],
)
def test_a_coding_that_is_not_there_is_an_error(up: FakeUpstream, coding: str, kind: str) -> None:
    spoiled(up, kind, claims_coding=coding)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_body_is_decoded_unless_told_otherwise(up: FakeUpstream, coding: str) -> None:
    up.served["/x"] = b"here" * 100
    up.spoil("/x", coding=coding)
    assert got(up, "/x")[1] == b"here" * 100
    asked = index(up)
    client = GuardedClient([asked], connections=1)
    with client.get(asked, f"{up.origin}/x") as response:
        assert len(b"".join(response.chunks(decode=False))) < 100
    client.close()


def test_a_coded_body_without_output_is_left(up: FakeUpstream) -> None:
    """Empty blocks of a compressed body come as fast as the server likes, and nothing comes out of them."""
    head = HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"")[:10]
    spoiled(up, "timeout", seconds=0.2, raw=head, raw_forever=b"\0\0\0\xff\xff" * 10_000)


def test_a_coded_body_that_ends_too_early_is_an_error(up: FakeUpstream) -> None:
    for coded, coding in ((gzip.compress(noise(5_000)), "gzip"), (zlib.compress(noise(5_000)), "deflate")):
        for body in (coded[:-1], coded[:-9], coded[:100], coded + b"more"):
            up.heal()
            spoiled(up, "broken-off", body=body, claims_coding=coding)


def test_codings_of_several_servers_are_read(up: FakeUpstream) -> None:
    bare = zlib.compressobj(wbits=-15)
    for coded, coding in (
        (gzip.compress(b"he") + gzip.compress(b"re"), "x-gzip"),
        (bare.compress(b"here") + bare.flush(), "deflate"),
        (b"here", "identity"),
        (b"", "gzip"),
    ):
        up.heal()
        up.spoil(PAGE, body=coded, claims_coding=coding)
        assert got(up)[1] == (b"here" if coded else b"")


@pytest.mark.parametrize(
    "what",
    [{"cut_after": 10}, {"cut_after": 10, "reset": True}, {"cut_after": 10**6}, {"chunked": 7, "cut_after": 10}],
)
def test_a_body_that_is_cut_is_an_error(up: FakeUpstream, what: dict[str, Any]) -> None:
    spoiled(up, "broken-off", length=-1 if what.get("chunked") else 10**7, **what)


@pytest.mark.parametrize("what", [{"chunked": 7}, {"length": None}])
def test_a_body_without_a_length_is_read_to_its_end(up: FakeUpstream, what: dict[str, Any]) -> None:
    up.served["/x"] = b"here" * 10
    up.spoil("/x", **what)
    assert got(up, "/x")[1] == b"here" * 10


def test_a_silent_server_is_left(up: FakeUpstream) -> None:
    spoiled(up, "timeout", seconds=0.1, silent=True)
    up.heal()
    spoiled(up, "timeout", seconds=0.1, wait_after=10)


def test_a_body_that_drips_is_left_when_its_time_is_over(up: FakeUpstream) -> None:
    up.spoil(PAGE, bytes_per_second=20)
    with raises(UpstreamError, kind="timeout"):
        got(up, read_seconds=20, total_seconds=0.3)


def test_a_head_that_drips_is_left_when_its_time_is_over(up: FakeUpstream) -> None:
    up.spoil(PAGE, head_bytes_per_second=20)
    with raises(Unreachable, kind="timeout"):
        got(up, read_seconds=20, total_seconds=0.3)


def test_the_rest_of_a_small_body_is_not_waited_for(up: FakeUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pypiserver.upstream.http_client.REST_SECONDS", 0.05)
    asked = index(up)
    client = GuardedClient([asked], connections=1)
    with up.held(PAGE, after=3), client.get(asked, up.origin + PAGE, read_seconds=60) as response:
        assert response.status == 200
    client.close()


def test_pieces_come_as_they_are_sent(up: FakeUpstream) -> None:
    asked = index(up)
    client = GuardedClient([asked], connections=1)
    with up.held(PAGE, after=3) as gate, client.get(asked, up.origin + PAGE, read_seconds=20) as response:
        pieces = response.chunks()
        first = next(pieces)
        gate.set()
        assert len(first) == 3 and len(b"".join(pieces)) > 100
    client.close()


def test_a_server_that_is_down_is_no_answer(up: FakeUpstream) -> None:
    up.stop()
    with raises(Unreachable, kind="unreachable"):
        got(up)
    up.start()
    assert got(up)[0] == 200


def test_a_connection_that_ended_meanwhile_is_made_again(up: FakeUpstream) -> None:
    asked = index(up)
    client = GuardedClient([asked], connections=1)
    for _ in range(2):
        with client.get(asked, up.origin + PAGE) as response:
            assert response.read()
        up.stop()
        up.start()
    client.close()
