"""Looking for updates in a hostile folder, at a hostile index, with a real shell and a real pip (P47)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_index import FakeIndex, serving
from tests.live_server import REPOSITORY
from tests.make_archives import make_sdist, make_wheel

# Folders whose names are options, commands, line ends and codes of a terminal.
FOLDERS = (
    "--index-url=https:evil.example",
    "-rf",
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned #",
    "' ; touch pwned ; '",
    '" && touch pwned && "',
    "line\ntouch pwned\n",
    "\x1b]0;pwned\x07\x1b[2J",
    "~",
    "* ? [a-z]",
    "back\\slash\\",
    "umlaut-\udcfc",
)
FAKE_PIP = """#!{python}
import json, os, sys
with open(os.environ["ASKED"], "a") as file:
    print(json.dumps(sys.argv[1:]), file=file)
"""
SETUP = b"open({marker!r}, 'w').close()\n"


@pytest.fixture
def index() -> Iterator[FakeIndex]:
    with serving(FakeIndex()) as index:
        yield index


def environ_of(home: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(("PIP_", "PYPISERVER_"))}
    own = {"PYTHONPATH": str(REPOSITORY), "XDG_CACHE_HOME": str(home / "cache"), "HOME": str(home)}
    return {**kept, **own, **more}


def update(
    folder: Path, index: FakeIndex, home: Path, *flags: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    # Not python -m, which looks for modules in the working folder first.
    program = Path(sys.executable).with_name("pypi-server")
    command = [program, "update", "--index-url", index.url, *flags, folder]
    return subprocess.run(command, capture_output=True, env=environ_of(home), cwd=cwd or home, check=False, timeout=120)


def test_every_line_is_a_command_of_one_pip_whatever_folders_are_called(tmp_path: Path, index: FakeIndex) -> None:
    """The lines are given to sh and bash, with a pip that writes down what it was asked."""
    packages, work, programs = tmp_path / "packages", tmp_path / "work", tmp_path / "programs"
    for each in (packages, work, programs):
        each.mkdir()
    for number, name in enumerate(FOLDERS):
        (packages / name).mkdir()
        wheel, data = make_wheel(f"project{number}", "1.0")
        (packages / name / wheel).write_bytes(data)
        index.add(f"project{number}", make_wheel(f"project{number}", "2.0")[0])
    # What is called like an option or a command is no distribution, and is not asked about.
    for name in ("--help-1.0.zip", "-e-1.0.zip", "$(touch pwned)-1.0.zip", "a;touch pwned-1.0.zip", "x\n-1.0.zip"):
        (packages / name).write_bytes(b"")
    (programs / "pip").write_text(FAKE_PIP.format(python=sys.executable))
    (programs / "pip").chmod(0o755)
    done = update(packages, index, tmp_path)
    assert done.returncode == 1, done
    assert not [byte for byte in done.stdout + done.stderr if byte < 32 and byte != 10]
    # Folders whose names cannot be printed are not served, so only those that can be are here.
    served = [number for number, name in enumerate(FOLDERS) if name.isprintable()]
    for shell in ("sh", "bash"):
        asked = tmp_path / f"asked-{shell}"
        environ = environ_of(tmp_path, PATH=f"{programs}{os.pathsep}{os.environ['PATH']}", ASKED=str(asked))
        subprocess.run([shell], input=done.stdout, env=environ, cwd=work, check=False, capture_output=True, timeout=60)
        lines = [json.loads(line) for line in asked.read_text().splitlines() if line]
        assert sorted(lines) == sorted(
            ["-q", "download", "--no-deps", "--only-binary", ":all:", "--index-url", index.url, "--trusted-host",
             f"127.0.0.1:{index.port}", "-d", str(packages / FOLDERS[number]), "--", f"project{number}==2.0"]
            for number in served
        )  # fmt: skip
    assert list(work.iterdir()) == []
    assert not list(tmp_path.rglob("pwned"))
    assert {path for path, _ in index.seen} == {f"/simple/project{number}/" for number in served}


HOSTILE_ROWS = [
    {"filename": "../../evil-9.0-py3-none-any.whl", "url": "../../files/evil-9.0-py3-none-any.whl", "hashes": {}},
    {"filename": "raven-9.0; touch pwned-py3-none-any.whl", "url": "x", "hashes": {}},
    {"filename": "raven-9.0\n# update-py3-none-any.whl", "url": "x", "hashes": {}},
    {"filename": "--index-url-9.0-py3-none-any.whl", "url": "x", "hashes": {}},
    {"filename": "raven-$(touch pwned)-py3-none-any.whl", "url": "x", "hashes": {}},
    {"filename": "\x1b[2J-9.0.zip", "url": "\x1b[2J", "hashes": {}},
    {"filename": "other-9.0-py3-none-any.whl", "url": "../../files/other-9.0-py3-none-any.whl", "hashes": {}},
    {"filename": 7, "url": None, "hashes": []},
    {"filename": "raven-1.5.tar.gz", "url": "file:///etc/passwd", "hashes": {}, "requires-python": ")(*&^"},
    [],
]


@pytest.mark.parametrize("as_json", [True, False])
def test_an_index_says_nothing_but_versions(as_json: bool, tmp_path: Path, index: FakeIndex) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    name, data = make_wheel("raven", "1.0")
    (packages / name).write_bytes(data)
    index.rows["raven"] = list(HOSTILE_ROWS)
    index.add("raven", make_wheel("raven", "2.0")[0])
    done = update(packages, index, tmp_path, *(["--json"] if as_json else []))
    printed = done.stdout + done.stderr
    assert done.returncode == 1, done
    assert b"2.0" in done.stdout
    for word in (b"touch", b"evil", b"other", b"passwd", b"9.0", b"\x1b"):
        assert word not in printed, printed
    assert {path for path, _ in index.seen} == {"/simple/raven/"}


@pytest.mark.parametrize("newest", ["wheel", "sdist"])
def test_what_is_downloaded_is_not_run(newest: str, tmp_path: Path, index: FakeIndex) -> None:
    """With the real pip, in a folder that has a pip.py of its own."""
    packages, marker = tmp_path / "packages", tmp_path / "pwned"
    packages.mkdir()
    name, data = make_wheel("raven", "1.0")
    (packages / name).write_bytes(data)
    program = SETUP.decode().format(marker=str(marker)).encode()
    wheel, wheel_bytes = make_wheel("raven", "2.0", extra_members={"setup.py": program, "raven.pth": program})
    sdist, sdist_bytes = make_sdist("raven", "3.0", extra_members={"raven-3.0/setup.py": program})
    index.files = {wheel: wheel_bytes, sdist: sdist_bytes}
    index.add("raven", wheel, *([sdist] if newest == "sdist" else []))
    for file in ("pip.py", "raven.py", "sitecustomize.py"):
        (packages / file).write_bytes(program)
    done = update(packages, index, tmp_path, "-x", cwd=packages)
    assert not marker.exists(), done
    if newest == "wheel":
        assert (packages / wheel).read_bytes() == wheel_bytes, done
    else:
        # pip would run the source to learn its metadata: that needs --allow-sdist.
        assert not (packages / sdist).exists() and b"--allow-sdist" in done.stdout, done
