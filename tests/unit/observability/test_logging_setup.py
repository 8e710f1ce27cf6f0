"""Where the log goes, and that its lines about requests tell the truth and no secret."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from pypiserver.errors import ConfigError
from pypiserver.observability import logging_setup, request_lines
from pypiserver.settings.config import SETTINGS, make_config
from tests.raising import raises

from .test_request_lines import environ, hello


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
    wrapped = request_lines.wrap(
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


def test_the_log_file_gets_everything_next_to_a_configuration_file(
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
def test_a_rotated_log_file_is_opened_again(tmp_path: Path) -> None:
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
        form % request_lines.response_fields(environ(), "200 OK", [])
        form % request_lines.response_fields(environ(), "odd", [])
