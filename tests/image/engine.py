"""A Docker daemon for as long as a block lasts, and the image in it.

It keeps everything in a folder of its own, listens at a socket there, and changes no rule of the machine's firewall;
its bridges are removed with it. A registry of images may be out of reach: the base is made here, of the same Debian and
the same Python as the one that the Dockerfile names.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.process import Service, own_folder, program, refuse
from tests.live_server import REPOSITORY

IMAGE = "pypiserver/pypiserver"
NETWORK = "tests"
# The Debian whose Python is the base's.
SUITES = {"3.13": "trixie"}
CERTIFICATES, PIP_SETTINGS = "/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf"
_LEFT_OUT = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]


@dataclass(frozen=True)
class Engine:
    """A running daemon."""

    program: str
    socket: Path

    @property
    def environ(self) -> dict[str, str]:
        return os.environ | {"DOCKER_HOST": f"unix://{self.socket}", "DOCKER_BUILDKIT": "1"}

    def run(self, *words: str | Path, data: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run `docker` with these words and standard input; both outputs are in `stdout`."""
        return self._run(words, data, subprocess.STDOUT)

    def docker(self, *words: str | Path, data: str | None = None) -> str:
        """The standard output of `docker` with these words; raises AssertionError when it fails."""
        # Docker warns there of what a machine lacks, such as forwarding, which no test needs.
        done = self._run(words, data, subprocess.PIPE)
        said = f"{done.stdout}{done.stderr}"
        assert done.returncode == 0, f"docker {' '.join(map(str, words))} ended with {done.returncode}:\n{said}"
        return done.stdout.strip()

    def _run(self, words: tuple[str | Path, ...], data: str | None, stderr: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *map(str, words)],
            env=self.environ,
            input=data or "",
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            timeout=300,
            check=False,
        )


@contextmanager
def engine() -> Iterator[Engine]:
    """A daemon without images; skips the test where the system lets none run."""
    if sys.platform != "linux" or os.getuid() != 0:
        pytest.skip("only root can start a Docker daemon, on Linux")
    daemon, client = program("dockerd", "docker.io"), program("docker", "docker.io", also_in="/usr/bin")
    with own_folder("docker") as folder, ExitStack() as stack:
        made = Engine(client, folder / "docker.sock")
        places = {"data-root": "data", "exec-root": "run", "pidfile": "pid"}
        words = [f"--{flag}={folder / name}" for flag, name in places.items()]
        untouched = [f"--{flag}=false" for flag in ("iptables", "ip6tables", "ip-forward", "ip-masq")]
        command = [daemon, f"--host=unix://{made.socket}", "--bridge=none", *words, *untouched]
        service = Service("dockerd", command, folder, lambda: made.run("info").returncode == 0)
        service.launch()
        stack.callback(_unmount, folder)
        stack.callback(service.stop)
        try:
            service.wait()
        except AssertionError as error:
            pytest.skip(f"no Docker daemon can run here: {str(error).strip().splitlines()[-1]}")
        stack.callback(_remove_all, made)
        made.docker("network", "create", NETWORK)
        yield made


def _remove_all(made: Engine) -> None:
    """End what a failed test left; a bridge would outlive the daemon."""
    for kind, words in (("container", ["rm", "--force", "--volumes"]), ("network", ["rm"])):
        flags = ["--all"] if kind == "container" else ["--filter=type=custom"]
        if names := made.docker(kind, "ls", "--quiet", *flags).split():
            made.docker(kind, *words, *names)


def _unmount(folder: Path) -> None:
    """What the daemon left mounted would keep the folder from being deleted."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((each for each in mounts if each.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False)


def base_name() -> str:
    """The base that the Dockerfile names."""
    (name,) = set(re.findall(r"^FROM (\S+)", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE))
    return name


def make_base() -> Path:
    """What is in for the base, as a tar; kept below .cache."""
    version = re.fullmatch(r"python:([\d.]+)-slim", base_name())
    if version is None or version[1] not in SUITES:
        refuse(f"there is no Debian known here that stands in for {base_name()}")
    # It asks the same index as this machine does, and trusts the same certificates.
    ours = [path for path in (CERTIFICATES, PIP_SETTINGS) if Path(path).exists()]
    hooks = ['ln -s /usr/bin/python3 "$1/usr/local/bin/python"', *(f"upload {path} {path}" for path in ours)]
    command = [
        *(program("mmdebstrap", "mmdebstrap"), "--mode=root", "--variant=essential", "--format=tar"),
        *("--include=python3-venv,ca-certificates", "--dpkgopt=force-unsafe-io", *_LEFT_OUT),
        *(f"--customize-hook={hook}" for hook in hooks),
        SUITES[version[1]],
    ]
    said = "\n".join([*command, *(Path(path).read_text() for path in ours)])
    folder = REPOSITORY / ".cache" / "image"
    made = folder / f"base-{hashlib.sha256(said.encode()).hexdigest()[:16]}.tar"
    if not made.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for older in folder.iterdir():
            older.unlink()
        unfinished = made.with_suffix(".part")
        done = subprocess.run([*command, str(unfinished)], capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr
        unfinished.rename(made)
    return made


@dataclass(frozen=True)
class Container:
    """A container of the image; `url` has no slash at its end, and is empty where no port is published."""

    engine: Engine
    name: str
    url: str

    def inspect(self, what: str) -> str:
        return self.engine.docker("inspect", "--format", f"{{{{{what}}}}}", self.name)

    @property
    def output(self) -> str:
        return self.engine.run("logs", self.name).stdout

    def health(self) -> tuple[int, str]:
        """Status and words of the image's health check, run now."""
        done = self.engine.run("exec", self.name, "docker-entrypoint", "--is-healthy")
        return done.returncode, done.stdout

    def stop(self) -> int:
        """End it as `docker stop` does; its exit status, which is 137 for one that had to be killed."""
        self.engine.docker("stop", self.name)
        return int(self.inspect(".State.ExitCode"))


@contextmanager
def container(
    engine: Engine, options: Sequence[str | Path] = (), arguments: Sequence[str] = (), *, port: int = 8080
) -> Iterator[Container]:
    """Start one, with its `port` at a port of loopback; it may not answer yet, or have ended."""
    publish = ("--network", NETWORK, "--publish", f"127.0.0.1::{port}")
    name = engine.docker("run", "--detach", *publish, *options, IMAGE, *arguments).splitlines()[-1]
    try:
        address = engine.run("port", name, str(port)).stdout.strip()
        yield Container(engine, name, f"http://{address}" if ":" in address else "")
    finally:
        engine.docker("rm", "--force", "--volumes", name)


def composed(engine: Engine, file: Path, environ: Mapping[str, str], *words: str, data: str = "") -> str:
    """Run Docker Compose with this file, as its plugin or as a program of its own."""
    plugin = engine.run("compose", "version").returncode == 0
    command = [engine.program, "compose"] if plugin else [program("docker-compose", "docker-compose")]
    done = subprocess.run(
        [*command, "--file", str(file), "--project-name", "pypiserver-test", *words],
        env=engine.environ | environ,
        input=data,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


if __name__ == "__main__":
    print(make_base().name)
