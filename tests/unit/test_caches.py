"""Every memory that lives as long as the process is bounded in bytes, its keys included, or a reason is given here.

Found by reading the code: what ``functools`` remembers, what is made of :mod:`pypiserver.bounded_cache` and
:mod:`pypiserver.web.http.page_cache`, and tables, sets, lists and
queues that a module, or a long-lived object, keeps empty to be filled.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

CODE = Path(__file__).resolve().parents[2] / "pypiserver"
# These count bytes, keys included: see test_remembered and test_simple_api.
BOUNDED = {"BoundedCache", "OnceLog", "PageCache", "CachedPages", "StaleIfErrorCache"}
CACHES = {"lru_cache", "cache", "cached_property"}
CONTAINERS = {
    *("dict", "list", "set", "deque", "defaultdict", "OrderedDict", "Counter", "bytearray", "BytesIO"),
    *("WeakKeyDictionary", "WeakValueDictionary", "WeakSet", "Queue", "SimpleQueue", "LifoQueue", "PriorityQueue"),
}
# What else is kept, and why it does not grow with what strangers, packages or a long life bring.
REASONS = {
    "server.rsgi.Adapter._tasks": "one for each connection, of which there are as many as the operator says",
    "server.thread_pool.Pool._queue": "WAITING_EACH requests for each thread, and one step of each connection",
    "cli.serving._APPLICATIONS": "the applications that exist",
    "process._holders": "what the applications that exist have for each process",
    "web.api.upload_form._Limited.data": "of one request; it has a limit",
    "web.http.multipart._Value.data": "of one request; it has a limit",
    "web.http.request_body.Gathered._data": "of one request; it has a limit",
    "server.thread_pool.Pool._threads": "as many as the operator says",
    "server.response_body.Descriptors._free": "as many numbers as were held at once, and 64",
    "server.response_body.Sender._held": "one for each connection, of which there are as many as the operator says",
    "server.response_body.Sender._watched": "one for each connection, of which there are as many as the operator says",
    # Functions of functools.
    "observability.access_log._Answered.text": "of one note, which is of bounded length",
    "observability.access_log._Answered.json": "of one note, which is of bounded length",
    "observability.access_log._Answered.end": "of one note, which is of bounded length",
    "observability.access_log._Answered.short": "of one note, which is of bounded length",
    "cli.commands.completion.Completion.table": "the commands there are",
    "cli.commands.help.Help.table": "the commands there are",
    "observability.access_log._known": "2048 notes whose texts have 200 characters together",
    "catalog.full_text.has_fts5": "no arguments",
    "catalog.postgres.driver._connection_class": "no arguments",
    "catalog.postgres.driver.has_pipelines": "no arguments",
    "catalog.postgres.driver._text_dumper": "no arguments",
    "bounded_cache.short_texts.decorate.known": "as many texts, and as long ones, as each use of it says",
    "proxy.file_limits._platforms": "64 lists of words of the settings",
    "formats.negotiation._known_coding": "256 headers of up to 512 characters",
    "formats.negotiation._known_form": "256 headers of up to 512 characters",
    "native_names.say_other_locale": "no arguments",
    "folder.safe_open._has_descriptors": "no arguments",
    "folder.tmpfile.has_unnamed": "folders of ours, by paths that have a limit",
    "backend.os_calls._renameat2": "no arguments",
    "cli.update._tags": "no arguments",
    "web.http.compression._zstd": "no arguments",
    "web.html.pages._names": "no arguments",
    "web.html.pages._read": "names of our own files",
    "web.html.pages._template": "names of our own files",
    "web.html.readme._say_missing": "no arguments",
    "web.html.readme._is_installed": "no arguments",
    "web.html.renderer_worker._prepared": "no arguments",
    "web.http.conditional._http_date": "4096 numbers",
    "access.password_hashes._handler": "the names of the four schemes that passlib checks",
    "access.token_record._scope": "256 scopes, each of a line of MAX_LINE bytes",
    # Tables and queues.
    "bucket.cache_uses.TableUses._new": "MOST_NEW, and those of the time that a write takes",
    "bucket.cache_tables._Ready.held": "files that are being fetched, as many as the operator says",
    "folder.cache_uses.Uses._new": "MOST_NEW, and those of the time that a write takes",
    "folder.shared_fetch.SharedFetches._ours": "files that are being fetched, as many as the operator says",
    "proxy.lanes.Jobs._jobs": "those of its lanes",
    "proxy.files.ProxyFiles._transfers": "those of its lanes",
    "proxy.lanes.Lanes._lanes": "the indexes that the operator names",
    "proxy.lanes.Waiters._calls": "one for each request that waits, and so for each connection",
    "proxy.lanes._Lane.queue": "as many as Lanes is told",
    "proxy.transfer.Transfer._memory": "WINDOW_BYTES",
    "proxy.transfer.Transfer._readers": "one for each request that reads, and so for each connection",
    "access.password_file.Table.entries": "the lines of the password file",
    "access.token_uses._Notes.hours": "MOST tokens",
    "access.token_uses._Notes.new": "the valid tokens, until they are written down",
    "catalog.postgres.leader_lock.PostgresLeaderLock._inherited": "connections of a parent process, left as they are",
    "process.PerProcess._inherited": "what a parent process had, left as it is; one value for each fork",
    "bucket.copy_endpoint.BucketEndpoint._paths": "of one command",
    "maintenance.copy.Report.left_out": "of one command",
    "observability.log_handlers.EARLIER": "one function for each application of this process, removed when it closes",
    "observability.request_events._Group.waiting": "20,000 notes",
    "observability.download_statistics.Downloads._waiting": "100,000 versions, while they cannot be written",
    "index.upload_checks.Upload.fields": "of one request; --max-form-size is its limit",
    "folder.digest_worker.DigestWorker._changed": "files that the next round looks at",
    "access.file_watch.FileWatch._entries": "MOST folders and files, with names on the way to files of settings",
    "catalog.admitted_names.AdmittedNames._known": "MAX_BYTES of sets, but the newest",
    "catalog.admitted_names._SETS": "the sets that exist: those that are known, and those of queries that run",
    "folder.journal.Journal._devices": "the file systems of the folders",
    "folder.journal.Journal._identities": "one for each folder that is served",
    "folder.journal.Journal._names": "names of MOST_BYTES at most",
    "folder.journal.Journal._places": "MOST_FOLDERS folders",
    "folder.presence.Presence._listed": "the names of 64 folders, 10,000 at most",
    "folder.presence.Presence._roots": "one for each folder that is served, of MOST_NAMES names at most",
    "folder.presence.Presence._shared": "the file systems of the folders",
    "folder.presence.Presence._large_roots": "a number for each folder that is served",
    "folder.root_guard.RootGuard._known": "the folders of the settings",
    "folder.root_guard.RootGuard._mounts": "file systems that are mounted",
    "server.slow_clients.SlowConnectionReaper._seen": "the connections there are, looked at anew each time",
    "backend.stored_file.ScanResult.entries": "of one scan",
    "backend.stored_file.ScanResult.folders": "of one scan",
    "backend.stored_file.ScanResult.mounts": "of one scan",
    "backend.stored_file.ScanResult.skipped": "of one scan",
    "backend.mounts.Devices._odd": "file systems that are mounted now",
    "folder.atomic._Steps._kept": "of one upload",
    "folder.atomic._Steps._locked": "of one upload",
    "folder.atomic._Steps._parts": "of one upload",
    "folder.atomic._Steps._undo": "of one upload",
    "folder.sidecars.Sidecars._parts": "of one scan",
    "upstream.page_parser._Page.files": "of one page, MAX_FILES at most",
    "upstream.netrc_file.NetrcFile._known": "the two files of netrc",
    "upstream.http_client.HttpClient._pools": "one for each proxy that the environment names",
    "folder.scan_thread.ScanThread._growing": "files of the last second, as the last look found them",
    "web.html.sanitizer._Writer._open": "of one description, which has a limit",
    "web.html.sanitizer._Writer._parts": "of one description, which has a limit",
    "web.api.upload_form.Form.fields": "of one request; --max-form-size is its limit",
    "access.authentication.Authenticator._flights": "one for each request that is answered",
    "access.foreign_check.ForeignCheck._running": "the calls that run, of which there is a limit",
    "access.foreign_check.ForeignCheck._said": "16 names of classes",
    "access.password_file.HtpasswdFile._missing": "the names of the schemes that passlib checks",
    "catalog.name_filter.NameFilter._texts": "two texts of its patterns, counted with them by access.rights",
    "access.rights.Rights._by_who": "the lines of the rights file, which has a limit",
    "access.rights.Rights._parents": "the groups of the rights file, which has a limit",
    "backend.service.BackgroundService._threads": "the threads of this process",
    "folder.fs_events.Watcher._threads": "the threads of watchdog, noted anew at each start",
    "access.live_file._TOLD": "one digest for each file of passwords or rights of the settings",
    "access.password_file._TOLD_OF_PLAIN": "the password files of the settings",
    "supervisor._said": "64 kinds of failures; then it is emptied",
    "observability.logging_setup._warned": "one text: what is said once is not said again",
    "web.html.renderer._Queue._jobs": "16 descriptions that wait, each of a limited length",
    "catalog.postgres.pool._Lent.idle": "connections, of which there is a limit",
    "backend.digester.Digester._locks": "projects that are digested at this moment",
    "folder.fs_events.Changes.closed": "at most a thousand before all is looked at instead, and taken every second",
    "folder.fs_events.Changes.files": "at most a thousand before all is looked at instead, and taken every second",
    "folder.partial_files.PartialFileTracker._closed": "forgotten with each look at everything",
    "folder.partial_files.Missing._since": "files that vanished in the last two seconds, forgotten after a minute",
    "folder.partial_files.PartialFileTracker._seen": "files of the last second, forgotten when there are many",
    "web.http.page_cache.Page.answers": "at most MAX_ANSWERS of each page, counted with it",
    "web.http.page_cache.Page._encoded": "its codings, which its cache counts",
    "web.http.page_cache.PageCache._pages": "it counts bytes, keys included",
    "web.http.page_cache.PageMemory._caches": "one for each kind of pages",
    "proxy.back_off.BackOff._failed": "as many projects as make an index count as down",
    "proxy.flights.Flights._flights": "questions of requests and threads, of which there is a limit",
    "proxy.name_lists._Links._names": "names in a piece of a list, taken after each piece",
    "web.http.single_flight.SingleFlight._flights": "what is made at this moment; the last request takes it out",
    "bounded_cache.BoundedCache._values": "it counts bytes, keys included",
    "bounded_cache.Skipped._said": "ten files of each of a thousand kinds",
    "bounded_cache.Skipped._more": "a number for each of a thousand kinds",
    "bounded_cache.Skipped._told": "a number for each of a thousand kinds",
}


def found_in(path: Path) -> Iterator[str]:
    """The names of what is kept, as ``module.Class.name``; those that are bounded by their kind are left out."""
    module = ".".join(path.relative_to(CODE).with_suffix("").parts)
    yield from _found(ast.parse(path.read_text("utf-8")), module, "", is_kept=True)


def _found(node: ast.AST, where: str, owner: str, *, is_kept: bool) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _found(child, f"{where}.{child.name}", f"{where}.{child.name}", is_kept=False)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            if any(_is_cache(each) for each in child.decorator_list):
                yield f"{where}.{child.name}"
            inner = where if owner == where else f"{where}.{child.name}"
            yield from _found(child, inner, owner, is_kept=False)
        else:
            if isinstance(child, ast.Assign | ast.AnnAssign) and child.value is not None:
                for target, value in _assigned(child, child.value):
                    names = list(_names(target))
                    lives = [name for name in names if is_kept or name.startswith("self.")]
                    if _makes_cache(value):
                        yield from (f"{where}.{name.removeprefix('self.')}" for name in names)
                    elif _is_filled_later(value):
                        yield from (f"{owner or where}.{name.removeprefix('self.')}" for name in lives)
                    elif owner == where and isinstance(node, ast.ClassDef) and _is_field_of_container(value):
                        yield from (f"{where}.{name}" for name in names)
            yield from _found(child, where, owner, is_kept=is_kept)


def _assigned(child: ast.Assign | ast.AnnAssign, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Each target with its value; ``a, b = 1, {}`` are two."""
    for target in child.targets if isinstance(child, ast.Assign) else [child.target]:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            yield from zip(target.elts, value.elts, strict=True)
        else:
            yield target, value


def _names(target: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
        yield f"self.{target.attr}"
    elif isinstance(target, ast.Tuple):
        for each in target.elts:
            yield from _names(each)


def _called(node: ast.expr) -> str:
    """The last name of what is called, without its type parameters."""
    if isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Subscript):
        node = node.value
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is_cache(decorator: ast.expr) -> bool:
    return _called(decorator) in CACHES


def _makes_cache(value: ast.expr) -> bool:
    """``functools.lru_cache(maxsize=1)(function)``."""
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Call) and _called(value.func) in CACHES


def _is_filled_later(value: ast.expr) -> bool:
    """An empty table, set or list, or a queue: it is there to grow."""
    if isinstance(value, ast.Tuple):
        return any(map(_is_filled_later, value.elts))
    if isinstance(value, ast.Dict | ast.List | ast.Set):
        return not (value.keys if isinstance(value, ast.Dict) else value.elts)
    return isinstance(value, ast.Call) and _called(value) in CONTAINERS and not value.args


def _is_field_of_container(value: ast.expr) -> bool:
    """``field(default_factory=dict)``."""
    return (
        isinstance(value, ast.Call)
        and _called(value) == "field"
        and any(each.arg == "default_factory" and _called(each.value) in CONTAINERS for each in value.keywords)
    )


def test_every_memory_is_bounded_in_bytes_or_says_why_it_does_not_grow() -> None:
    found = {name for path in sorted(CODE.rglob("*.py")) for name in found_in(path)}
    assert sorted(found - set(REASONS)) == []
    assert sorted(set(REASONS) - found) == [], "no longer there"


def test_new_memories_are_found(tmp_path: Path) -> None:
    code = """
import functools
from collections import deque
KNOWN = {}
@functools.lru_cache(maxsize=4)
def parse(raw: bytes) -> int: return 1
again = functools.cache(len)
short = functools.lru_cache(maxsize=9)(len)
class Reader:
    def __init__(self):
        self._said: set[str] = set()
        self.last, self._pages = 1, {}
        self._versions: tuple[int, dict[str, str]] = (0, {})
        self._work: queue.SimpleQueue[str] = queue.SimpleQueue()
        here = {}
        self._queue = deque(maxlen=5)
"""
    tree = ast.parse(code)
    found = set(_found(tree, "m", "", is_kept=True))
    assert {"m.KNOWN", "m.parse", "m.short", "m.Reader._said", "m.Reader._queue"} <= found
    assert {"m.Reader._pages", "m.Reader._versions", "m.Reader._work"} <= found
    assert "m.Reader.here" not in found
