"""Many at once, any order, and failures in between: what is stored is what was acknowledged."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import pypiserver
from pypiserver.access.guard import Access, Permit
from pypiserver.access.principal import ANONYMOUS
from pypiserver.catalog import Digest
from pypiserver.errors import Conflict, NotFound, PypiServerError, Unavailable
from pypiserver.factory.application import Application
from pypiserver.index.publish import PublishingService
from pypiserver.index.read import Repository
from pypiserver.index.upload_checks import Upload
from pypiserver.web.api.change_recorder import Recorder
from tests.make_archives import make_sdist, make_wheel
from tests.raising import raises

from ..faults import Faults, tree
from ..wsgi import Client

Serve = Callable[..., Client]


# Of a sender who may replace files, or not.
PERMITS = {each: Permit(Access(None, overwrite=each), ANONYMOUS) for each in (False, True)}


def add(
    intake: PublishingService,
    filename: str,
    content: bytes,
    *,
    signature: bytes | None = None,
    overwrite: bool = False,
    **fields: str,
) -> str:
    """Upload as the web layer does."""
    permit = PERMITS[overwrite]
    dist, staged = intake.stage(filename, permit)
    try:
        staged.write(content)
        return intake.add(Upload(dist, staged, permit, fields, signature))
    finally:
        staged.discard()


def together(count: int, each: Callable[[int], object]) -> list[Any]:
    """What each of so many threads got, or the type of what it was refused with."""
    outcomes: list[Any] = [None] * count
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        barrier.wait()
        try:
            outcomes[number] = each(number)
        except PypiServerError as error:
            outcomes[number] = type(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@pytest.fixture
def application(serve: Serve) -> Application:
    application: Application = serve()._application
    return application


def listed(repository: Repository, project: str = "foo") -> dict[str, str]:
    try:
        return {file.filename: file.sha256 for file in repository.project(project).files}
    except NotFound:
        return {}


VARIANTS = [make_wheel("foo", "1.0", summary=str(number))[1] for number in range(16)]
SDISTS = [make_sdist("foo", "1.0", extra_members={"foo-1.0/x": b"%d" % number})[1] for number in range(16)]


def test_sixteen_who_upload_the_same_bytes_all_succeed(application: Application, root: Path) -> None:
    # An sdist: one that was just written is not listed by a scan, so only storage can tell.
    outcomes = together(16, lambda number: add(application.intake, "foo-1.0.tar.gz", SDISTS[0]))
    assert all(isinstance(outcome, str) for outcome in outcomes)
    assert set(tree(root)) == {"foo-1.0.tar.gz"}
    assert listed(application.repository) == {"foo-1.0.tar.gz": hashlib.sha256(SDISTS[0]).hexdigest()}


def test_a_client_that_is_told_of_a_file_can_read_it_at_once(application: Application) -> None:
    def store(number: int) -> dict[str, str]:
        add(application.intake, "foo-1.0.tar.gz", SDISTS[0])
        return listed(application.repository)

    assert together(8, store) == [{"foo-1.0.tar.gz": hashlib.sha256(SDISTS[0]).hexdigest()}] * 8


def test_of_many_who_overwrite_the_last_one_stays_whole(serve: Serve, root: Path) -> None:
    application: Application = serve()._application
    name = "foo-1.0-py3-none-any.whl"
    add(application.intake, name, VARIANTS[0])
    outcomes = together(12, lambda number: add(application.intake, name, VARIANTS[number], overwrite=True))
    assert all(isinstance(outcome, str) for outcome in outcomes)
    assert set(tree(root)) == {name} and (root / name).read_bytes() in VARIANTS
    assert listed(application.repository) == {name: hashlib.sha256((root / name).read_bytes()).hexdigest()}


def test_who_tells_the_catalog_last_is_not_believed_against_storage(serve: Serve, root: Path) -> None:
    application: Application = serve()._application
    name = "foo-1.0-py3-none-any.whl"
    catalog = application.backend.catalog
    real, calls, may_go_on = catalog.add, [0], threading.Event()

    def slow_first(*arguments: Any) -> None:
        calls[0] += 1
        if calls[0] == 1:
            assert may_go_on.wait(30)
        real(*arguments)

    catalog.add = slow_first  # type: ignore[method-assign]
    first = threading.Thread(target=add, args=(application.intake, name, VARIANTS[0]), kwargs={"overwrite": True})
    first.start()
    while not calls[0]:
        first.join(0.01)
    add(application.intake, name, VARIANTS[1], overwrite=True)
    may_go_on.set()
    first.join()
    assert (root / name).read_bytes() == VARIANTS[1]
    assert listed(application.repository) == {name: hashlib.sha256(VARIANTS[1]).hexdigest()}


def test_two_uploads_of_one_project_do_not_hide_each_other(application: Application) -> None:
    outcomes = together(12, lambda number: add(application.intake, *make_wheel("foo", f"1.{number}")))
    assert all(isinstance(outcome, str) for outcome in outcomes)
    assert len(listed(application.repository)) == 12


def test_a_file_that_could_not_be_read_once_is_listed_when_its_bytes_are_uploaded(
    application: Application, put: Callable[..., Path]
) -> None:
    put("foo-1.0.tar.gz", SDISTS[0])
    application.backend.digester.digest = lambda file: Digest("", fault="I/O error")  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        application.repository.project("foo")
    add(application.intake, "foo-1.0.tar.gz", SDISTS[0])
    assert listed(application.repository) == {"foo-1.0.tar.gz": hashlib.sha256(SDISTS[0]).hexdigest()}
    with pytest.raises(Conflict):
        add(application.intake, "foo-1.0.tar.gz", SDISTS[1])


def test_an_archive_that_cannot_be_read_back_is_an_outage(application: Application, root: Path) -> None:
    class Broken:
        def __init__(self, staged: Any) -> None:
            self._staged = staged

        def __getattr__(self, name: str) -> Any:
            return getattr(self._staged, name)

        def reader(self) -> Any:
            return open("/proc/self/mem", "rb")  # a regular file that gives EIO

    dist, staged = application.intake.stage("foo-1.0-py3-none-any.whl", PERMITS[False])
    staged.write(VARIANTS[0])
    with raises(Unavailable, kind="unreadable", filename="foo-1.0-py3-none-any.whl"):
        application.intake.add(Upload(dist, Broken(staged), PERMITS[False]))  # type: ignore[arg-type]
    staged.discard()
    assert tree(root) == {}


@dataclass(frozen=True)
class Stored:
    """What the model knows of a file."""

    content: bytes
    signature: bytes | None = None
    yanked: str | None = None


FILES = {
    name: [make(project, version, summary=str(number))[1] for number in range(3)]
    for project, version, make, name in [
        ("foo", "1.0", make_wheel, "foo-1.0-py3-none-any.whl"),
        ("bar", "1.0", make_wheel, "bar-1.0-py3-none-any.whl"),
    ]
}
RELEASES = {name: (name.split("-")[0], name.split("-")[1]) for name in FILES}
names = st.sampled_from(sorted(FILES))
signatures = st.sampled_from([None, b"one", b"two"])


class Model(RuleBasedStateMachine):
    """Uploads, overwrites, yanks, removals, restores and failures in any order, against a dictionary (P1, P3)."""

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.root = self.folder / "packages"
        self.root.mkdir()
        self.application: Any = pypiserver.app(
            roots=[self.root], password_file=".", authenticate=".", catalog=self.folder / "catalog.sqlite"
        )
        self.repository: Repository = self.application.repository
        self.backend: Any = self.application.backend
        # What the background sees half way, and looks at again a moment later, is another test's matter.
        self.backend.indexer.ensure_current()
        self.backend.indexer.close()
        self.backend.indexer.ensure_current = lambda: None  # type: ignore[method-assign]
        self.good = self.backend.storage._operations
        self.intake = PublishingService(self.backend, recorder=Recorder(None))
        self.files: dict[str, Stored] = {}
        self.trash: dict[str, Stored] = {}

    def teardown(self) -> None:
        self.application.close()
        shutil.rmtree(self.folder)

    @rule(name=names, variant=st.integers(0, 2), signature=signatures, overwrite=st.booleans())
    def upload(self, name: str, variant: int, signature: bytes | None, overwrite: bool) -> None:
        content, standing = FILES[name][variant], self.files.get(name)
        try:
            add(self.intake, name, content, signature=signature, overwrite=overwrite)
        except Conflict:
            assert standing is not None and standing.content != content and not overwrite
            return
        assert standing is None or standing.content == content or overwrite
        if standing is None or standing.content != content:
            self.files[name] = Stored(content, signature, standing.yanked if standing else None)

    @rule(
        name=names,
        variant=st.integers(0, 2),
        signature=signatures,
        overwrite=st.booleans(),
        fault=st.sampled_from(["open", "write", "fsync", "link", "replace"]),
        at=st.integers(0, 3),
    )
    def upload_and_fail(
        self, name: str, variant: int, signature: bytes | None, overwrite: bool, fault: str, at: int
    ) -> None:
        faults = Faults(fault, at=at)
        self.backend.storage._operations = faults.operations
        try:
            self.upload(name, variant, signature, overwrite)
        except Unavailable:
            assert faults.happened()
        finally:
            self.backend.storage._operations = self.good

    @rule(name=names)
    def remove(self, name: str) -> None:
        try:
            count = self.intake.remove(*RELEASES[name], permit=PERMITS[False]).files
        except NotFound:
            assert name not in self.files
        else:
            assert count == 1
            del self.files[name]

    @rule(name=names, reason=st.sampled_from(["", "broken"]))
    def yank(self, name: str, reason: str) -> None:
        try:
            self.intake.yank(*RELEASES[name], permit=PERMITS[False], reason=reason)
        except NotFound:
            assert name not in self.files
        else:
            self.files[name] = replace(self.files[name], yanked=reason)

    @rule(name=names)
    def unyank(self, name: str) -> None:
        try:
            self.intake.unyank(*RELEASES[name], permit=PERMITS[False])
        except NotFound:
            assert name not in self.files
        else:
            self.files[name] = replace(self.files[name], yanked=None)

    @precondition(lambda self: self.files)
    @rule(name=names)
    def throw_away(self, name: str) -> None:
        try:
            self.backend.storage.trash(0, name)
        except NotFound:
            assert name not in self.files
        else:
            self.trash[name] = self.files.pop(name)
        self.backend.queries.query(lambda: self.backend.refresher.refresh([(0, name)], hold=False))

    @precondition(lambda self: self.trash)
    @rule(name=names)
    def restore(self, name: str) -> None:
        try:
            self.backend.storage.restore(0, name)
        except NotFound:
            assert name not in self.trash
        except Conflict:
            assert name in self.files
        else:
            self.files[name] = self.trash.pop(name)
        self.backend.queries.query(lambda: self.backend.refresher.refresh([(0, name)]))

    @rule()
    def scan(self) -> None:
        self.backend.queries.query(self.backend.refresher.scan)

    @invariant()
    def the_folder_is_what_the_model_says(self) -> None:
        expected: dict[str, bytes] = {}
        for name, file in self.files.items():
            expected[name] = file.content
            if file.signature is not None:
                expected[f"{name}.asc"] = file.signature
            if file.yanked is not None:
                expected[f"{name}.yanked"] = f"{file.yanked}\n".encode() if file.yanked else b""
        assert {path.name: path.read_bytes() for path in self.root.iterdir() if path.is_file()} == expected

    @invariant()
    def the_index_is_what_the_model_says(self) -> None:
        seen = {}
        for project in ("foo", "bar"):
            with contextlib.suppress(NotFound):
                for file in self.repository.project(project).files:
                    seen[file.filename] = (file.sha256, file.yanked, file.has_signature)
        assert seen == {
            name: (hashlib.sha256(file.content).hexdigest(), file.yanked, file.signature is not None)
            for name, file in self.files.items()
        }


TestModel = Model.TestCase
TestModel.settings = settings(
    max_examples=8,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
