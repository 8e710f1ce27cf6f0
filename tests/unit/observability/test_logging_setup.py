"""Where the log goes, and that its lines about requests tell the truth and no secret."""

from __future__ import annotations

import base64
import logging
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypiserver.errors import ConfigError
from pypiserver.observability import logging_setup
from pypiserver.settings.config import SETTINGS, make_config
from tests.raising import raises

FORMATS = {
    "request_format": "%(bottle.request)s",
    "response_format": "%(status)s",
    "error_format": "%(body)s: %(exception)s \n%(traceback)s",
}
SECRET = base64.b64encode(b"alice:Correct-Horse").decode()


def environ(**more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"HTTP_HOST": "index.example", "PATH_INFO": "/simple/"}
    setup_testing_defaults(made)
    return {**made, **more}


def hello(_: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Set-Cookie", "session=1")])
    return [b"hello"]


def lines_of(
    caplog: pytest.LogCaptureFixture, application: Any = hello, request: dict[str, Any] | None = None, **formats: str
) -> list[str]:
    chosen = formats or {"request_format": "%(bottle.request)s"}
    with caplog.at_level(logging.INFO, "pypiserver"):
        wrapped = logging_setup.wrap(application, **{**dict.fromkeys(FORMATS, ""), **chosen})
        list(wrapped(request or environ(), lambda *_: None))
    return [record.getMessage() for record in caplog.records if record.name == logging_setup.REQUESTS]


def test_the_application_itself_comes_back_when_no_line_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "pypiserver"):
        assert logging_setup.wrap(hello, **FORMATS) is hello
    with caplog.at_level(logging.INFO, "pypiserver"):
        assert logging_setup.wrap(hello, **dict.fromkeys(FORMATS, "")) is hello
        assert logging_setup.wrap(hello, **FORMATS) is not hello


def test_the_answer_passes_through_untouched(caplog: pytest.LogCaptureFixture) -> None:
    body, started = [b"file"], []

    def application(_: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        assert start_response("206 Partial Content", [("A", "b")]) == "write"
        return body

    with caplog.at_level(logging.INFO, "pypiserver"):
        wrapped = logging_setup.wrap(application, **FORMATS)
        assert wrapped(environ(), lambda *given: started.append(given) or "write") is body
    assert started == [("206 Partial Content", [("A", "b")])]


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        (FORMATS, ["<LocalRequest: GET http://index.example/simple/>", "200 OK"]),
        ({"request_format": "%(REQUEST_METHOD)s %(PATH_INFO)s"}, ["GET /simple/"]),
        ({"response_format": "%(PATH_INFO)s %(status_code)d %(content_type)s"}, ["/simple/ 200 text/plain"]),
        ({"response_format": "%(status_line)s %(set_cookie)s"}, ["200 OK ***"]),
        ({"request_format": "[%(NO_SUCH)s] 100%%"}, ["[] 100%"]),
        ({"request_format": "plain"}, ["plain"]),
    ],
)
def test_formats_select_properties(
    formats: dict[str, str], expected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert lines_of(caplog, **formats) == expected


def test_percent_s_shows_the_request_but_not_the_process_around_it(caplog: pytest.LogCaptureFixture) -> None:
    request = environ(HTTP_USER_AGENT="pip/26", HOME="/root", DEPLOY_KEY="hidden")
    (line,) = lines_of(caplog, request=request, request_format="%s")
    assert "'HTTP_USER_AGENT': 'pip/26'" in line
    assert "'PATH_INFO': '/simple/'" in line
    assert "HOME" not in line
    assert "hidden" not in line


@pytest.mark.parametrize("form", ["%s", "%(HTTP_AUTHORIZATION)s", "%(bottle.request)s", "%(HTTP_X_NOTE)s", "%r"])
@pytest.mark.parametrize("kind", FORMATS)
def test_no_password_or_token_is_written(form: str, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(request: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request[logging_setup.EXCEPTION] = ValueError(f"cannot read Basic {SECRET}")
        start_response("401 Unauthorized", [("Set-Cookie", "sesame")])
        return [f"https://alice:sesame@index.example/ refused Basic {SECRET}".encode()]

    request = environ(
        HTTP_AUTHORIZATION=f"Basic {SECRET}", HTTP_COOKIE="sesame", HTTP_X_API_KEY="sesame",
        HTTP_X_NOTE=f"Bearer {SECRET} https://alice:sesame@index.example/",
        QUERY_STRING="access_token=sesame&password=sesame",
    )  # fmt: skip
    text = "\n".join(lines_of(caplog, refuse, request, **{kind: form + " %(body)s" * (form != "%s" and form != "%r")}))
    assert "sesame" not in text
    assert SECRET not in text


def test_an_error_line_has_body_exception_and_traceback(caplog: pytest.LogCaptureFixture) -> None:
    def fail(request: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        request[logging_setup.EXCEPTION] = OSError("disk\ngone")
        start_response("503 Service Unavailable", [])
        return [b"try ", b"again\n"]

    assert lines_of(caplog, fail, error_format=FORMATS["error_format"]) == [
        "try again: OSError('disk\\ngone') \nOSError: disk\\ngone"
    ]


def test_an_error_without_exception_ends_after_its_body(caplog: pytest.LogCaptureFixture) -> None:
    def missing(_: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("404 Not Found", [])
        return [b"no such project"]

    assert lines_of(caplog, missing, error_format=FORMATS["error_format"]) == ["no such project:"]


def test_an_exception_that_nobody_caught_is_logged_and_passed_on(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object) -> Iterable[bytes]:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        lines_of(caplog, broken, error_format="%(exception)s")
    assert [record.getMessage() for record in caplog.records] == ["KeyError('lost')"]


@given(
    value=st.text(st.characters(exclude_categories=())),
    form=st.sampled_from(["%s", "%(bottle.request)s|%(HTTP_X)s|%(PATH_INFO)s|%(status)s|%(headers)s|%(body)s"]),
)
def test_no_value_can_forge_a_line(value: str, form: str) -> None:
    request = environ(HTTP_X=value, PATH_INFO=value, QUERY_STRING=value, HTTP_HOST=value, REQUEST_METHOD=value)
    request[logging_setup.EXCEPTION] = ValueError(value)
    assert (form % logging_setup.request_fields(request)).isprintable()
    body = value.encode("utf-8", "surrogatepass")
    assert (form % logging_setup.error_fields(request, (value, [(value, value)]), [body])).isprintable()


def test_records_of_other_modules_are_one_clean_line(tmp_path: Path) -> None:
    logging_setup.configure(
        make_config(log_file=tmp_path / "log", log_stream="none", log_frmt="%(levelname)s|%(message)s")
    )
    logger = logging.getLogger("pypiserver.storage")
    logger.warning("skipped %s", "bad\nERROR|forged\x1b[2J")
    logger.warning("asked https://alice:sesame@index.example/")
    try:
        raise ValueError("first\nERROR|forged")
    except ValueError:
        logger.exception("failed")
    lines = (tmp_path / "log").read_text("utf-8").splitlines()
    assert lines[:3] == [
        "WARNING|skipped bad\\nERROR|forged\\x1b[2J",
        "WARNING|asked https://***@index.example/",
        "ERROR|failed",
    ]
    assert [line for line in lines[3:] if not line.startswith("    ")] == []
    assert lines[-1] == "    ERROR|forged"


def test_lines_about_requests_keep_the_line_ends_of_the_format(tmp_path: Path) -> None:
    logging_setup.configure(
        make_config(log_file=tmp_path / "log", log_stream="none", log_frmt="%(message)s", verbosity=1)
    )
    wrapped = logging_setup.wrap(
        hello, request_format="%(PATH_INFO)s\n  %(HTTP_X)s", response_format="", error_format=""
    )
    list(wrapped(environ(HTTP_X="a\nb"), lambda *_: None))
    assert (tmp_path / "log").read_text("utf-8") == "/simple/\n  a\\nb\n"


@pytest.mark.parametrize(
    ("verbosity", "seen"),
    [
        (0, ["pypiserver WARNING", "watchdog WARNING"]),
        (1, ["pypiserver INFO", "pypiserver WARNING", "watchdog WARNING"]),
        (2, ["pypiserver DEBUG", "pypiserver INFO", "pypiserver WARNING", "watchdog WARNING"]),
        (3, [f"{name} {level}" for name in ("pypiserver", "watchdog") for level in ("DEBUG", "INFO", "WARNING")]),
    ],
)
def test_verbosity_chooses_what_is_seen(verbosity: int, seen: list[str], tmp_path: Path) -> None:
    form = "%(name)s %(levelname)s"
    logging_setup.configure(
        make_config(log_file=tmp_path / "log", log_stream="none", log_frmt=form, verbosity=verbosity)
    )
    for name in ("pypiserver", "watchdog"):
        for level in (logging.DEBUG, logging.INFO, logging.WARNING):
            logging.getLogger(name).log(level, "")
    assert (tmp_path / "log").read_text("utf-8").splitlines() == seen


@pytest.mark.parametrize("stream", ["stdout", "stderr", "none"])
def test_the_stream_is_the_one_asked_for(stream: str, capsys: pytest.CaptureFixture[str]) -> None:
    logging_setup.configure(make_config(log_stream=stream, log_frmt="%(message)s"))
    logging.getLogger("pypiserver").warning("hello")
    out, err = capsys.readouterr()
    assert {"stdout": out, "stderr": err} == {
        name: "hello\n" if name == stream else "" for name in ("stdout", "stderr")
    }


def test_the_default_line_has_time_name_level_and_thread(capsys: pytest.CaptureFixture[str]) -> None:
    logging_setup.configure(make_config())
    logging.getLogger("pypiserver").warning("hello")
    parts = capsys.readouterr().err.split("|")
    assert (parts[1:3], parts[3].isdigit(), parts[4]) == (["pypiserver", "WARNING"], True, "hello\n")


def test_configure_again_replaces_and_leaves_others_alone(tmp_path: Path) -> None:
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    before = list(logging.getLogger().handlers)
    for _ in range(3):
        logging_setup.configure(make_config(log_file=tmp_path / "log"))
    added = [handler for handler in logging.getLogger().handlers if handler not in before]
    assert other in logging.getLogger().handlers
    assert sorted(handler.name or "" for handler in added) == ["pypiserver-log-file", "pypiserver-log-stream"]


CONF = """\
[loggers]
keys = root
[handlers]
keys = file
[formatters]
keys = plain
[logger_root]
level = INFO
handlers = file
[handler_file]
class = FileHandler
args = ('from-conf',)
formatter = plain
[formatter_plain]
format = conf:%(message)s
"""


@pytest.mark.parametrize("named", [True, False], ids=["named", "found in the working directory"])
def test_a_configuration_file_decides(named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / ("other.conf" if named else "log.conf")
    path.write_text(CONF, "utf-8")
    logging_setup.configure(make_config(log_conf=path) if named else make_config())
    logging.getLogger("pypiserver.anything").info("one\ntwo")
    assert (tmp_path / "from-conf").read_text("utf-8") == "conf:one\\ntwo\n"


def test_the_log_file_gets_everything_beside_a_configuration_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.conf").write_text(CONF, "utf-8")
    logging_setup.configure(make_config(log_file="mine", log_frmt="%(message)s"))
    logging.getLogger("pypiserver").info("hello")
    assert (tmp_path / "mine").read_text("utf-8") == "hello\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, r"The logging configuration '.*bad.conf' cannot be used \(No such file"),
        ("not a configuration", r"The logging configuration '.*bad.conf' cannot be used \(MissingSection"),
        (CONF.replace("FileHandler", "NoSuchHandler"), r"cannot be used \(.*; correct it, or name another"),
        (CONF.replace("FileHandler", "NullHandler").replace("= plain\n[", "= no\n["), r"formatter_no.\); correct"),
        (CONF.replace("('from-conf',)", "(("), r"cannot be used \(SyntaxError"),
    ],
    ids=["missing", "no sections", "unknown class", "unknown formatter", "bad arguments"],
)
def test_an_unusable_configuration_file_is_one_sentence(
    text: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.conf"
    if text is not None:
        path.write_text(text, "utf-8")
    with raises(ConfigError, kind="unusable", setting="log_conf", value=path):
        logging_setup.configure(make_config(log_conf=path))


def test_a_log_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with raises(ConfigError, kind="unwritable", setting="log_file", value=tmp_path / "missing" / "log"):
        logging_setup.configure(make_config(log_file=tmp_path / "missing" / "log"))


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be renamed there")
def test_a_rotated_log_file_is_opened_anew(tmp_path: Path) -> None:
    logging_setup.configure(make_config(log_file=tmp_path / "log", log_stream="none", log_frmt="%(message)s"))
    logging.getLogger("pypiserver").warning("one")
    (tmp_path / "log").rename(tmp_path / "log.1")
    logging.getLogger("pypiserver").warning("two")
    assert (tmp_path / "log").read_text("utf-8") == "two\n"


@pytest.mark.parametrize("name", ["log_req_frmt", "log_res_frmt", "log_err_frmt"])
@pytest.mark.parametrize("form", ["%", "%(status", "%(PATH_INFO)d", "%s %s", "%(x)y", "%(PATH_INFO)c"])
def test_a_broken_format_is_refused_at_start(name: str, form: str) -> None:
    with raises(ConfigError, kind="value", setting=name, value=form):
        make_config(**{name: form})


@pytest.mark.parametrize("form", ["%(no_such)s", "%(message", "plain", "%(message)d"])
def test_a_broken_record_format_is_refused_at_start(form: str) -> None:
    with raises(ConfigError, kind="value", setting="log_frmt", value=form):
        make_config(log_frmt=form)


def test_every_format_that_is_accepted_can_be_used() -> None:
    for form in ("%s", "%(status_code)d", "%(status_code)s", "%(a)10.3s", "", "100%%"):
        SETTINGS["log_res_frmt"].parse(form)
        form % logging_setup.response_fields(environ(), "200 OK", [])
        form % logging_setup.response_fields(environ(), "odd", [])


@pytest.mark.parametrize(
    "text", ["http://ada:pass\rword@pypi.example/", "token=pass\x1b[0mword", "//pass\u2028word@x"], ids=repr
)
def test_a_secret_with_what_cannot_be_printed_in_it_is_one(text: str) -> None:
    assert "ord" not in logging_setup.clean(text)
