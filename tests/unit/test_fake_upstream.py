"""The hostile upstream does what tests ask of it."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import time

import pytest

from tests.fake_pages import HTML, JSON
from tests.fake_upstream import FakeUpstream, add_pytorch_wheel, pytorch, upstream
from tests.trap import trap


def get(up: FakeUpstream, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", up.port, timeout=10)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def test_a_project_has_the_page_of_every_form_and_its_files() -> None:
    with upstream() as up:
        file = up.add_wheel("raven", "1.0", requires_python=">=3.8", yanked="bad", provenance=b"{}")
        status, headers, body = get(up, "/simple/raven/", Accept=JSON)
        assert (status, headers["content-type"]) == (200, JSON)
        row = json.loads(body)["files"][0]
        assert row["url"] == f"{up.origin}{file.path}" and row["size"] == len(file.data) and row["yanked"] == "bad"
        assert get(up, file.path)[2] == file.data
        assert b"Name: raven" in get(up, f"{file.path}.metadata")[2]
        assert get(up, row["provenance"].removeprefix(up.origin))[2] == b"{}"
        assert get(up, "/simple/raven/", Accept=HTML)[1]["content-type"] == HTML
        assert get(up, "/simple/raven/", If_None_Match=get(up, "/simple/raven/")[1]["etag"])[0] == 304
        assert get(up, "/simple/other/")[0] == 404
        assert get(up, file.path, Range="bytes=-10")[2] == file.data[-10:]
        assert get(up, file.path, "HEAD")[1]["content-length"] == str(len(file.data))
        assert up.count("/simple/raven/") == 4 and up.count("/packages/*", "HEAD") == 1


def test_pytorch_has_relative_links_and_says_403_for_what_it_lacks() -> None:
    with upstream() as other, pytorch(files=None) as up:
        add_pytorch_wheel(up, "torch", "2.9.0+cu130")
        up.file_host = other
        up.add_wheel("torch", "2.8.0", uploaded=None)
        page = get(up, "/whl/cu130/torch/")[2].decode()
        assert 'href="/whl/cu130/torch-2.9.0%2Bcu130-py3-none-any.whl#sha256=' in page and other.origin in page
        assert get(up, "/whl/cu130/torch-2.9.0%2Bcu130-py3-none-any.whl")[0] == 200
        assert get(up, "/whl/cu130/missing/")[0] == 403


def test_a_response_is_spoiled_as_long_as_asked() -> None:
    with upstream() as up:
        file = up.add_wheel("raven", "1.0", size=10_000)
        up.spoil("/packages/*", cut_after=100, times=1)
        with pytest.raises(http.client.IncompleteRead):
            get(up, file.path)
        assert get(up, file.path)[2] == file.data
        up.spoil("/packages/*", status=429, headers={"Retry-After": "7"})
        assert get(up, file.path)[:1] == (429,) and get(up, file.path)[1]["retry-after"] == "7"
        up.heal()
        up.spoil("/packages/*", status=500, every=2)
        assert [get(up, file.path)[0] for _ in range(4)] == [200, 500, 200, 500]
        up.heal()
        up.spoil("/packages/*", corrupt_at=-1)
        assert get(up, file.path)[2][:-1] == file.data[:-1] != get(up, file.path)[2]
        up.heal()
        up.spoil("/packages/*", coding="gzip", chunked=777)
        assert gzip.decompress(get(up, file.path)[2]) == file.data
        up.heal()
        up.spoil("/packages/*", location="http://169.254.169.254/")
        assert get(up, file.path)[1]["location"] == "http://169.254.169.254/"
        up.heal()
        up.spoil("/packages/*", length=5, pad=b"more")
        assert get(up, file.path)[2] == file.data[:5]
        up.heal()
        up.spoil("/packages/*", hang_up=True)
        with pytest.raises(ConnectionError):
            get(up, file.path)


def test_a_response_waits_in_the_middle_until_its_gate_is_set() -> None:
    with upstream() as up:
        file = up.add_wheel("raven", "1.0", size=10_000)
        with up.held("/packages/*", after=500) as gate, socket.create_connection(("127.0.0.1", up.port)) as client:
            client.sendall(f"GET {file.path} HTTP/1.0\r\n\r\n".encode())
            got = b""
            while len(got.partition(b"\r\n\r\n")[2]) < 500:
                got += client.recv(1 << 16)
            assert got.partition(b"\r\n\r\n")[2] == file.data[:500]
            gate.set()
            while data := client.recv(1 << 16):
                got += data
        assert got.partition(b"\r\n\r\n")[2] == file.data


def test_it_goes_down_and_comes_back_at_its_port() -> None:
    with upstream() as up:
        port = up.port
        get(up, "/")
        up.stop()
        with pytest.raises(ConnectionRefusedError):
            get(up, "/")
        up.start()
        assert (up.port, get(up, "/")[0]) == (port, 404)


def test_a_trap_counts_what_it_is_told() -> None:
    with trap() as found:
        with socket.create_connection(("127.0.0.1", found.port)) as client:
            client.sendall(b"GET")
        deadline = time.monotonic() + 10
        while found.received != b"GET" and time.monotonic() < deadline:
            time.sleep(0.001)
        assert (found.connections, found.received) == (1, b"GET")
