"""A process that changes a bucket and is killed just before one of the steps of that: ``main`` is run by the tests.

WORDS is a file that gets the name of every step that is reached; STEP 0 is never reached, so all of them are.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pypiserver
from pypiserver.bucket import ownership
from tests.make_archives import make_wheel
from tests.unit.storage_contract import post
from tests.unit.wsgi import Answer, Client

FOO, BEFORE = make_wheel("foo", "1.0", summary="before")
AFTER = make_wheel("foo", "1.0", summary="after")[1]
SIGNED = {"gpg_signature": "signed"}
# What is done, what the server is told, and what the bucket holds before.
CHANGES: dict[str, tuple[Callable[[Client], Answer], dict[str, object], bytes | None]] = {
    "upload": (lambda client: client.upload(FOO, AFTER, fields=SIGNED), {}, None),
    "replace": (lambda client: client.upload(FOO, AFTER, fields=SIGNED), {"overwrite": True}, BEFORE),
    "remove": (lambda client: post(client, "remove_pkg", name="foo", version="1.0"), {}, BEFORE),
    "yank": (lambda client: post(client, "yank", name="foo", version="1.0", reason="bad"), {}, BEFORE),
    "unyank": (lambda client: post(client, "unyank", name="foo", version="1.0"), {}, BEFORE),
}
STORE = ("put", "delete", "list", "head")
# No one else is about to claim the bucket of a test, so no one is waited for.
NO_RIVALS = 0.0
CATALOG = ("add", "replace", "apply", "sweep")


class Steps:
    """Counts steps, and kills this process before the one that is chosen."""

    def __init__(self, chosen: int, words: Path) -> None:
        self._chosen = chosen
        self._words = words
        self._number = 0

    def around(self, what: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            self._number += 1
            if self._number == self._chosen:
                os.kill(os.getpid(), signal.SIGKILL)
            with self._words.open("a") as file:
                file.write(f"{what}{named(arguments)}\n")
            return call(*arguments, **options)

        return step


def named(arguments: tuple[Any, ...]) -> str:
    """What a key ends with, if the step has one."""
    key = arguments[0] if arguments and isinstance(arguments[0], str) else ""
    name = key.rpartition("/")[2]
    return f" {name.removeprefix(FOO) or 'file'}" if name.startswith(FOO) else ""


def client_of(storage: str, catalog: str | Path, **settings: object) -> tuple[Any, Client]:
    open_to_all = {"password_file": ".", "authenticate": ".", "fallback": False, "downloads": "stream"}
    application: Any = pypiserver.app(storage=storage, catalog=catalog, **open_to_all, **settings)
    return application, Client(application)


def main(environ: dict[str, str], storage: str, catalog: str, change: str, step: int, words: Path) -> None:
    # The process that this one was forked from may be older than the credentials.
    os.environ.clear()
    os.environ.update(environ)
    do, settings, _ = CHANGES[change]
    ownership.CONFIRM_SECONDS = NO_RIVALS
    application, client = client_of(storage, catalog, **settings)
    # What continues without being asked for would be counted too.
    client.get("/simple/")
    application.backend.indexer._closing.set()
    for thread in application.backend.indexer._threads:
        thread.join()
    steps = Steps(step, words)
    for owner, names in ((application.backend.storage.objects, STORE), (application.backend.catalog, CATALOG)):
        for name in names:
            setattr(owner, name, steps.around(name, getattr(owner, name)))
    answer = do(client)
    assert answer.status == 200, answer
