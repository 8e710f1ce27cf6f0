"""Files that an index has on a server that no setting names, and that has no public address."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pypiserver.upstream.guarded_client import blocked_origin
from pypiserver.upstream.values import Upstream
from tests.fake_upstream import FakeUpstream, upstream
from tests.unit.wsgi import Client

from ..commandline import pypi_server

Serve = Callable[..., Client]


@pytest.fixture
def up() -> Iterator[FakeUpstream]:
    """An index whose files are on another port, so on another server, of this machine."""
    with upstream() as files, upstream(files=files) as made:
        made.add_wheel("raven", "1.0")
        yield made


def fallback(up: FakeUpstream, folder: Path) -> dict[str, object]:
    return {"fallback_mode": "cache", "fallback_url": up.url, "cache_folder": folder / "cache"}


def test_the_log_names_the_host_and_the_setting_and_the_client_gets_neither(
    serve: Serve, up: FakeUpstream, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(**fallback(up, tmp_path))
    (file,) = up.projects["raven"].files
    origin = file.url.removesuffix(file.path)
    for path, fields in (
        (file.path, {}),
        (file.path, {"HTTP_RANGE": "bytes=0-9"}),
        (f"{file.path}.metadata", {}),
    ):
        caplog.clear()
        answer = client.get(path, **fields)
        assert (answer.status, answer.headers["content-type"]) == (403, "application/problem+json"), path
        problem = answer.json()
        assert problem["rule"] == "hosts"
        assert "has to allow" in problem["detail"]
        assert "127.0.0.1" not in answer.text
        assert "retry-after" not in answer.headers
        said = " ".join(record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)
        assert origin in said
        assert f'hosts = ["{origin}"]' in said


def test_explain_names_the_host_and_the_setting(
    up: FakeUpstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file,) = up.projects["raven"].files
    origin = file.url.removesuffix(file.path)
    options = ("--fallback-mode", "cache", "--fallback-url", up.url, "--cache-folder", tmp_path / "cache")
    outcome = pypi_server(capsys, "proxy", "explain", "raven==1.0", *options)
    assert outcome.status == 1
    assert f'hosts = ["{origin}"]' in outcome.out
    named = tmp_path / "pypiserver.toml"
    lines = ['fallback_mode = "cache"', "[[upstream]]", 'name = "up"', f'url = "{up.url}"', f'hosts = ["{origin}"]']
    named.write_text("\n".join(lines) + "\n")
    outcome = pypi_server(
        capsys, "proxy", "explain", "raven==1.0", "--config", named, "--cache-folder", tmp_path / "cache"
    )
    assert (outcome.status, "hosts" in outcome.out) == (0, False)


@pytest.mark.parametrize(
    ("url", "addresses", "blocked"),
    [
        ("https://index.example/files/a.whl", [], ""),
        ("https://files.example/a.whl", ["10.0.0.7"], "https://files.example:443"),
        ("https://files.example/a.whl", ["10.0.0.7", "8.8.8.8"], ""),
        ("https://files.example/a.whl", [], ""),
        ("https://allowed.example/a.whl", ["10.0.0.7"], ""),
        ("https://10.0.0.7:8443/a.whl", [], "https://10.0.0.7:8443"),
        ("https://nexus.internal/a.whl", ["8.8.8.8"], "https://nexus.internal:443"),
    ],
)
def test_which_hosts_are_blocked(url: str, addresses: list[str], blocked: str) -> None:
    index = Upstream("pypi", "https://index.example/simple/", hosts=frozenset({"https://allowed.example"}))

    def look_up(host: str) -> list[str]:
        if not addresses:
            raise OSError("no such host")
        return addresses

    assert blocked_origin(index, url, look_up=look_up) == blocked
