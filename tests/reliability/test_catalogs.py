"""A catalog that is locked, broken, gone or on a bad disk never stops the server, which says so (P3, P19, P38, P46)."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pypiserver.catalog import Catalog, CatalogIncomplete
from tests.figures import inject
from tests.hostile import OPEN, ask, eventually, listed, serving, sha256, upload, wheel
from tests.live_server import REPOSITORY, LiveServer
from tests.reliability.disks import serving_on_disk


def goes_on(live: LiveServer, round_: int) -> None:
    """Uploads are stored and shown, whatever the catalog does."""
    name, data = wheel("goes-on", f"{round_}.0")
    eventually(lambda: upload(live.url, name, data).status == 200)
    assert listed(live.url, "goes-on")[name] == sha256(data)
    assert ask(live.url, f"/packages/{name}").body == data


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    return tmp_path / "catalog.sqlite"


def test_a_catalog_of_garbage_is_built_again(tmp_path: Path, catalog: Path) -> None:
    before = Catalog(catalog, "roots")
    before.serial()
    before.close()
    catalog.write_bytes(b"no database at all" * 1000)
    inject("catalog of garbage")
    with serving(tmp_path, *OPEN, "--catalog", catalog) as live:
        goes_on(live, 1)
    with sqlite3.connect(catalog) as connection:
        assert connection.execute("SELECT COUNT(*) FROM file").fetchone() == (1,)
    connection.close()


def test_a_catalog_that_is_overwritten_while_it_serves_is_built_again(tmp_path: Path, catalog: Path) -> None:
    with serving(tmp_path, *OPEN, "--catalog", catalog) as live:
        goes_on(live, 1)
        for path in tmp_path.glob("catalog.sqlite*"):
            # A server that saw that the first one is damaged has renamed it, and deleted those next to it.
            with contextlib.suppress(FileNotFoundError):
                if not path.name.endswith(".lock"):
                    size = path.stat().st_size
                    with path.open("r+b") as file:
                        file.write(b"\xde\xad\xbe\xef" * (size // 4))
        inject("catalog overwritten while it serves")
        for number in range(2, 5):
            goes_on(live, number)
        assert len(listed(live.url, "goes-on")) == 4


def test_a_deleted_catalog_is_built_again(tmp_path: Path, catalog: Path) -> None:
    with serving(tmp_path, *OPEN, "--catalog", catalog) as live:
        goes_on(live, 1)
        for path in tmp_path.glob("catalog.sqlite*"):
            path.unlink(missing_ok=True)
        inject("catalog deleted")
        goes_on(live, 2)
        eventually(catalog.exists)
        goes_on(live, 3)
        assert "was deleted" in live.output


_HOLD = """
import sys
from pathlib import Path
from pypiserver.catalog import Catalog, Fingerprint, SeenFile
from pypiserver.distributions.filename import parse_filename
catalog = Catalog(Path(sys.argv[1]), "roots")
catalog.apply([SeenFile(0, "foo-1.0.tar.gz", Fingerprint(1, 1, 1, ""), parse_filename("foo-1.0.tar.gz"))])
print(catalog.token(), flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("end", [lambda size: size // 2, lambda size: size // 3 | 1, lambda size: size - 1])
def test_shared_memory_that_was_cut_off_leads_no_new_process_to_the_past(
    catalog: Path, end: Callable[[int], int]
) -> None:
    """SQLite alone finds none of the rows that are in the journal, and so none of the packages."""
    scanned = Catalog(catalog, "roots")
    scanned.note_folders([(0, "", 1, 1)])
    scanned.close()
    command = [sys.executable, "-c", _HOLD, str(catalog)]
    # It is killed: that it has mapped what was cut off may end it as well.
    holder = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        before = holder.stdout.readline().strip()
        memory = catalog.with_name(catalog.name + "-shm")
        os.truncate(memory, end(memory.stat().st_size))
        inject("shared memory of a catalog cut off")
        ours = Catalog(catalog, "roots")
        with pytest.raises(CatalogIncomplete):
            ours.is_absent(project="foo")
        assert ours.token() not in ("", before)
        ours.close()
    finally:
        holder.kill()
        holder.communicate()


def test_a_locked_catalog_delays_and_loses_nothing(tmp_path: Path, catalog: Path) -> None:
    with serving(tmp_path, *OPEN, "--catalog", catalog) as live:
        goes_on(live, 1)
        holder = sqlite3.connect(catalog, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        inject("catalog locked")
        began = time.monotonic()
        # Readers are not in the way of a writer.
        assert len(listed(live.url, "goes-on")) == 1
        assert time.monotonic() - began < 5
        # An upload is refused before anything of it is seen, and taken when it is sent again.
        name, data = wheel("goes-on", "2.0")
        reply = upload(live.url, name, data, timeout=90)
        assert reply.status == 503, reply
        assert name not in listed(live.url, "goes-on")
        assert not (tmp_path / "packages" / name).exists()
        holder.execute("ROLLBACK")
        holder.close()
        goes_on(live, 2)
        goes_on(live, 3)


def test_a_catalog_on_a_full_disk_refuses_uploads_until_there_is_room(tmp_path: Path) -> None:
    with serving_on_disk(
        tmp_path, *OPEN, "--catalog", tmp_path / "state" / "catalog.sqlite", disk="state", size="2m"
    ) as disk:
        live = disk.live
        goes_on(live, 1)
        disk.fill()
        refused = []
        for number in range(2, 20):
            name, data = wheel("goes-on", f"{number}.0")
            if upload(live.url, name, data).status != 200:
                refused.append(name)
        assert refused
        # What is known is served on, what was refused is nowhere, and what is not known is not looked for elsewhere.
        known = listed(live.url, "goes-on")
        assert len(known) == 19 - len(refused)
        assert not [name for name in refused if (tmp_path / "packages" / name).exists()]
        # Where the journal was written back just now, there is room for some more.
        answers = []
        while 503 not in answers:
            assert len(answers) < 200
            name, data = wheel(f"by-hand-{len(answers)}", "1.0")
            (tmp_path / "packages" / name).write_bytes(data)
            for _ in range(10):
                answer = ask(live.url, f"/simple/by-hand-{len(answers)}/").status
                assert answer in (200, 503), answer
                if answer == 200:
                    break
                time.sleep(0.05)
            answers.append(answer)
        disk.free()
        for number in range(len(answers)):
            eventually(lambda number=number: ask(live.url, f"/simple/by-hand-{number}/").status == 200)  # type: ignore[misc]
        goes_on(live, 20)
        assert "in memory" not in live.output


def test_a_journal_that_fills_its_disk_is_written_back(tmp_path: Path) -> None:
    """SQLite does so after 4 MB by itself, which is more than there is."""
    place = tmp_path / "state" / "catalog.sqlite"
    with serving_on_disk(tmp_path, *OPEN, "--catalog", place, disk="state", size="2m") as disk:
        inject("catalog on a small disk")
        for number in range(120):
            name, data = wheel(f"small-{number}")
            eventually(lambda name=name, data=data: upload(disk.live.url, name, data).status == 200)  # type: ignore[misc]


def test_a_catalog_on_a_read_only_disk_is_a_mistake_of_the_setting(tmp_path: Path) -> None:
    kept = tmp_path / "kept.sqlite"
    with serving(tmp_path, *OPEN, "--catalog", kept) as live:
        goes_on(live, 1)
    # A database that is in use keeps its disk from becoming read-only.
    setup = f"cp {kept} catalog.sqlite && mount -o remount,ro ."
    catalog = tmp_path / "state" / "catalog.sqlite"
    inject("catalog on a read-only disk")
    server = serving_on_disk(tmp_path, *OPEN, "--catalog", catalog, disk="state", setup=setup)
    # It ends before it listens.
    with pytest.raises(AssertionError, match=r"may not write to .*; name another with --catalog"), server:
        pass


def test_a_catalog_that_cannot_even_be_made_is_no_start(tmp_path: Path) -> None:
    inject("catalog that cannot be made")
    server = serving(tmp_path, *OPEN, "--catalog", "/proc/no/such/catalog.sqlite")
    with pytest.raises(AssertionError, match="cannot be used: its folder does not exist"), server:
        pass
