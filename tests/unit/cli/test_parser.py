"""The command line: what is typed, and the command it becomes."""

from __future__ import annotations

import io
import os
import re
import shlex
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from pypiserver.cli import parser
from pypiserver.cli.commands import CLASSIC, COMMANDS
from pypiserver.cli.commands.check import Check
from pypiserver.cli.commands.completion import Completion
from pypiserver.cli.commands.delete import Delete
from pypiserver.cli.commands.passwd import Passwd
from pypiserver.cli.commands.restore import Restore
from pypiserver.cli.commands.run import Run
from pypiserver.cli.commands.unyank import Unyank
from pypiserver.cli.commands.update import Update
from pypiserver.cli.commands.yank import Yank
from pypiserver.cli.help import EXAMPLES, TOPICS
from pypiserver.cli.parser import Version
from pypiserver.cli.roots import prepare_roots, root_faults
from pypiserver.cli.subcommand import DOCUMENTATION, NAMES, Command
from pypiserver.errors import ConfigError, Mistake
from pypiserver.settings.config import Config, make_config

REPOSITORY = Path(__file__).resolve().parents[3]
OPEN = {"authenticate": ".", "password_file": "."}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


def parse(line: str, **environ: str) -> Command:
    return parser.parse(shlex.split(line), environ)


def mistakes_of(line: str, **environ: str) -> tuple[Mistake, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(line, **environ)
    return caught.value.mistakes


@pytest.mark.parametrize(
    ("line", "settings"),
    [
        ("", {}),
        ("-p 8080 ~/packages", {"port": 8080, "roots": "~/packages"}),
        ("-p9", {"port": 9}),
        ("-p=9", {"port": 9}),
        ("-vp=9", {"verbosity": 1, "port": 9}),
        ("--port=9", {"port": 9}),
        ("--port 9", {"port": 9}),
        ("-p 9 -p 10", {"port": 10}),
        ("a -p 9 b", {"port": 9, "roots": ["a", "b"]}),
        ("-p 9 a -o -- -b --c", {"port": 9, "overwrite": True, "roots": ["a", "-b", "--c"]}),
        ("a -- b --", {"roots": ["a", "b", "--"]}),
        ("-r a b --root=c", {"roots": ["a", "c", "b"]}),
        ("-i ::1", {"host": "::1"}),
        ("--interface 127.0.0.1", {"host": "127.0.0.1"}),
        ("-H localhost", {"host": "localhost"}),
        ("--host localhost", {"host": "localhost"}),
        ("-vvv", {"verbosity": 3}),
        ("-v -ov a", {"verbosity": 2, "overwrite": True, "roots": "a"}),
        ("-vop9 a", {"verbosity": 1, "overwrite": True, "port": 9, "roots": "a"}),
        ("-P . -a .", OPEN),
        ("-a . -P .", OPEN),
        ("-P f -a update,Download", {"password_file": "f", "authenticate": {"update", "download"}}),
        ("-P f -a update -a list", {"password_file": "f", "authenticate": {"update", "list"}}),
        ("--disable-fallback", {"fallback": False}),
        ("--fallback-url https://pypi.example/simple/", {"fallback_url": "https://pypi.example/simple/"}),
        ("--server waitress", {"server": "waitress"}),
        ("--hash-algo off", {"hash_algo": "off"}),
        ("--welcome w.html", {"welcome": "w.html"}),
        ("--log-conf c --log-file f --log-stream none", {"log_conf": "c", "log_file": "f", "log_stream": "none"}),
        ("--log-frmt '%(message)s'", {"log_frmt": "%(message)s"}),
        ("--log-req-frmt %s --log-res-frmt=%s --log-err-frmt ''",
            {"log_req_frmt": "%s", "log_res_frmt": "%s", "log_err_frmt": ""}),
        ("--cache-control 60", {"cache_control": 60}),
        ("--health-endpoint /up --server-base-url=https://h/p/ --backend simple-dir",
            {"health_endpoint": "/up", "server_base_url": "https://h/p/", "backend": "simple-dir"}),
        ("--trusted-proxy 10.0.0.1 --trusted-proxy 10.0.0.2,10.0.0.3",
            {"trusted_proxy": ["10.0.0.1", "10.0.0.2", "10.0.0.3"]}),
        ("--private 'a-*' --private b --private-file f", {"private": ["a-*", "b"], "private_file": "f"}),
        ("--workers 4 --threads 8 --certificate c --key k --max-upload-size 1G --catalog d",
            {"workers": 4, "threads": 8, "certificate": "c", "key": "k", "max_upload_size": 1 << 30, "catalog": "d"}),
        ("run -p 9 a", {"port": 9, "roots": "a"}),
        ("run", {}),
        ("run run", {"roots": "run"}),
        ("./run", {"roots": "./run"}),
        ("-- yank", {"roots": "yank"}),
        ("-v -- update", {"verbosity": 1, "roots": "update"}),
        # Options before the command, as 2.x takes those that are for every command.
        ("-v run a", {"verbosity": 1, "roots": "a"}),
        ("-v run run", {"verbosity": 1, "roots": "run"}),
        ("--log-file f --backend simple-dir -v run -p 9 a",
            {"log_file": "f", "backend": "simple-dir", "verbosity": 1, "port": 9, "roots": "a"}),
        ("--hash-algo=off -p 9 run a", {"hash_algo": "off", "port": 9, "roots": "a"}),
        ("-v a run", {"verbosity": 1, "roots": ["a", "run"]}),
        ("-P run -a list a", {"password_file": "run", "authenticate": {"list"}, "roots": "a"}),
    ],
)  # fmt: skip
def test_serving(line: str, settings: dict[str, Any]) -> None:
    assert parse(line) == Run(make_config(**settings))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-U", Update(make_config())),
        ("-U a", Update(make_config(roots="a"))),
        ("-Ux a", Update(make_config(roots="a"), execute=True)),
        ("-xuU", Update(make_config(), execute=True, allow_unstable=True)),
        ("a -U -v -d out b", Update(make_config(roots=["a", "b"], verbosity=1), download_directory=Path("out"))),
        ("update", Update(make_config())),
        ("-v update -x a", Update(make_config(roots="a", verbosity=1), execute=True)),
        ("-v --backend cached-dir --log-frmt %(message)s update",
            Update(make_config(verbosity=1, backend="cached-dir", log_frmt="%(message)s"))),
        ("update --backend simple-dir --log-stream none --hash-algo md5 a",
            Update(make_config(roots="a", backend="simple-dir", log_stream="none", hash_algo="md5"))),
        ("-U update", Update(make_config(roots="update"))),
        ("update --blacklist-file i", Update(make_config(), ignorelist_file=Path("i"))),
        ("-U --blacklist-file=i a", Update(make_config(roots="a"), ignorelist_file=Path("i"))),
        ("-v yank d n 1", Yank(make_config(roots="d", verbosity=1), Path("d"), "n", "1")),
        ("update -x -u -d out --ignorelist-file i --index-url http://h/simple/ --json --allow-sdist a",
            Update(make_config(roots="a"), True, Path("out"), True, Path("i"), "http://h/simple/", True, True)),
        ("-U --ignorelist-file=i --index-url=http://h/ --json --allow-sdist",
            Update(make_config(), ignorelist_file=Path("i"), index_url="http://h/", json=True, allow_sdist=True)),
        ("passwd f me", Passwd(Path("f"), "me")),
        ("completion fish", Completion("fish")),
        ("completion BASH", Completion("bash")),
        ("yank d n 1.0", Yank(make_config(roots="d"), Path("d"), "n", "1.0")),
        ("yank d n 1.0 --reason 'it leaks' --file f",
            Yank(make_config(roots="d"), Path("d"), "n", "1.0", "f", "it leaks")),
        ("yank --file f d n", Yank(make_config(roots="d"), Path("d"), "n", None, "f")),
        ("unyank d -v n 1", Unyank(make_config(roots="d", verbosity=1), Path("d"), "n", "1")),
        ("delete d n 1", Delete(make_config(roots="d"), Path("d"), "n", "1")),
        ("delete d n 1 --yes --purge", Delete(make_config(roots="d"), Path("d"), "n", "1", None, True, True)),
        ("restore ./d", Restore(make_config(roots="./d"), Path("./d"))),
        ("restore d", Restore(make_config(), None, "d")),
        ("restore d n 1 --file f", Restore(make_config(roots="d"), Path("d"), "n", "1", "f")),
        ("check", Check(make_config())),
        ("check a b --json --catalog c", Check(make_config(roots=["a", "b"], catalog="c"), json=True)),
        ("--version", Version()),
        ("a -p 9 --version", Version()),
        ("yank --version", Version()),
    ],
)  # fmt: skip
def test_other_commands(line: str, expected: Command) -> None:
    assert parse(line) == expected


@pytest.mark.parametrize(
    ("line", "kind", "setting", "suggestion"),
    [
        ("--prot 9", "unknown", "--prot", "--port"),
        ("--por 9", "unknown", "--por", "--port"),
        ("--disable", "unknown", "--disable", "--disable-fallback"),
        ("--zzz", "unknown", "--zzz", ""),
        ("-O", "unknown", "-O", "-o"),
        ("-Uz", "unknown", "-z", ""),
        ("-1", "unknown", "-1", ""),
        ("'--zzz=a b'", "unknown", "--zzz", ""),
        ("-p 9 yank d n 1", "misplaced", "-p", "run"),
        ("run -x", "misplaced", "-x", "update"),
        ("check --port 9", "misplaced", "--port", "run"),
        ("a --reason x", "misplaced", "--reason", "yank"),
        ("yank --storage s3://b/x foo==1.0", "misplaced", "--storage", "root"),
        ("healthcheck --json", "misplaced", "--json", "update"),
        ("check --lgo-file x", "unknown", "--lgo-file", "--log-file"),
    ],
)
def test_a_flag_that_is_none_suggests_another_or_its_command(
    line: str, kind: str, setting: str, suggestion: str
) -> None:
    (mistake,) = mistakes_of(line)
    assert (mistake.kind, mistake.setting, mistake.suggestion) == (kind, setting, suggestion)
    assert suggestion == "root" or suggestion in mistake.sentence
    assert mistake.sentence[-1] in ".?"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            "yank --storage s3://b/x foo==1.0",
            "There is no flag --storage; the URL of a bucket is the first word: pypi-server yank s3://BUCKET ...",
        ),
        ("check --port 9", "There is no flag --port in 'pypi-server check'; it is one of "),
    ],
)
def test_a_flag_of_another_command_is_no_reason_to_use_that(line: str, sentence: str) -> None:
    assert mistakes_of(line)[0].sentence.startswith(sentence)


@pytest.mark.parametrize(
    ("line", "kind", "setting", "value", "source"),
    [
        ("--overwrite=yes", "takes-none", "overwrite", "yes", "--overwrite"),
        ("-p", "needs-value", "port", None, "-p"),
        ("--port", "needs-value", "port", None, "--port"),
        ("-P -o", "needs-value", "password_file", None, "-P"),
        ("-p x", "value", "port", "x", "-p"),
        ("--port=", "value", "port", "", "--port"),
        ("''", "value", "roots", [""], "folder"),
        ("-x a", "contradiction", "execute", None, "-x"),
        ("-d out", "contradiction", "download_directory", None, "-d"),
        ("--json", "contradiction", "json", None, "--json"),
        ("update --index-url x", "value", "index_url", "x", "--index-url"),
        ("passwd", "missing", "file", None, ""),
        ("passwd f", "missing", "user", None, ""),
        ("passwd f u p", "too-many", "", "p", ""),
        ("yank", "missing", "name", None, ""),
        ("yank d", "missing", "version", None, ""),
        ("yank d n 1 2", "too-many", "", "2", ""),
        ("yank d n 1 --all", "contradiction", "all", None, "--all"),
        ("yank d n", "missing", "version", None, ""),
        ("delete d n", "missing", "version", None, ""),
        ("completion", "missing", "shell", None, ""),
        ("completion tcsh", "value", "shell", "tcsh", "SHELL"),
        ("-a .", "contradiction", "authenticate", frozenset(), ""),
    ],
)
def test_a_mistake_says_what_was_given_where(line: str, kind: str, setting: str, value: object, source: str) -> None:
    (mistake,) = mistakes_of(line)
    assert mistake == Mistake(mistake.sentence, kind, setting, value, source)


@pytest.mark.parametrize(("line", "words"), [("config", "check, show, init"), ("completion", "bash, zsh, fish")])
def test_a_missing_word_of_a_few_says_which_there_are(line: str, words: str) -> None:
    (mistake,) = mistakes_of(line)
    assert words in mistake.sentence


def test_mistakes_are_reported_together() -> None:
    assert [(each.kind, each.setting) for each in mistakes_of("--prot 9 -O -P")] == [
        ("unknown", "--prot"),
        ("unknown", "-O"),
        ("needs-value", "password_file"),
    ]
    assert [(each.source, each.value) for each in mistakes_of("-p x --workers 0", PYPISERVER_THREADS="few")] == [
        ("PYPISERVER_THREADS", "few"),
        ("-p", "x"),
        ("--workers", "0"),
    ]


def test_the_command_line_wins_over_the_environment() -> None:
    environ = {"PYPISERVER_PORT": "1", "PYPISERVER_ROOTS": "/env", "PYPISERVER_HOST": "::1", "OTHER": "x"}
    assert parse("-p 2 a", **environ) == Run(make_config(port=2, roots="a", host="::1"))
    assert parse("update", **environ) == Update(make_config(port=1, roots="/env", host="::1"))
    assert parse("yank d n 1", **environ) == Yank(make_config(port=1, roots="d", host="::1"), Path("d"), "n", "1")


def help_of(line: str, **environ: str) -> str:
    out = io.StringIO()
    assert parse(line, **environ).run(out, io.StringIO()) == 0
    return out.getvalue()


@pytest.mark.parametrize("line", ["--help", "a -p 9 --help", "-U --help", "help all"])
def test_the_help_shows_the_classic_form_first_and_every_flag(line: str) -> None:
    shown = help_of(line, PYPISERVER_PORT="broken")
    assert shown.startswith("usage: pypi-server [OPTIONS] [DIR...]\n")
    words = set(re.findall(r"[\w-]+", shown))
    assert {flag for option in CLASSIC.options for flag in option.flags} - words == set()
    assert set(COMMANDS) - words == set()
    assert "-P . -a ." in shown
    assert [line for line in shown.splitlines() if len(line) > 79] == []
    assert DOCUMENTATION in shown


@pytest.mark.parametrize("line", ["-h", "a -p 9 -h", "-Uh", "help"])
def test_the_short_help_fits_a_screen(line: str) -> None:
    shown = help_of(line, PYPISERVER_PORT="broken")
    lines = shown.splitlines()
    # One line of the 24 is for the next prompt.
    assert len(lines) <= 23 and max(map(len, lines)) < 80
    assert set(COMMANDS) - {"help"} - set(re.findall(r"\w+", shown)) == set()
    readme = (REPOSITORY / "README.rst").read_text("utf-8").partition("The flags you will want first")[2]
    first = re.findall(r"^``(-[^ `]+)", readme.partition("Flags and folders stand")[0], re.MULTILINE)
    assert len(first) > 8 and set(first) - set(re.findall(r"[\w-]+", shown)) == set()
    assert DOCUMENTATION in shown


def test_every_example_of_the_help_can_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pypiserver.settings.toml_file.read", lambda file: {})
    lines = [line for line, _ in EXAMPLES] + [line for row in COMMANDS.values() for line, _ in row.examples]
    for line in lines:
        parse(line.partition(" > ")[0])
    assert [name for name, row in COMMANDS.items() if not row.examples] == []


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("line", ["{} --help", "help {}"])
def test_every_command_has_a_help_with_its_flags_and_examples(name: str, line: str) -> None:
    shown = help_of(line.format(name))
    row = COMMANDS[name]
    assert shown.startswith(f"usage: {row.usage}\n\n")
    assert {flag for option in row.options for flag in option.flags} - set(re.findall(r"[\w-]+", shown)) == set()
    assert [line for line, _ in row.examples if f"pypi-server {line}" not in shown] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_the_short_help_of_a_command_fits_a_screen(name: str) -> None:
    assert len(help_of(f"{name} -h").splitlines()) <= 40


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_has_its_flags(topic: str) -> None:
    expected = {flag for each in CLASSIC.options if each.group.lower() == topic for flag in each.flags}
    assert expected - set(re.findall(r"[\w-]+", help_of(f"help {topic}"))) == set()


def test_help_about_what_is_neither_command_nor_topic_suggests_one() -> None:
    with pytest.raises(ConfigError, match="did you mean 'logging'"):
        help_of("help loging")


def test_a_help_has_colors_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def shown(**environ: str) -> str:
        with monkeypatch.context() as patched:
            for name in ("NO_COLOR", "FORCE_COLOR"):
                patched.delenv(name, raising=False)
            for name, value in {"TERM": "xterm", **environ}.items():
                patched.setenv(name, value)
            out = Terminal()
            parse("-h").run(out, out)
        return out.getvalue()

    assert "\033[1musage:\033[0m" in shown() and "\033[1mFlags:\033[0m" in shown()
    assert "\033" not in shown(NO_COLOR="1") and "\033" not in shown(TERM="dumb") and "\033" not in help_of("-h")


def test_a_flag_takes_a_value_with_every_command_or_with_none() -> None:
    taken: dict[str, set[bool]] = {}
    for row in (CLASSIC, *COMMANDS.values()):
        for option in row.options:
            for flag in option.flags:
                taken.setdefault(flag, set()).add(option.takes_value)
    assert [flag for flag, values in taken.items() if len(values) > 1] == []


def test_flags_of_the_reference_are_all_there() -> None:
    flags = {flag for option in CLASSIC.options for flag in option.flags}
    expected = """
        -p --port -i --interface -a --authenticate -P --passwords --disable-fallback --fallback-url --server
        -r --root -o --overwrite --hash-algo --welcome -v --log-conf --log-file --log-frmt --log-req-frmt --log-res-frmt
        --log-err-frmt --cache-control -h --help --version -U -x -d -u -H --host --log-stream --health-endpoint
        --server-base-url --backend --ignorelist-file --blacklist-file --verbose --execute --download-directory
        --allow-unstable"""
    assert set(expected.split()) - flags == set()


def roots_faults(*roots: Path, default: bool = False) -> list[tuple[str, object]]:
    """(kind, folder) of each folder that cannot be served."""
    with pytest.raises(ConfigError) as caught:
        prepare_roots(Config(roots=roots, roots_are_default=default))
    assert all(str(each.value) in each.sentence for each in caught.value.mistakes)
    return [(each.kind, each.value) for each in caught.value.mistakes]


def test_the_default_folder_is_created_and_a_named_one_never(home: Path) -> None:
    prepare_roots(make_config())
    assert (home / "packages").is_dir()
    (home / "packages").rmdir()
    assert roots_faults(home / "packages") == [("missing", home / "packages")]
    assert not (home / "packages").exists()


def test_every_unusable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "a-1.0.zip").touch()
    assert roots_faults(tmp_path / "none", tmp_path / "good", tmp_path / "file") == [
        ("missing", tmp_path / "none"),
        ("no-folder", tmp_path / "file"),
    ]
    assert roots_faults(tmp_path / "file", default=True) == [("no-folder", tmp_path / "file")]
    prepare_roots(make_config(roots=tmp_path / "good"))


def test_a_missing_folder_called_like_a_command_gets_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="pypi-server update"):
        prepare_roots(Config(roots=(Path("update"),)))


def test_a_missing_folder_that_is_almost_a_command_suggests_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for typed, meant in (
        ("chekc", "check"),
        ("yanc", "yank"),
        ("packages", ""),
        ("serve", "run"),
        ("adduser", "passwd"),
    ):
        with pytest.raises(ConfigError) as caught:
            prepare_roots(Config(roots=(Path(typed),)))
        assert caught.value.mistakes[0].suggestion == meant
        assert not meant or f"pypi-server {meant} ..." in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no mode there")
@pytest.mark.parametrize(("default", "kind"), [(False, "unreadable"), (True, "uncreatable")])
def test_a_folder_without_permission_is_named(
    default: bool, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "closed" / "packages"
    root.parent.mkdir()
    if not default:
        root.mkdir(mode=0)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    if os.geteuid() == 0:  # root may do everything; only the answer of the system can be played
        monkeypatch.setattr("os.scandir", refuse)
        monkeypatch.setattr(Path, "mkdir", refuse)
    elif default:
        root.parent.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert roots_faults(root, default=default) == [(kind, root)]


def test_the_table_has_every_command_in_the_order_of_the_help() -> None:
    assert tuple(COMMANDS) == NAMES
    assert [row.name for row in COMMANDS.values()] == list(COMMANDS)


def test_help_about_the_flag_of_a_command_is_that_of_the_command() -> None:
    assert help_of("help -U") == help_of("help update") == help_of("update --help")


def test_a_bucket_in_the_place_of_a_folder_is_named_with_storage(tmp_path: Path) -> None:
    (mistake,) = root_faults(Path("s3://team/packages"), create=False)
    assert (mistake.kind, mistake.suggestion) == ("no-folder", "--storage")
    assert "write --storage s3://team/packages." in mistake.sentence
