"""Metrics: what is counted, who may see it, and that workers are added up."""

from __future__ import annotations

import contextlib
import re
import socket
import sys
import threading
import urllib.error
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pypiserver.errors import ConfigError
from pypiserver.observability import metrics
from pypiserver.observability.metrics import Metrics, State
from pypiserver.observability.request_events import RequestEvent
from pypiserver.settings.config import make_config
from tests.live_server import DIRECT
from tests.make_archives import make_wheel
from tests.raising import raises

from ..web.test_routes import basic
from ..wsgi import Client

WHEEL, WHEEL_BYTES = make_wheel("foo", "1.0")
DOCS = Path(__file__).resolve().parents[3] / "docs"
Serve = Callable[..., Client]
Values = dict[tuple[str, ...], float]


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(metrics.FOLDER, raising=False)


def parsed(text: str) -> Values:
    """Values by name without the prefix, and the labels' values, by the labels' names."""
    return {
        (
            sample.name.removeprefix("pypiserver_"),
            *(sample.labels[name] for name in sorted(sample.labels)),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_is_counted(serve: Serve) -> None:
    access = {"authenticate": "update", "auther": lambda user, password: password == "pw"}
    client = serve(metrics=True, **access)
    right, wrong = ({"HTTP_AUTHORIZATION": basic("alice", password)} for password in ("pw", "guess"))
    assert client.upload(WHEEL, WHEEL_BYTES, **right).status == 200
    assert client.upload(WHEEL, WHEEL_BYTES, **wrong).status == 401
    assert client.upload(WHEEL, WHEEL_BYTES).status == 401
    body = client.get("/simple/foo/").body
    client.get("/simple/foo/")
    client.get(f"/packages/{WHEEL}")
    client.request("HEAD", f"/packages/{WHEEL}")
    client.request("OPTIONS", "/")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = parsed(answer.text)
    page, file = "/simple/<project>/", "/packages/<path>"
    assert {key: value for key, value in found.items() if key[0] == "requests_total"} == {
        ("requests_total", "POST", "/", "200"): 1.0,
        ("requests_total", "POST", "/", "401"): 2.0,
        ("requests_total", "GET", page, "200"): 2.0,
        ("requests_total", "GET", file, "200"): 1.0,
        ("requests_total", "HEAD", file, "200"): 1.0,
        ("requests_total", "other", "other", "405"): 1.0,
    }
    assert found["response_bytes_total", page] == 2 * len(body)
    assert found["response_bytes_total", file] == len(WHEEL_BYTES)
    assert found["request_seconds_count", file] == 2.0
    assert found["request_seconds_bucket", "+Inf", file] == 2.0
    assert found["auth_failures_total",] == 1.0
    assert found["changes_total", "upload"] == 1.0
    assert (found["files",], found["projects",]) == (1.0, 1.0)
    assert found["catalog_serial",] > 1_600_000_000
    assert 0 <= found["scan_age_seconds",] < 100
    assert 0 <= found["scan_seconds",] < 100


def test_hits_and_misses_of_the_page_cache_are_counted(serve: Serve) -> None:
    client = serve(metrics=True)
    assert client.upload(WHEEL, WHEEL_BYTES).status == 200
    # What the background still learns of the file may make the page again once or twice.
    for _ in range(20):
        client.get("/simple/foo/")
    found = parsed(client.get("/metrics").text)
    hits, misses = (found["page_cache_requests_total", result] for result in ("hit", "miss"))
    assert hits + misses == 20.0
    assert 1 <= misses < 10


def test_they_are_off_unless_asked_for(serve: Serve) -> None:
    assert serve().get("/metrics").status == 302
    assert serve(metrics_address="127.0.0.1:0").get("/metrics").status == 302


def test_they_are_for_those_who_may_list(serve: Serve) -> None:
    client = serve(metrics=True, authenticate="list", auther=lambda user, password: password == "pw")
    assert client.get("/metrics").status == 401
    assert client.get("/metrics", HTTP_AUTHORIZATION=basic("prometheus", "pw")).status == 200


def test_two_applications_in_one_process_share_nothing(serve: Serve) -> None:
    one, other = serve(metrics=True), serve(metrics=True)
    one.get("/simple/")
    assert ("requests_total", "GET", "/simple/", "200") in parsed(one.get("/metrics").text)
    assert ("requests_total", "GET", "/simple/", "200") not in parsed(other.get("/metrics").text)


def test_without_the_library_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with raises(ConfigError, kind="not-installed", setting="metrics"):
        Metrics(lambda: State(0, 0, 0, None), "1")


def test_a_catalog_that_fails_leaves_only_its_own_values_out() -> None:
    import sqlite3

    def state() -> State:
        raise sqlite3.OperationalError("disk I/O error")

    made = Metrics(state, "1.0")
    made.observe([RequestEvent(0.0, 0.5, "GET", 200, 5, route="/")])
    found = parsed(made.exposition().decode())
    assert ("requests_total", "GET", "/", "200") in found
    assert ("files",) not in found


def test_a_file_another_worker_is_about_to_write_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(metrics.FOLDER, str(tmp_path))
    made = Metrics(lambda: State(1, 1, 1, None), "1.0")
    empty = tmp_path / "counter_1.db"
    empty.touch()
    threading.Timer(0.1, empty.unlink).start()
    assert b"pypiserver_files 1.0" in made.exposition()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("9090", ("127.0.0.1", 9090)), ("0.0.0.0:9090", ("0.0.0.0", 9090)), ("[::1]:0", ("::1", 0))],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    made = make_config(metrics_address=text)
    assert made.metrics_address == expected
    assert make_config(metrics_address=made.metrics_address) == made
    for wrong in ("host:", "host:x", "a b:1", ":70000"):
        with raises(ConfigError, kind="value", setting="metrics_address", value=wrong):
            make_config(metrics_address=wrong)


def documented() -> dict[str, set[str]]:
    """Metrics of the reference with their labels."""
    page = (DOCS / "reference" / "metrics.rst").read_text("utf-8")
    rows = re.findall(r"\* - ``pypiserver_(\w+)``\n +- (.*)\n", page)
    return {name: set(re.findall(r"``(\w+)``", labels)) for name, labels in rows}


def test_the_reference_names_every_metric_with_its_labels() -> None:
    made = Metrics(lambda: State(1, 1, 1, (0.0, 1.0)), "1.0", cache_bytes=lambda: 1)
    made.note_fetch("pypi", "ok", 1)
    made.note_wrong_file("pypi")
    more = {"page": "hit", "change": "yank", "has_credentials": True, "elsewhere": ("pypi", "hit")}
    made.observe([RequestEvent(0.0, 0.5, "POST", 401, 5, route="/", **more)])  # type: ignore[arg-type]
    there: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(made.exposition().decode()):
        for sample in family.samples:
            name = re.sub(r"_(bucket|sum|count)$", "", sample.name.removeprefix("pypiserver_"))
            if not name.endswith("_created"):
                there.setdefault(name, set()).update(sample.labels.keys() - {"le"})
    assert documented() == there


def answered(port: int) -> str:
    with DIRECT.open(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        return str(answer.read().decode())


def test_clients_that_say_nothing_do_not_hinder_others(capsys: pytest.CaptureFixture[str]) -> None:
    made = Metrics(lambda: State(3, 2, 1, None), "1.0")
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(metrics.listening("127.0.0.1", 0, made.collect))
        for _ in range(20):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert parsed(answered(port))["files",] == 3.0
    with pytest.raises(OSError, match="refused"):
        answered(port)
    assert capsys.readouterr().err == ""


def test_what_fails_is_500_and_in_the_log(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    def collect() -> list[object]:
        raise OSError("no such folder")

    with metrics.listening("127.0.0.1", 0, collect) as port, pytest.raises(urllib.error.HTTPError, match="500"):
        answered(port)
    assert "no such folder" in caplog.text
    assert capsys.readouterr().err == ""


def test_an_address_that_cannot_be_used_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=str(port)), metrics.listening("127.0.0.1", port, list):
            pass
    with pytest.raises(ConfigError, match=r"nowhere\.invalid"), metrics.listening("nowhere.invalid", 0, list):
        pass
