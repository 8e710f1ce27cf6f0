"""A whole cluster on loopback: a bucket, PostgreSQL, three replicas and nginx in front of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.buckets import ObjectStore
from tests.cluster.fronts import nginx_front
from tests.cluster.replicas import COUNT, Replica, replicas
from tests.cluster.services import Front, PostgreSQL


@dataclass(frozen=True)
class Cluster:
    """The parts; `url` is the proxy's."""

    store: ObjectStore
    bucket: str
    database: PostgreSQL
    replicas: list[Replica]
    front: Front

    @property
    def url(self) -> str:
        return self.front.url

    @property
    def urls(self) -> list[str]:
        return [each.url for each in self.replicas]


@contextmanager
def clustered(
    home: Path, store: ObjectStore, database: PostgreSQL, *arguments: str | Path, count: int = COUNT
) -> Iterator[Cluster]:
    """Replicas with an empty bucket and an empty database; `arguments` go to each."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    bucket, address = store.create(name), database.create(name)
    with ExitStack() as stack:
        given = ("--storage", bucket, "--catalog", address, "--drain-seconds", "3", *arguments)
        made = stack.enter_context(replicas(home, *given, environ=store.environ, count=count))
        ports = [each.port for each in made]
        front = stack.enter_context(nginx_front([*ports, *ports, *ports][:COUNT]))
        yield Cluster(store, bucket, database, made, front)
