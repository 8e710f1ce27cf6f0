"""A signed address of a bucket is the right to fetch a file: no log has one, whatever its format asks for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pypiserver import request_info
from pypiserver.bucket.object_store import ObjectStoreClient
from pypiserver.model import File
from pypiserver.observability.access_log import AccessLog, note_of
from pypiserver.observability.clean_lines import redacted
from pypiserver.observability.logging_setup import configure
from pypiserver.observability.request_lines import wrap
from pypiserver.settings.config import make_config
from pypiserver.web.api.offload import redirecting, through_nginx

pytest.importorskip("obstore")
FORMATS = ("%s", "%(headers)s %(location)s %(x_store_url)s %(status)s", "%(body)s: %(exception)s %(traceback)s")


@pytest.fixture
def sign(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int, int], str]:
    """Real signatures, by the library and by us; nothing is asked of the network for them."""
    for name, value in (("ACCESS_KEY_ID", "AKIAMARKER"), ("SECRET_ACCESS_KEY", "x" * 40), ("REGION", "eu-central-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "TOKENMARKER")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    return ObjectStoreClient("s3://bucket").sign


@pytest.fixture
def file() -> File:
    made: Any = File.__new__(File)
    for name in File.__slots__:
        object.__setattr__(made, name, "")
    object.__setattr__(made, "path", "foo/foo-1.0.tar.gz")
    return made  # type: ignore[no-any-return]


@pytest.fixture
def written(tmp_path: Path) -> Iterable[Callable[[], str]]:
    """Everything that the log's own handlers write at the highest verbosity."""
    path = tmp_path / "log"
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    configure(make_config(roots=[tmp_path], log_file=path, log_stream="none", verbosity=4))
    yield lambda: path.read_text()
    for handler in root.handlers[:]:
        if handler not in before:
            root.removeHandler(handler)
            handler.close()
    root.setLevel(level)


def marks(address: str) -> list[str]:
    """What gives the right: the signature, the key's name and the token."""
    query = dict(each.partition("=")[::2] for each in address.partition("?")[2].split("&"))
    found = [query["X-Amz-Signature"], "AKIAMARKER", "TOKENMARKER"]
    assert all(len(each) > 8 for each in found)
    return found


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("way", ["redirect", "accel"])
def test_no_line_about_a_download_has_it(
    form: str, way: str, sign: Any, file: File, written: Callable[[], str]
) -> None:
    deliver = redirecting(sign, 3600) if way == "redirect" else through_nginx(
        sign, 3600, location="/protected", cache_control="private"
    )  # fmt: skip
    seen: list[str] = []

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        answer = deliver(environ, file.path)
        assert answer is not None
        seen.extend(value for _, value in answer.headerlist if "X-Amz-Signature" in value)
        start_response(answer.status_line, answer.headerlist)
        environ[request_info.STATUS] = 503
        start_response("503 Failed", answer.headerlist)
        error = OSError(f"GET {seen[0]} failed: <Url>{seen[0]}</Url> {quote(seen[0])}")
        environ[request_info.EXCEPTION] = error
        logging.getLogger("anybody").error("It failed: %s", error, exc_info=error)
        return [str(error).encode()]

    logged = wrap(application, request_format="%s", response_format=form, error_format=form)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/packages/foo-1.0.tar.gz", "wsgi.url_scheme": "http"}
    logged(environ, lambda *_: None)
    AccessLog().observe([note_of(environ, 1, 0)])
    # A client may come back with what it was given.
    logged({**environ, "QUERY_STRING": seen[0].partition("?")[2], "HTTP_REFERER": seen[0]}, lambda *_: None)
    text = written()
    assert "foo-1.0.tar.gz" in text
    for mark in marks(seen[0]):
        assert mark not in text


@pytest.mark.parametrize(
    "query",
    [
        "X-Goog-Credential=MARKER&X-Goog-Signature=MARKER",
        "GoogleAccessId=MARKER&Expires=1&Signature=MARKER",
        "AWSAccessKeyId=MARKER&Signature=MARKER%2B%3D",
        "sv=2021&sp=r&sig=MARKER%3D",
        "st=1&SIG=MARKER",
        "x-amz-signature=MARKER&x-amz-security-token=MARKER",
    ],
)
def test_signatures_of_every_kind_of_store_are_known(query: str) -> None:
    for text in (f"https://store.example/a?{query}", f"https://store.example/a%3F{quote(query)}&x=1", f"'?{query}' x"):
        assert "MARKER" not in redacted(text)
    assert redacted(f"GET /a?{query} 200").endswith(" 200")


def test_what_is_no_signature_stays() -> None:
    for text in ("design=1", "GET /sig/a?x=1", "the signature of foo", "?q=significant"):
        assert redacted(text) == text
