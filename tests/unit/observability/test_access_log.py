"""The access log: a line for each request that tells the truth, cannot be forged, and goes where the log goes."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pypiserver
from pypiserver import request_info
from pypiserver.errors import PypiServerError
from pypiserver.observability import access_log, logging_setup
from pypiserver.observability.log_handlers import LineHandler
from pypiserver.settings.config import default_of, make_config
from tests.make_archives import make_wheel

from ..conftest import OLD
from ..web.test_routes import basic
from ..wsgi import Answer, Client
from .test_request_lines import environ

WHEEL, WHEEL_BYTES = make_wheel("foo", "1.0")
SECRET = "Correct-Horse"
Put = Callable[..., Path]


@pytest.fixture
def lines(root: Path, tmp_path: Path, put: Put) -> Iterator[Callable[..., list[str]]]:
    """The lines about what ``ask`` asks a server with these settings."""
    put(WHEEL, WHEEL_BYTES)

    def lines(ask: Callable[[Client], object], **settings: Any) -> list[str]:
        file = tmp_path / "log"
        file.unlink(missing_ok=True)
        known = {"roots": [root], "log_file": file, "log_stream": "none", "log_frmt": "%(name)s|%(message)s"}
        access = {"authenticate": "update,list", "auther": lambda user, password: password == SECRET}
        settings = {**known, "catalog": tmp_path / "catalog", **access, **settings}
        logging_setup.configure(make_config(**settings))
        application = pypiserver.app(**settings)
        ask(Client(application, REMOTE_ADDR="192.0.2.7"))
        application.close()  # type: ignore[attr-defined]
        return file.read_text("utf-8").splitlines() if file.exists() else []

    yield lines


def timeless(lines: Iterable[str]) -> list[str]:
    return [re.sub(r"[0-9]+\.[0-9]ms(?= |$)", "TIME", line).removeprefix("pypiserver.access|") for line in lines]


def test_a_line_has_address_user_request_status_bytes_and_time(lines: Callable[..., list[str]]) -> None:
    def ask(client: Client) -> None:
        client.get("/simple/", HTTP_AUTHORIZATION=basic("alice", SECRET))
        client.get("/simple/foo/?token=1234", HTTP_AUTHORIZATION=basic("alice", "wrong"))
        client.request("HEAD", f"/packages/{WHEEL}")
        client.get(f"/packages/{WHEEL}")
        client.get("/packages/no such file")

    found = timeless(lines(ask))
    assert [re.sub(r"200 [0-9]+", "200 N", line) for line in found[:1]] == ['192.0.2.7 alice "GET /simple/" 200 N TIME']
    assert [line for line in found[1:] if "401" not in line] == [
        f'192.0.2.7 - "HEAD /packages/{WHEEL}" 200 0 TIME',
        f'192.0.2.7 - "GET /packages/{WHEEL}" 200 {len(WHEEL_BYTES)} TIME',
        '192.0.2.7 - "GET /packages/no%20such%20file" 404 38 TIME "There is no file \'no such file\' here."',
    ]
    assert found[1].startswith('192.0.2.7 - "GET /simple/foo/" 401 ')
    assert SECRET not in str(found)


def test_the_address_is_the_clients_when_a_trusted_proxy_tells_it(lines: Callable[..., list[str]]) -> None:
    def ask(client: Client) -> None:
        client.get("/health", HTTP_X_FORWARDED_FOR="203.0.113.9", REMOTE_ADDR="10.0.0.1")
        client.get("/health", HTTP_X_FORWARDED_FOR="203.0.113.9", REMOTE_ADDR="10.9.9.9")

    found = lines(ask, trusted_proxy="10.0.0.1")
    assert [line.split()[0].partition("|")[2] for line in found] == ["203.0.113.9", "10.9.9.9"]


def test_json_has_the_same_by_name_and_so_have_other_lines(lines: Callable[..., list[str]]) -> None:
    def ask(client: Client) -> None:
        client.get("/simple/foo/", HTTP_AUTHORIZATION=basic("alice", SECRET))
        logging.getLogger("pypiserver.storage").warning("skipped %s", "a\nb")

    found = [json.loads(line) for line in lines(ask, log_format="json")]
    (access,) = [line for line in found if line["logger"] == "pypiserver.access"]
    (other,) = [line for line in found if line["logger"] == "pypiserver.storage"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ", access.pop("time"))
    assert (access.pop("milliseconds") >= 0, access.pop("bytes") > 100) == (True, True)
    assert access == {
        "level": "INFO", "logger": "pypiserver.access", "address": "192.0.2.7", "user": "alice", "method": "GET",
        "path": "/simple/foo/", "status": 200,
    }  # fmt: skip
    assert (other["level"], other["message"]) == ("WARNING", "skipped a\\nb")


def test_a_record_comes_after_the_lines_of_the_requests_before_it(lines: Callable[..., list[str]]) -> None:
    def ask(client: Client) -> None:
        for number in range(3):
            client.get(f"/health?{number}")
            logging.getLogger("pypiserver.storage").warning("after %d", number)

    found = [line.partition("|")[0].rpartition(".")[2] for line in lines(ask)]
    assert found == ["access", "storage"] * 3


def test_lines_of_a_batch_are_in_the_order_of_time() -> None:
    notes = [(when, 1, access_log._Answered("a", None, "GET", "/", 200, when)) for when in (3, 1, 2)]
    handler = LineHandler(io.StringIO())
    logging.getLogger().addHandler(handler)
    try:
        access_log.AccessLog().observe(notes)
    finally:
        logging.getLogger().removeHandler(handler)
    assert re.findall(r"200 (\d)", handler.stream.getvalue()) == ["1", "2", "3"]


@pytest.mark.parametrize("settings", [{"access_log": False}, {"log_file": None}])
def test_no_line_and_no_cost_when_no_one_reads_it(
    settings: dict[str, Any], lines: Callable[..., list[str]], tmp_path: Path, root: Path
) -> None:
    assert lines(lambda client: client.get("/health"), **settings) == []
    application = pypiserver.app(root=root, catalog=tmp_path / "catalog", **settings)
    assert not application.observers  # type: ignore[attr-defined]


def test_the_formats_of_v_still_work_with_it(lines: Callable[..., list[str]]) -> None:
    chosen = {"log_req_frmt": "%(bottle.request)s.", "log_res_frmt": "%(status)s."}
    found = lines(lambda client: client.get("/health"), verbosity=1, **chosen)
    assert [line for line in found if "requests" in line] == [
        "pypiserver.requests|<LocalRequest: GET http://127.0.0.1/health>.",
        "pypiserver.requests|200 OK.",
    ]
    assert timeless(line for line in found if "access" in line) == ['192.0.2.7 - "GET /health" 200 3 TIME']


def test_a_program_that_uses_the_application_gets_records(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "pypiserver"):
        application = pypiserver.app(root=root, catalog=tmp_path / "catalog")
        Client(application).get("/health")
        application.close()  # type: ignore[attr-defined]
    assert [timeless([each.getMessage()]) for each in caplog.records if each.name == logging_setup.ACCESS] == [
        ['127.0.0.1 - "GET /health" 200 3 TIME']
    ]


@pytest.mark.parametrize("frmt", ["%(message)s", "%(asctime)s %(message)s", "%(msecs)d %(message)s %(asctime)s"])
def test_any_format_of_records_is_followed(frmt: str, lines: Callable[..., list[str]]) -> None:
    (line,) = lines(lambda client: client.get("/health"), log_frmt=frmt)
    assert '192.0.2.7 - "GET /health" 200 3 ' in line
    assert ("asctime" in frmt) == bool(re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}", line))


@given(value=st.text(st.characters(exclude_categories=())), user=st.text())
def test_no_value_can_forge_a_line_or_a_field(value: str, user: str) -> None:
    asked = environ(
        REQUEST_METHOD=value, PATH_INFO=value, REMOTE_ADDR=value, **{request_info.USER: user, request_info.STATUS: 200}
    )
    note = access_log.note_of(asked, 1_000_000, 5)
    (line,) = access_log.text_lines([note], "%(message)s")
    assert line.isascii() and line.isprintable()
    assert len(line.split(" ")) == 7
    assert line.count('"') == 2
    json.loads(next(access_log.json_lines([note])))


def test_times_have_three_digits_of_milliseconds() -> None:
    _, took, answered = access_log.note_of(environ(), 1_000_000, 5)
    notes = [(when * 1_000_000 + 900_000, took, answered) for when in (7007, 8500, 8750, 8750, 9750)]
    times = [("07", "007"), ("08", "500"), ("08", "750"), ("08", "750"), ("09", "750")]
    texts = list(access_log.text_lines(notes, "%(asctime)s %(message)s"))
    assert [re.findall(r":(\d\d,\d{3}) ", text) for text in texts] == [[f"{time},{part}"] for time, part in times]
    lines = [json.loads(text)["time"] for text in access_log.json_lines(notes)]
    assert lines == [f"1970-01-01T00:00:{time}.{part}Z" for time, part in times]


@pytest.mark.parametrize(
    ("took", "said"),
    [
        (0, "0.0"),
        (40_000, "0.0"),
        (60_000, "0.1"),
        (99_900_000, "99.9"),
        (99_970_000, "100.0"),
        (75_123_460_000, "75123.5"),
    ],
)
def test_milliseconds_have_one_digit_after_the_point(took: int, said: str) -> None:
    note = access_log.note_of(environ(), took, 5)
    (line,) = access_log.text_lines([note], "%(message)s")
    assert line.endswith(f" {said}ms")
    (line,) = access_log.json_lines([note])
    assert line.endswith(f'"milliseconds": {said}}}')


def test_the_log_file_is_opened_again_when_it_was_moved(root: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"log_file": tmp_path / "log", "log_stream": "none", "catalog": tmp_path / "catalog"}
    logging_setup.configure(make_config(**settings))
    application: Any = pypiserver.app(root=root, **settings)
    Client(application).get("/health")
    application.observers.flush()
    (tmp_path / "log").rename(tmp_path / "log.1")
    Client(application).get("/simple/")
    application.close()
    assert "/health" in (tmp_path / "log.1").read_text()
    assert "/simple/" in (tmp_path / "log").read_text()


def test_a_bug_is_logged_with_its_traceback_and_not_past_the_log(
    serve: Callable[..., Client], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], put: Put
) -> None:
    put(WHEEL, WHEEL_BYTES, mtime=OLD)
    client = serve(welcome=None)
    application: Any = client._application
    application.repository.projects = lambda names: 1 / 0
    answer = client.get("/simple/")
    assert (answer.status, answer.text) == (500, f"{PypiServerError.general}\n")
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.getMessage() == "GET /simple/: 500"
    assert record.exc_info and record.exc_info[0] is ZeroDivisionError
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("verbosity", [0, 1])
def test_a_refusal_is_one_line_with_its_reason_however_much_is_logged(
    verbosity: int, lines: Callable[..., list[str]]
) -> None:
    found = lines(
        lambda client: client.get("/simple/nope/"), verbosity=verbosity, authenticate="update", fallback=False
    )
    (line,) = timeless(re.sub(r" 404 [0-9]+ ", " 404 N ", line) for line in found)
    assert re.fullmatch(r'192\.0\.2\.7 - "GET /simple/nope/" 404 N TIME "[^"]*\bnope\b[^"]*"', line)


def test_a_failure_whose_reason_the_client_is_told_is_one_line(lines: Callable[..., list[str]], root: Path) -> None:
    (root / "bad-1.0.zip").write_bytes(b"no archive")

    def ask(client: Client) -> Answer:
        return client.get("/simple/bad/")

    def of_the_request(**settings: Any) -> list[str]:
        # Once the file was written two seconds ago, its first reader logs that it is skipped.
        return [
            line for line in lines(ask, authenticate="update", fallback=False, **settings) if "|Skipped" not in line
        ]

    (found,) = of_the_request()
    assert '"GET /simple/bad/" 503 ' in found and "bad-1.0.zip" in found
    (found,) = of_the_request(access_log=False)
    assert found.startswith("pypiserver.web.http.responses|GET /simple/bad/: 503 ") and "bad-1.0.zip" in found


def test_an_upload_is_one_line_with_v(lines: Callable[..., list[str]]) -> None:
    wheel, data = make_wheel("bar", "2.0")
    (found,) = lines(lambda client: client.upload(wheel, data), authenticate="list", verbosity=1)
    assert f"upload {wheel}" in found


def test_without_the_access_log_v_has_the_lines_of_1_x(lines: Callable[..., list[str]]) -> None:
    found = lines(lambda client: client.get("/health"), verbosity=1, access_log=False)
    assert found == ["pypiserver.requests|<LocalRequest: GET http://127.0.0.1/health>", "pypiserver.requests|200 OK"]


def test_a_redirect_says_where_it_leads_and_a_client_which_it_is(lines: Callable[..., list[str]]) -> None:
    def ask(client: Client) -> None:
        for agent in ('pip/26.3 {"ci":null}', "uv/0.13.1", "Mozilla/5.0 (X11)", "odd", 'x"\n/1'):
            client.get("/simple/nope/", HTTP_USER_AGENT=agent)

    found = timeless(lines(ask, authenticate="update", fallback_url="https://pypi.example/simple/"))
    assert [line.partition("TIME")[2] for line in found] == [
        ' pip/26.3 "-> pypi.example"', ' uv/0.13.1 "-> pypi.example"', *3 * [' "-> pypi.example"'],
    ]  # fmt: skip


def test_an_upload_has_its_file_and_user_and_a_refused_one_its_reason(lines: Callable[..., list[str]]) -> None:
    def ask(client: Client) -> None:
        wheel, data = make_wheel("bar", "2.0")
        client.upload(wheel, data, HTTP_AUTHORIZATION=basic("alice", SECRET))
        client.upload("odd.txt", data, HTTP_AUTHORIZATION=basic("alice", SECRET))

    stored, refused = timeless(lines(ask))
    assert ' alice "POST /" 200 ' in stored and stored.endswith(' TIME "upload bar-2.0-py3-none-any.whl"')
    assert ' alice "POST /" 400 ' in refused and "odd.txt" in refused.partition("TIME")[2]


def test_a_refusal_is_one_line_whatever_was_sent(lines: Callable[..., list[str]]) -> None:
    def ask(client: Client) -> None:
        client.upload("x\x1b[31m-1.0.zip", b"", fields={"name": "a\nforged line"})
        client.upload(WHEEL, WHEEL_BYTES, fields={"name": "a\n\x1b[31mforged", "version": "1\r\nx"})

    found = lines(ask, authenticate=".", password_file=".", auther=None)
    assert len(found) == 2 and all(line.isprintable() and line.isascii() for line in found)


def test_a_note_cannot_forge_a_field_or_a_line() -> None:
    answered = access_log._Answered("a", None, "GET", "/", 404, 1, note=access_log.clean_note('x" 200\n\x1b[2J'))
    assert answered.end == ' "x\\" 200\\\\n\\\\x1b[2J"'


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal_of(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """What is standard error from now on; a fixture would be too early."""
    shown = Terminal()
    monkeypatch.setattr("sys.stderr", shown)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return shown


def test_on_a_terminal_lines_are_short_and_in_colors(
    lines: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = terminal_of(monkeypatch)

    def ask(client: Client) -> None:
        client.get("/simple/nope/", HTTP_USER_AGENT="pip/26.3 {}")
        client.get("/packages/nope")
        logging.getLogger("pypiserver.storage").warning("skipped %s", "a\nb")
        logging.getLogger("pypiserver.server").info("is serving", extra={"is_shown": True})

    usual = {"log_stream": "stderr", "log_frmt": default_of("log_frmt"), "authenticate": "update"}
    assert len(lines(ask, **usual, fallback_url="https://pypi.example/simple/")) == 4
    shown = re.sub(r"\033\[[0-9]+m", "", re.sub(r"[0-9]+\.[0-9] ms", "TIME", terminal.getvalue()))
    rows = [line.partition("  ")[2] for line in shown.splitlines()]
    assert sorted(rows) == [
        "GET /packages/nope  404  TIME  192.0.2.7  There is no file 'nope' here.",
        "GET /simple/nope/  302  TIME  192.0.2.7  pip 26.3  -> pypi.example",
        "warning: skipped a\\nb",
    ]
    assert "\033[33m404\033[0m" in terminal.getvalue()


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_without_colors_gets_the_short_lines_too(
    name: str, value: str, lines: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = terminal_of(monkeypatch)
    monkeypatch.setenv(name, value)

    def ask(client: Client) -> None:
        client.get("/packages/nope")
        logging.getLogger("pypiserver.storage").warning("skipped %s", "\033[31m")

    lines(ask, log_stream="stderr", log_frmt=default_of("log_frmt"), authenticate="update")
    shown = re.sub(r"[0-9]+\.[0-9] ms", "TIME", terminal.getvalue())
    assert sorted(line.partition("  ")[2] for line in shown.splitlines()) == [
        "GET /packages/nope  404  TIME  192.0.2.7  There is no file 'nope' here.",
        "warning: skipped \\x1b[31m",
    ]


@pytest.mark.parametrize("settings", [{"log_frmt": "%(message)s"}, {"log_format": "json"}])
def test_who_chose_a_form_gets_it_on_a_terminal_too(
    settings: dict[str, Any], lines: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = terminal_of(monkeypatch)
    found = lines(
        lambda client: client.get("/health"), **{"log_frmt": default_of("log_frmt"), **settings}, log_stream="stderr"
    )
    shown = terminal.getvalue().splitlines()
    assert timeless(shown) == timeless(found) and "\033" not in terminal.getvalue()


def test_json_lines_have_client_and_note_where_there_are_any(lines: Callable[..., list[str]]) -> None:
    found = lines(
        lambda client: client.get("/packages/nope", HTTP_USER_AGENT="uv/0.13"), log_format="json", authenticate="update"
    )
    line = json.loads(found[0])
    assert (line["client"], line["note"]) == ("uv/0.13", "There is no file 'nope' here.")
