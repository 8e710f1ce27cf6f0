"""Updates: what is planned, what is said, and what pip is told to do."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from pypiserver.cli.pip_download import Download
from pypiserver.cli.update import Options, decide, newest_local, read_ignorelist, run_update
from pypiserver.cli.update_report import Finding, Local
from pypiserver.distributions.filename import normalize, parse_filename
from pypiserver.errors import ConfigError
from pypiserver.upstream.client import UpstreamFile
from tests.fake_index import FakeIndex, serving
from tests.raising import raises

FOLDER = Path("/srv/packages")
OPTIONS = Options("https://pypi.example/simple/")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.upper().endswith(("_PROXY", "_CA_BUNDLE")) or name.startswith(("SSL_CERT", "PIP_", "PYPISERVER_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


@pytest.fixture
def index() -> Iterator[FakeIndex]:
    with serving(FakeIndex()) as index:
        yield index


def local(name: str, version: str, folder: Path = FOLDER) -> Local:
    return Local(normalize(name), name, version, folder)


def upstream(*names: str, **facts: Any) -> list[UpstreamFile]:
    parsed = map(parse_filename, names)
    return [UpstreamFile(each.filename, Version(each.version), each.kind, **facts) for each in parsed]


def update(
    locals_: Sequence[Local], index: FakeIndex, *, out: io.StringIO | None = None, run: Any = None, **options: Any
) -> tuple[int, str, str]:
    """Exit status, standard output and standard error."""
    out, err = out or io.StringIO(), io.StringIO()
    extra = {"run": run} if run else {}
    status = run_update(locals_, Options(index_url=index.url, **options), out=out, err=err, **extra)
    return status, out.getvalue(), err.getvalue()


def raven(version: str) -> str:
    return f"raven-{version}-py3-none-any.whl"


NEWER = upstream(raven("1.4.4"))
THIS = f"=={sys.version_info[0]}.{sys.version_info[1]}.*"


@pytest.mark.parametrize(
    ("ours", "files", "options", "newest"),
    [
        ("1.4.3", NEWER, {}, "1.4.4"),
        ("1.4.4", NEWER, {}, None),
        ("1.10", upstream(raven("1.9")), {}, None),
        ("1.9", upstream(raven("1.9.0")), {}, None),
        ("1.4.4+ours", NEWER, {}, None),
        ("1.4.4", upstream(raven("1!0.1")), {}, "1!0.1"),
        ("1.4.4", upstream(raven("1.4.4.post1")), {}, "1.4.4.post1"),
        ("1.4.3", upstream(raven("2.0rc1"), raven("2.0.dev3"), raven("1.4.4")), {}, "1.4.4"),
        ("1.4.3", upstream(raven("2.0rc1"), raven("2.0.dev3")), {"allow_unstable": True}, "2.0rc1"),
        ("2.0b1", NEWER, {}, None),
        ("2.0b1", upstream(raven("2.0")), {}, "2.0"),
        ("1.4.3", upstream(raven("2.0"), is_yanked=True) + NEWER, {}, "1.4.4"),
        ("1.4.3", upstream(raven("2.0"), requires_python=">=99") + NEWER, {}, "1.4.4"),
        ("1.4.3", upstream(raven("2.0"), requires_python=THIS), {}, "2.0"),
        ("1.4.3", upstream(raven("2.0"), requires_python="a snake"), {}, "2.0"),
        ("dev-brainbot", NEWER, {}, "1.4.4"),
        ("", NEWER, {}, "1.4.4"),
        ("1.0_1", upstream(raven("1.0.post1")), {}, None),
    ],
)
def test_the_newest_fitting_release_is_the_update(
    ours: str, files: list[UpstreamFile], options: dict[str, Any], newest: str | None
) -> None:
    options = {"index_url": OPTIONS.index_url, **options}
    found = decide(local("raven", ours), files, Options(**options))
    download = newest and Download(normalize("raven"), Version(newest), FOLDER, OPTIONS.index_url)
    assert found == Finding(local("raven", ours), "u" if newest else ".", download or None)


def test_a_project_without_releases_is_no_project_that_is_up_to_date() -> None:
    assert decide(local("raven", "1"), [], OPTIONS) == Finding(local("raven", "1"), "e")


@pytest.mark.parametrize(
    ("files", "allow_sdist", "said"),
    [
        (upstream("raven-2.0.tar.gz"), False, "--allow-sdist"),
        (upstream("raven-2.0.tar.gz"), True, ""),
        (upstream("raven-2.0-cp35-none-vms.whl"), True, "it has no wheel for this Python and machine"),
        (upstream("raven-2.0-cp35-none-vms.whl", "raven-2.0-py2.py3-none-any.whl"), False, ""),
    ],
)
def test_what_pip_could_not_download_is_said(files: list[UpstreamFile], allow_sdist: bool, said: str) -> None:
    found = decide(local("raven", "1"), files, Options(OPTIONS.index_url, allow_sdist=allow_sdist))
    assert found.mark == "u"
    assert (said in found.obstacle) if said else (found.obstacle == "")


def test_the_newest_file_of_a_project_says_version_and_folder() -> None:
    files = [
        ("PyXML-0.8.zip", "a"),
        ("pyxml-0.10.zip", "b"),
        ("pyxml-0.10.zip", "c"),
        ("pyxml-9.0-brainbot-1.zip", "d"),
    ]
    assert newest_local((parse_filename(name), Path(folder)) for name, folder in [*files, ("abc-1.zip", "e")]) == [
        Local(normalize("abc"), "abc", "1", Path("e")),
        Local(normalize("pyxml"), "pyxml", "0.10", Path("b")),
    ]


def test_the_list_of_projects_to_leave_alone_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ignore.txt"
    path.write_text("\ufeff# ours\nZope.Interface  # patched\n\nraven\n", "utf-8")
    assert read_ignorelist(path) == {"zope-interface", "raven"}


def test_a_list_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ignore.txt"
    path.write_text("raven\nraven==1.0\ngreen let\n")
    with raises(ConfigError, kind="value", setting="ignorelist_file", value=path):
        read_ignorelist(path)
    path.write_bytes(b"\xff\xfe")
    with raises(ConfigError, kind="unreadable", setting="ignorelist_file", value=path):
        read_ignorelist(path)
    with raises(ConfigError, kind="unreadable", setting="ignorelist_file", value=tmp_path / "missing"):
        read_ignorelist(tmp_path / "missing")


def test_what_is_printed_is_what_the_reference_printed_below_a_table(index: FakeIndex) -> None:
    index.add("raven", raven("1.4.4"))
    index.add("up-to-date", "up_to_date-1-py3-none-any.whl")
    index.add("source", "source-2.tar.gz")
    ours = [local("Gone", "1"), local("PyXML", "1"), local("raven", "1.4.3", Path("/srv/a b")), local("source", "1")]
    assert update([*ours, local("up_to_date", "1")], index) == (
        1,
        f"""checking 5 packages for newer version

eeuu.

no releases found on {index.url} for Gone, PyXML

name    here   there
raven   1.4.3  1.4.4
source  1      2

# update raven from 1.4.3 to 1.4.4
pip -q download --no-deps --only-binary :all: --index-url {index.url} --trusted-host 127.0.0.1:{index.port} -d \
'/srv/a b' -- raven==1.4.4

# update source from 1 to 2
# it has no wheel for this Python and machine; --allow-sdist downloads its source, and pip then runs that

""",
        "",
    )


def test_progress_is_in_lines_of_forty(index: FakeIndex) -> None:
    for at in range(85):
        index.add(f"p{at}", f"p{at}-1.tar.gz")
    status, out, _ = update([local(f"p{at}", "1") for at in range(85)], index)
    assert (status, out) == (0, f"checking 85 packages for newer version\n\n{'.' * 40}\n{'.' * 40}\n.....\n\n")


def test_a_terminal_gets_a_bar_instead(index: FakeIndex) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    index.add("raven", raven("1"))
    out, drawn = Terminal(), []
    options = Options(index.url)
    run_update([local("raven", "1")], options, out=out, err=io.StringIO(), show=lambda *now: drawn.append(now))
    assert (out.getvalue(), drawn) == ("checking 1 package for newer version\n\n\n", [(1, 1)])


def test_the_report_in_json_is_whole(index: FakeIndex) -> None:
    index.add("raven", raven("1.4.4"))
    status, out, err = update([local("Gone", "1"), local("raven", "1.4.3")], index, as_json=True, allow_sdist=True)
    command = f"pip -q download --no-deps --index-url {index.url} --trusted-host 127.0.0.1:{index.port}"
    assert (status, err) == (1, "")
    assert json.loads(out) == {
        "checked": 2,
        "updates": [
            {
                "project": "raven",
                "local": "1.4.3",
                "newest": "1.4.4",
                "folder": "/srv/packages",
                "command": [*command.split(), "-d", "/srv/packages", "--", "raven==1.4.4"],
            }
        ],
        "no_releases": ["gone"],
        "errors": [],
    }


def test_an_ignored_project_is_not_asked_about(index: FakeIndex) -> None:
    ours = [local("raven", "1")]
    assert update(ours, index, ignore=frozenset({normalize("raven")}))[:2] == (
        0,
        "checking 0 packages for newer version\n\n",
    )
    assert index.seen == []


def test_an_index_that_knows_nothing_may_be_the_wrong_address(index: FakeIndex) -> None:
    status, _, err = update([local("raven", "1"), local("greenlet", "1")], index)
    assert (status, err) == (
        0,
        f"pypi-server: The index {index.url} has none of the projects; is it the simple page of one?\n",
    )


def test_projects_are_looked_up_at_once(index: FakeIndex) -> None:
    together = threading.Barrier(4, timeout=30)
    index.before = together.wait
    assert update([local(f"p{at}", "1") for at in range(8)], index)[0] == 0
    assert not together.broken


def test_updates_that_were_downloaded_are_a_success(index: FakeIndex) -> None:
    index.add("raven", raven("2"))
    index.add("source", "source-2.tar.gz")
    done = [local("raven", "1")]
    assert update(done, index)[0] == 1
    assert update(done, index, run=lambda words, environ: 0, execute=True)[0] == 0
    # What is left to do is still an answer of "no".
    assert update([*done, local("source", "1")], index, run=lambda words, environ: 0, execute=True)[0] == 1


def test_pip_is_run_for_each_update_and_may_fail(index: FakeIndex) -> None:
    index.add("greenlet", "greenlet-2-py3-none-any.whl")
    index.add("raven", raven("2"))
    index.add("source", "source-2.tar.gz")
    ran: list[tuple[Sequence[str], Mapping[str, str]]] = []

    def run(words: Sequence[str], environ: Mapping[str, str]) -> int:
        ran.append((words, environ))
        return 3 if words[-1].startswith("greenlet") else 0

    ours = [local(name, "1") for name in ("greenlet", "raven", "source")]
    status, out, err = update(ours, index, run=run, execute=True, download_directory=Path("-d"))
    assert (status, err) == (2, "pypi-server: pip ended with exit status 3; greenlet 2 was not downloaded.\n")
    assert out.count("pip -q") == 2
    start = [sys.executable, *(["-P"] if sys.version_info >= (3, 11) else []), "-m", "pip"]
    fixed = ["-q", "download", "--no-deps", "--only-binary", ":all:", "-d", str(Path.cwd() / "-d"), "--"]
    assert [words for words, _ in ran] == [[*start, *fixed, "greenlet==2"], [*start, *fixed, "raven==2"]]
    assert {environ["PIP_INDEX_URL"] for _, environ in ran} == {index.url}
    status, out, _ = update(ours, index, run=run, execute=True, as_json=True)
    assert [(each["project"], each.get("exit_status")) for each in json.loads(out)["updates"]] == [
        ("greenlet", 3),
        ("raven", 0),
        ("source", None),
    ]
