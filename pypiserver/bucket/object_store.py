"""An object store behind six plain calls; the only file that imports obstore.

**Invariants:** obstore is not used before a fork, because its threads do not survive one, so each process makes its
store at its first call; every failure is Unavailable, Forbidden or NotFound, and says which store and why; retries are
few and short, because a client waits; credentials and endpoint come from the vendors' own variables.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, BinaryIO, NamedTuple

from ..errors import ConfigError, Forbidden, NotFound, PypiServerError, Unavailable
from ..process import PerProcess
from .presign import signed_at

EXTRA = "pypiserver[objectstore]"
# The defaults (180 s and ten tries) wait longer than a client does.
MAX_RETRIES = 2
RETRY_SECONDS = 10
# Seconds for one request from its first to its last byte; a caller that needs longer requests the rest again.
TIMEOUT_SECONDS = 30
CONNECT_SECONDS = 5
# Every writer of the catalog waits while objects are deleted, and gives up after ten seconds.
DELETE_SECONDS = 4
# A larger file is sent in parts of this size, several at once: memory stays below the product of the two.
PART_BYTES = 8 << 20
PARTS_AT_ONCE = 2
# The number of keys in one answer of a store.
PAGE = 1000
# The schemes of stores to which clients can be redirected with a signed address.
S3 = ("s3", "s3a")
SIGNING = (*S3, "gs", "az", "azure", "abfs", "abfss", "adl")
_QUERY = re.compile(r"\?\S*")
_STATUS = re.compile(r"status code: (401|403|404)\b")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class StoredObject(NamedTuple):
    """An object: its key, its size in bytes, and the time of its last write.

    The time is in nanoseconds since the epoch (UTC), a whole number of seconds.
    """

    key: str
    size: int
    modified_ns: int


class ObjectStoreClient:
    """The objects below ``url`` (``s3://bucket/prefix``, ``gs://...``, ``az://...``); constructing it opens nothing.

    Every call raises Unavailable if the store fails or does not answer. ``public_endpoint`` is the endpoint of signed
    addresses, for S3 only. Raises ConfigError if the environment names a different endpoint.
    """

    def __init__(self, url: str, *, public_endpoint: str | None = None) -> None:
        if public_endpoint is not None and os.environ.get("AWS_ENDPOINT_URL_S3"):
            raise ConfigError(
                "--public-storage-endpoint: AWS_ENDPOINT_URL_S3 is preferred to every other endpoint; "
                "give what it says as AWS_ENDPOINT_URL, and leave it out.",
                kind="contradiction",
                setting="public_storage_endpoint",
            )
        self.url = url
        self._public_endpoint = public_endpoint
        self._lock = threading.Lock()
        # A child process does not use the stores of its parent.
        self._made: PerProcess[dict[tuple[int, str | None], Any]] = PerProcess(dict)

    @property
    def can_sign(self) -> bool:
        """Whether :meth:`sign` can give an address."""
        return self._scheme in SIGNING

    @property
    def _scheme(self) -> str:
        return self.url.partition("://")[0]

    def put(self, key: str, content: bytes | BinaryIO) -> None:
        """Store an object whole or not at all, replacing one with that key; reads a file from its current position."""
        obstore = _obstore()
        with self._answering("put", key, refused=Forbidden):
            if isinstance(content, bytes):
                obstore.put(self._store(), key, content)
            else:
                obstore.put(self._store(), key, content, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)

    def get(self, key: str) -> bytes:
        """The whole of a small object; raises NotFound."""
        obstore = _obstore()
        with self._answering("get", key):
            return bytes(obstore.get(self._store(), key).bytes())

    def read(self, key: str, start: int, stop: int, *, block: int) -> Iterator[bytes]:
        """The bytes from ``start`` up to ``stop``, in blocks of at least ``block`` bytes except the last.

        The request is sent at once, so NotFound is raised here and not by the iterator, which raises Unavailable.
        """
        obstore = _obstore()
        with self._answering("get", key):
            result = obstore.get(self._store(), key, options={"range": (start, stop)})
            if result.range != (start, stop):
                raise Unavailable(f"The object {key} in {self.url} has become another one.")
            return self._blocks(key, result.stream(min_chunk_size=block))

    def _blocks(self, key: str, stream: Iterator[bytes]) -> Iterator[bytes]:
        with self._answering("get", key):
            for piece in stream:
                yield bytes(piece)

    def head(self, key: str) -> StoredObject | None:
        """The size and time of an object, None if it does not exist."""
        obstore = _obstore()
        try:
            with self._answering("head", key):
                return _described(obstore.head(self._store(), key))
        except NotFound:
            return None

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, at least one; a key without an object is ignored."""
        obstore = _obstore()
        # Some stores report a missing object as an error: then each object is deleted by a request of its own.
        with contextlib.suppress(NotFound), self._answering("delete", keys[0], refused=Forbidden):
            obstore.delete(self._store(DELETE_SECONDS), list(keys))
            return
        for key in keys:
            with contextlib.suppress(NotFound), self._answering("delete", key, refused=Forbidden):
                obstore.delete(self._store(DELETE_SECONDS), key)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every object whose key begins with this prefix (whole path segments), in the store's order: by key."""
        obstore = _obstore()
        with self._answering("list", prefix):
            for page in obstore.list(self._store(), prefix, chunk_size=PAGE):
                yield from map(_described, page)

    def sign(self, key: str, seconds: int, since: int) -> str:
        """An address at which any client can GET the object from ``since`` (seconds since the epoch) for ``seconds``.

        With a secret key of S3, every process signs the same address; without one, the period starts now.
        """
        obstore = _obstore()
        with self._answering("sign", key):
            store = self._store(endpoint=self._public_endpoint)
            address: str = obstore.sign(store, "GET", key, timedelta(seconds=seconds))
        secret = os.environ.get("AWS_SECRET_ACCESS_KEY") if self._scheme in S3 else None
        return (secret and signed_at(address, secret, since)) or address

    def _store(self, seconds: int = TIMEOUT_SECONDS, *, endpoint: str | None = None) -> Any:
        """The store of this process with this time limit for requests; one with a short limit does not retry."""
        # A store in memory must stay the same one whatever the time limit.
        kind = (seconds if self.can_sign else 0, endpoint)
        made = self._made.get()
        if kind not in made:
            with self._lock:
                if kind not in made:
                    made[kind] = _open(self.url, seconds, endpoint)
        return made[kind]

    def refusal(self, error: PypiServerError) -> int:
        """The status of a final refusal by the store: 401, 403 (credentials), 404 (no bucket); 0 for other failures."""
        failures = _obstore().exceptions
        if isinstance(error.__cause__, failures.PermissionDeniedError | failures.UnauthenticatedError):
            return 403
        # obstore has no exception class for a refused listing.
        match = _STATUS.search(str(error.__cause__))
        return int(match[1]) if match else 0

    @contextlib.contextmanager
    def _answering(self, what: str, key: str, *, refused: type[PypiServerError] = Unavailable) -> Iterator[None]:
        """Translate the store's exceptions into ours."""
        failures = _obstore().exceptions
        try:
            yield
        except FileNotFoundError as error:
            raise NotFound(f"There is no object {key} in {self.url}.", public="There is no such file here.") from error
        except (failures.PermissionDeniedError, failures.UnauthenticatedError) as error:
            raise refused(
                f"The object store {self.url} refuses to {what} {key}: {_words(error)}. See to the credentials, and to "
                "what they may do.",
                public=refused.general,
            ) from error
        except (failures.BaseError, OSError, ValueError) as error:
            raise Unavailable(f"The object store {self.url} fails to {what} {key}: {_words(error)}.") from error


def _obstore() -> Any:
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ImportError:
        raise ConfigError(
            f"Object stores need the extra: pip install '{EXTRA}'.", kind="not-installed", setting="storage"
        ) from None
    return obstore


def require() -> None:
    """Raise ConfigError unless the extra is installed."""
    _obstore()


def _open(url: str, seconds: int, endpoint: str | None) -> Any:
    """The store at ``endpoint``, or at the endpoint that the environment names."""
    from_url = _obstore().store.from_url
    scheme = url.partition("://")[0]
    if scheme not in SIGNING:
        return from_url(url, mkdir=True) if scheme == "file" else from_url(url)
    return from_url(
        url,
        client_options={
            "timeout": timedelta(seconds=seconds),
            "connect_timeout": timedelta(seconds=min(seconds, CONNECT_SECONDS)),
            "allow_http": (endpoint or "").startswith("http:") or _may_be_plain(os.environ),
        },
        **({"endpoint": endpoint} if endpoint else {}),
        retry_config={
            "max_retries": MAX_RETRIES if seconds > RETRY_SECONDS else 0,
            "retry_timeout": timedelta(seconds=RETRY_SECONDS),
        },
    )


def _may_be_plain(environ: Any) -> bool:
    """Whether the operator named an endpoint without TLS."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")
    return any(environ.get(name, "").lower().startswith("http://") for name in names) or any(
        environ.get(name, "").lower() in ("1", "true") for name in ("AWS_ALLOW_HTTP", "AZURE_ALLOW_HTTP")
    )


def _described(meta: Any) -> StoredObject:
    # Listings tell milliseconds, and a HEAD (an HTTP date) whole seconds: one file must not have two times.
    since = meta["last_modified"] - _EPOCH
    modified_ns = (since.days * 86_400 + since.seconds) * 1_000_000_000
    return StoredObject(meta["path"], meta["size"], modified_ns)


def _words(error: BaseException) -> str:
    """The first line of the library's message, without queries, which may contain a signature."""
    line = str(error).strip().partition("\n")[0]
    return _QUERY.sub("", line)[:300].rstrip(". ")
