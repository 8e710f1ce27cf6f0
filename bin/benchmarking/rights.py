"""What rights and tokens cost: a page for users with rights, and lists for users who may see some of the projects.

Lists are asked of the application in this process, and measured by its CPU: each round changes a file, so the list of
all projects and that of some are both made again.
"""

from __future__ import annotations

import io
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import corpus as corpora
from .measures import Figures
from .targets import Corpus

LINES = 100
ROUNDS = 5
SETTLE_SECONDS = 2.5


def write_rights(path: Path, user: str, project: str) -> Path:
    """A rights file of a hundred lines, the last of which lets the user read the project."""
    others = [f"user{number} read,upload team{number}-* !team{number}-secret-*" for number in range(LINES - 3)]
    path.write_text("\n".join(["group staff: user", *others, "@staff read acme-*", f"{user} read {project}"]) + "\n")
    old = time.time() - corpora.AGE_SECONDS
    os.utime(path, (old, old))
    return path


def lists(subject: Corpus, rounds: int = ROUNDS) -> Figures:
    """CPU milliseconds of the lists of all projects, and what those of half of them take of that."""
    import pypiserver

    rights = subject.scratch / "rights-of-lists"
    starts = [f"project-{number}*" for number in range(1, 6)]
    rights.write_text("all read *\n" + "".join(f"some read {start}\n" for start in starts))
    application = pypiserver.app(roots=[str(subject.folder)], rights=str(rights), auther=lambda user, password: True)
    application.survey()
    while application.backend.catalog.pending_count():
        application.backend.digester.digest_some()
    found: dict[str, list[float]] = {}
    for number in range(rounds):
        name, data = corpora.wheel("of_rights", f"{number}.0")
        (subject.folder / name).write_bytes(data)
        application.survey()
        for path in ("/simple/", "/projects/"):
            for user in ("all", "some"):
                for moment in ("first", "kept"):
                    found.setdefault(f"{path} {user} {moment}", []).append(_cpu_ms(application, path, user))
        (subject.folder / name).unlink()
    application.close()
    ms = {case: statistics.median(each) for case, each in found.items()}
    figures = {f"{case} ms CPU": value for case, value in ms.items()}
    return figures | {
        f"{path} of some : of all": ms[f"{path} some first"] / ms[f"{path} all first"]
        for path in ("/simple/", "/projects/")
    }


def _cpu_ms(application: Callable[..., Any], path: str, user: str) -> float:
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_ACCEPT": "application/vnd.pypi.simple.v1+json" if path == "/simple/" else "text/html",
        "HTTP_ACCEPT_ENCODING": "gzip",
        "HTTP_AUTHORIZATION": {"all": "Basic YWxsOng=", "some": "Basic c29tZTp4"}[user],
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.url_scheme": "http",
    }
    seen: list[str] = []
    began = time.process_time()
    body = application(environ, lambda status, headers, error=None: seen.append(status))
    b"".join(body)
    took = (time.process_time() - began) * 1000
    if seen != ["200 OK"]:
        raise RuntimeError(f"{path}: {seen}")
    return took
