"""A bucket that cannot be used is said at start: what will not heal ends it, what may heal makes it "not ready"."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live_server import REPOSITORY, running
from tests.live_server import pypi_server as command

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(sys.platform == "win32", reason="nothing can be asked there before the server starts"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]
pytest.importorskip("obstore")
MISSING = (404, "NoSuchBucket")
REFUSED = (403, "InvalidAccessKeyId")


@pytest.fixture
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What speaks HTTP as S3 does, and always answers with this status and code."""
    status, code = request.param
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>m</Message></Error>".encode()

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        told(monkeypatch, server.server_address[1])
        yield
        server.shutdown()


def told(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    for name, value in {"ENDPOINT_URL": f"http://127.0.0.1:{port}", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b",
                        "REGION": "us-east-1"}.items():  # fmt: skip
        monkeypatch.setenv(f"AWS_{name}", value)


@pytest.mark.parametrize(
    ("store", "words"),
    [(MISSING, "There is no bucket s3://packages"), (REFUSED, "See to the credentials")],
    indirect=["store"],
    ids=["missing", "refused"],
)
def test_what_will_not_heal_ends_the_start(store: None, words: str, tmp_path: Path) -> None:
    done = alone(*command("--storage", "s3://packages", "--catalog", tmp_path / "catalog", "-p", "0"))
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_what_may_heal_is_said_in_the_banner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        told(monkeypatch, silent.getsockname()[1])
        flags = ("--storage", "s3://packages", "--catalog", tmp_path / "catalog", "--server", "waitress")
        with running(command(*flags), environ=os.environ, cwd=tmp_path, path="/health/live") as live:
            assert "\n  bucket:    s3://packages (does not answer, so how many files" in live.output
            assert "\n  not ready: The object store s3://packages fails to list check/" in live.output


PROBE = """
import sys
from pypiserver.bucket.probe import probe
from pypiserver.bucket.storage import Bucket
from pypiserver.bucket.object_store import ObjectStoreClient
print(*[probe(Bucket(ObjectStoreClient(url))) for url in sys.argv[1:]], sep="\\n")
"""


def test_a_bucket_that_answers_has_no_fault(tmp_path: Path) -> None:
    done = alone(sys.executable, "-c", PROBE, f"file://{tmp_path}", "file:///proc/none/of/this")
    good, bad = done.stdout.splitlines()
    assert good == "None" and bad.startswith("Fault(message=") and "/proc/none/of/this" in bad, done


def alone(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the store's library has threads in this one by now, which a fork would lose."""
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run([*map(str, argv)], env=environ, capture_output=True, text=True, timeout=120)
