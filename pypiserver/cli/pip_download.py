"""The pip command that downloads one release: to show to a user, or to run.

**Invariants:** the name of a project, folder or index never becomes an option of pip or a word of a shell; a shown
command contains no password; a run command asks the named index and no other.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from packaging.utils import NormalizedName
from packaging.version import Version

from ..upstream.client import shown_url

Runner = Callable[[Sequence[str], Mapping[str, str]], int]

# The pip settings in the environment that say how to reach an index; we decide what to download, and where to.
_SETTINGS = frozenset(
    ("PIP_CERT", "PIP_CLIENT_CERT", "PIP_TIMEOUT", "PIP_RETRIES", "PIP_CACHE_DIR", "PIP_NO_CACHE_DIR", "PIP_NO_INPUT")
)


@dataclass(frozen=True, slots=True)
class Download:
    """A release to download from the index at ``url`` into a folder; only built distributions unless told otherwise."""

    project: NormalizedName
    version: Version
    folder: Path
    url: str
    allow_sdist: bool = False


def shown_command(download: Download) -> list[str]:
    """The command for a user; pip asks for the password of an index, or finds it in netrc."""
    # pip ignores an index without TLS, unless its host is trusted or this machine.
    trusted = ["--trusted-host", _host(download.url)] if download.url.startswith("http:") else []
    return ["pip", *_arguments(download, ["--index-url", shown_url(download.url), *trusted])]


def command(download: Download) -> list[str]:
    """The argument list to run with this Python's pip.

    The index is in :func:`environment`: it may have a password, and every user can read argument lists.
    """
    # Without -P the working folder, which other users may be able to write to, could contain a module called pip.
    safe = ["-P"] if sys.version_info >= (3, 11) else []
    return [sys.executable, *safe, "-m", "pip", *_arguments(download, [])]


def environment(download: Download, environ: Mapping[str, str]) -> dict[str, str]:
    """This environment with the index to use, and without the settings that make pip ask another index."""
    kept = {name: value for name, value in environ.items() if not name.startswith("PIP_") or name in _SETTINGS}
    if download.url.startswith("http:"):
        kept["PIP_TRUSTED_HOST"] = _host(download.url)
    kept |= {
        "PIP_INDEX_URL": download.url,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    return kept


def run_pip(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run pip and return its exit status; its output goes to standard error, apart from our report."""
    return subprocess.run(words, env=dict(environ), stdout=2, check=False).returncode  # noqa: S603


def as_shell_line(words: Sequence[str]) -> str:
    """The words as a line to paste into a shell.

    Unprintable characters are escaped in the way of bash, zsh and POSIX 2024, so that no terminal interprets them.
    """
    return " ".join(map(_quoted, words))


def _arguments(download: Download, index: Sequence[str]) -> list[str]:
    built_only = [] if download.allow_sdist else ["--only-binary", ":all:"]
    folder = str(download.folder.absolute())  # absolute, so it cannot begin with a dash
    requirement = f"{download.project}=={download.version}"
    return ["-q", "download", "--no-deps", *built_only, *index, "-d", folder, "--", requirement]


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _quoted(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    letters = (chr(each) if 32 <= each < 127 and each not in b"\\'" else f"\\{each:03o}" for each in os.fsencode(word))
    return f"$'{''.join(letters)}'"
