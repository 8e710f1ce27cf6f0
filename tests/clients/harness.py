"""Running a client as a user who has nothing but it: a home of its own, no configuration of this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request

from tests.clients.recording import Recorder
from tests.live_server import DIRECT, REPOSITORY, LiveServer

USER, PASSWORD = "uploader", "s3cret:word"
CLIENT_SECONDS = 180
JSON_TYPE = "application/vnd.pypi.simple.v1+json"


# Where the clients look for the authorities they trust.
TRUSTED_IN = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "MATURIN_CA_BUNDLE")
Serve = Callable[..., LiveServer]


def clean_environ(home: Path) -> dict[str, str]:
    """An environment that holds nothing of this machine but where its programs are."""
    home.mkdir(parents=True, exist_ok=True)
    nothing = str(home / "nothing")
    return {
        "HOME": str(home),
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "COLUMNS": "200",
        "NO_PROXY": "127.0.0.1,localhost",
        "XDG_CONFIG_DIRS": nothing,
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "PYTHONDONTWRITEBYTECODE": "1",
        "UV_NO_CONFIG": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_KEYRING_PROVIDER": "disabled",
        "POETRY_NO_INTERACTION": "1",
        "POETRY_KEYRING_ENABLED": "false",
        "POETRY_VIRTUALENVS_IN_PROJECT": "true",
        "PDM_CHECK_UPDATE": "false",
        "PDM_NO_CACHE": "1",
    }


def server_environ(home: Path) -> dict[str, str]:
    """The environment of a server under test: the project as it is in this folder, state below `home`."""
    environ = clean_environ(home) | {"PYTHONPATH": str(REPOSITORY)}
    # Hundreds of servers are started: what the first one compiled is there for the others.
    del environ["PYTHONDONTWRITEBYTECODE"]
    return environ


@dataclass(frozen=True, slots=True)
class Client:
    """A client with a home of its own; `bin` holds its programs, `python` the one it runs on.

    `trusted` is a certificate authority that only this client knows.
    """

    name: str
    bin: Path
    home: Path
    trusted: Path | None = None

    @property
    def python(self) -> Path:
        return self.bin / "python"

    def run(
        self, *command: str | Path, cwd: Path | None = None, status: int | None = 0, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the client's programs; it must end with `status` (None: whatever comes)."""
        program, *arguments = (str(word) for word in command)
        environment = clean_environ(self.home)
        environment["PATH"] = f"{self.bin}:{environment['PATH']}"
        if self.trusted is not None:
            environment |= dict.fromkeys(TRUSTED_IN, str(self.trusted))
        done = subprocess.run(
            [str(self.bin / program) if (self.bin / program).exists() else program, *arguments],
            cwd=cwd or self.home,
            env=environment | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=CLIENT_SECONDS,
            check=False,
        )
        if status is not None and done.returncode != status:
            raise AssertionError(
                f"{self.name}: {' '.join(map(str, command))}\n"
                f"ended with {done.returncode} instead of {status} and said:\n{done.stdout}"
            )
        return done

    @property
    def installer(self) -> tuple[str | Path, ...]:
        """The command of pip or uv that installs; index, target and projects follow."""
        if self.name == "uv":
            return ("uv", "pip", "install", "--python", self.python)
        return ("python", "-m", "pip", "install")

    def pip(self, *arguments: str | Path, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        return self.run("python", "-m", "pip", *arguments, status=status)


GetClient = Callable[[str], Client]
Record = Callable[[LiveServer], Recorder]


def installed(folder: Path) -> dict[str, str]:
    """Name and version of every distribution in a folder that packages were installed into."""
    found = [path.name for ending in ("dist-info", "egg-info", "egg") for path in folder.rglob(f"*.{ending}")]
    pairs = (entry.rsplit(".", 1)[0].split("-")[:2] for entry in found)
    return {name.lower().replace("_", "-"): version for name, version in pairs}


def write_password_file(path: Path) -> Path:
    """A password file with USER and PASSWORD, in a scheme that needs no library to write."""
    digest = base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()
    path.write_text(f"{USER}:{{SHA}}{digest}\n")
    return path


def basic() -> str:
    """The Authorization header of USER."""
    return "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


def get(url: str, headers: Mapping[str, str] | None = None) -> bytes:
    """The body of a page, asked for without any proxy of this machine."""
    with DIRECT.open(Request(url, headers=dict(headers or {})), timeout=30) as answer:
        body: bytes = answer.read()
        return body


def listed(url: str, project: str) -> list[str]:
    """File names on the project's page; none when the index has no such project, or its files are still copied."""
    try:
        page = json.loads(get(f"{url}/simple/{project}/", {"Accept": JSON_TYPE}))
    except HTTPError as error:
        error.close()
        if error.code in (404, 503):
            return []
        raise
    return sorted(file["filename"] for file in page["files"])


def answered(server: LiveServer, project: str = "demo") -> Any:
    """The page of a project that is there, in JSON."""
    return json.loads(get(f"{server.url}/simple/{project}/", {"Accept": JSON_TYPE}))


def page(server: LiveServer, project: str = "demo") -> dict[str, dict[str, Any]]:
    """What the page says of each file."""
    return {file["filename"]: file for file in answered(server, project)["files"]}


def wait_until_listed(url: str, project: str, *filenames: str, seconds: float = 10) -> None:
    """Wait until a folder that was changed by hand shows on the project's page."""
    deadline = time.monotonic() + seconds
    while (shown := listed(url, project)) != sorted(filenames):
        if time.monotonic() > deadline:
            raise AssertionError(f"{project} lists {shown} after {seconds} s instead of {sorted(filenames)}")
        time.sleep(0.05)
