"""Walking from a root down to one of its files, without following any link on the way.

**Invariants:** nothing behind a link is looked at or opened, except a file behind a last link that stays inside the
roots; the whole walk happens in the one folder that the root is at its start.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..errors import Unavailable
from ..native_names import native

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
# A FIFO must not block us, a child process must not inherit it, and Windows must not translate line ends.
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
# Of a last segment that is no link.
READ_ONLY = _READ | _NOFOLLOW
CAN_WALK = os.open in os.supports_dir_fd and hasattr(os, "O_DIRECTORY")
AT_ONCE = 1000
CAN_SCAN_OPEN = CAN_WALK and os.scandir in os.supports_fd
# Where the system gives each open file and folder a path.
_DESCRIPTORS = Path("/proc/self/fd")
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
# Errors which say that a file is missing, or behind a link; any other error proves nothing.
NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
# Errors which say that a folder is gone or became something else.
VANISHED = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


def is_plain(path: str) -> bool:
    """Whether a path has the form that scans give: relative, no hidden, empty or special segment."""
    if "\0" in path or (os.name == "nt" and ("\\" in path or ":" in path)):
        return False
    return all(part and not part.startswith(".") for part in path.split("/"))


def between(root: Path, target: Path) -> list[Path]:
    """The folders from below the root down to the one that contains the target."""
    parts = target.relative_to(root).parts[:-1]
    return [root.joinpath(*parts[: number + 1]) for number in range(len(parts))]


def is_inside(link: Path, roots: Sequence[Path]) -> bool:
    """Whether a link leads to a visible file of a root."""
    return _resolved(link, roots) is not None


def look_through(link: Path, roots: Sequence[Path]) -> os.stat_result | None:
    """The status of the visible file of a root that a link leads to, None when it leads elsewhere.

    Raises as :func:`look_below` does.
    """
    found = _resolved(link, roots)
    return look_below(found[0], "/".join(found[1]))[0] if found else None


def is_hidden(link: Path, roots: Sequence[Path]) -> bool:
    """Whether a link that leads to no visible file leads below a root, so to a hidden file."""
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        return False
    return any(root.resolve() in target.parents for root in roots)


def _resolved(link: Path, roots: Sequence[Path]) -> tuple[Path, tuple[str, ...]] | None:
    """The root with the visible file that a link leads to, and the path down to it; None when it leads elsewhere."""
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    for root in roots:
        real = root.resolve()
        if real in target.parents:
            parts = target.relative_to(real).parts
            return None if any(part.startswith(".") for part in parts) else (root, parts)
    return None


def outage(root: Path, error: OSError) -> Unavailable:
    """The Unavailable to raise for a root that cannot be read."""
    return Unavailable(
        f"The folder {root} cannot be read: {error.strerror or error}. Mount it, or let the server's user read it."
    )


@contextlib.contextmanager
def opened_folder(path: str, *, is_root: bool) -> Iterator[int | str]:
    """A folder for ``os.scandir`` and ``os.stat``; raises OSError, also when it became a link.

    It is a descriptor where that is possible: a stat in an open folder takes three quarters of the time, because the
    path down to it is not walked again.
    """
    if not CAN_SCAN_OPEN:
        yield path
        return
    descriptor = os.open(path, _FOLDER if is_root else _FOLDER | _NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def entries_in(
    folder: int | str, first: tuple[str, ...], get_on: Callable[[], object] = lambda: None
) -> Iterator[os.DirEntry[str]]:
    """All entries of a folder; those whose names end in one of ``first`` before the rest.

    A large folder is read twice, because a million entries fill 200 MB. ``get_on`` is called for each thousand entries
    read before the first is returned.
    """
    chosen: list[os.DirEntry[str]] = []
    with os.scandir(folder) as entries:
        part = some = list(itertools.islice(entries, AT_ONCE))
        while part:
            chosen += [entry for entry in part if entry.name.endswith(first)]
            get_on()
            part = list(itertools.islice(entries, AT_ONCE))
    yield from chosen
    with contextlib.nullcontext(some) if len(some) < AT_ONCE else os.scandir(folder) as again:
        for entry in again:
            if not entry.name.endswith(first):
                yield entry


def look_below(root: Path, path: str, suffixes: Sequence[str] = ("",)) -> list[os.stat_result | None]:
    """The status of ``path`` below ``root`` with each of the suffixes, following no link; None for a missing file.

    Raises Unavailable when the root cannot be read, and OSError. All of it happens in the one folder that the root is
    now: when the root disappears meanwhile, and comes back, no file in it seems to be missing.
    """
    folder, _, name = path.rpartition("/")
    if not folder and suffixes == ("",) and CAN_WALK:
        # An existing file needs no more checks; for a missing one the root must be checked, too.
        with contextlib.suppress(OSError):
            return [os.stat(f"{root}/{path}", follow_symlinks=False)]
    try:
        with _folder_below(root, folder) as descriptor:
            where = "" if CAN_WALK else f"{root / folder}/"
            return [_look(f"{where}{name}{suffix}", descriptor) for suffix in suffixes]
    except OSError as error:
        if error.errno in NOT_THERE:
            return [None] * len(suffixes)
        raise


def _look(path: str, folder: int | None) -> os.stat_result | None:
    try:
        return os.stat(path, dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno in NOT_THERE:
            return None
        raise


@contextlib.contextmanager
def _folder_below(root: Path, folder: str) -> Iterator[int | None]:
    """An open folder below the root; None where the system opens no folders. Raises as :func:`look_below` does."""
    if not CAN_WALK:
        _refuse_links(root, root / folder / "file")
        yield None
        return
    try:
        descriptor = os.open(root, _FOLDER)
    except OSError as error:
        raise outage(root, error) from error
    with _descended(descriptor, folder.split("/") if folder else []) as below:
        yield below


def open_below(root: Path, path: str, roots: Sequence[Path]) -> int:
    """Open ``path`` below ``root``, following no link but a last one that stays inside the roots; raises OSError."""
    if not CAN_WALK:
        target = root / path
        _refuse_links(root, target)
        if target.is_symlink() and not is_inside(target, roots):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        return os.open(target, _READ)

    def opened(name: str, folder: int | None = None) -> int:
        try:
            return os.open(name, _READ | _NOFOLLOW, dir_fd=folder)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            return _open_resolved(root / path, roots)

    *parents, name = path.split("/")
    if not parents:
        # Only the last segment can be a link, and that is not followed: opening the root first would cost as much.
        return opened(f"{root}/{path}")
    with _descended(os.open(root, _FOLDER), parents) as folder:
        return opened(name, folder)


def _open_resolved(link: Path, roots: Sequence[Path]) -> int:
    """Open what a link leads to; it is resolved once, and the walk down follows no other link."""
    found = _resolved(link, roots)
    if found is None:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    root, (*parents, name) = found
    with _descended(os.open(root, _FOLDER), parents) as folder:
        return os.open(name, _READ | _NOFOLLOW, dir_fd=folder)


def _refuse_links(root: Path, target: Path) -> None:
    if any(parent.is_symlink() for parent in between(root, target)):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


@contextlib.contextmanager
def held_folder(root: Path, folder: str, *, make: bool = False) -> Iterator[Path]:
    """A path of this folder below the root that keeps leading to it, even if another folder takes its name meanwhile.

    With ``make`` missing folders are made. Raises Unavailable when the root cannot be read, and OSError, also for a
    link on the way. Only Linux gives an open folder a path; elsewhere the folder is checked first, and then used by its
    name.
    """
    folder = native(folder)
    parents = folder.split("/") if folder else []
    if not parents:
        yield root
    elif not CAN_WALK or not _has_descriptors():
        _refuse_links(root, root / folder / "file")
        if make:
            (root / folder).mkdir(parents=True, exist_ok=True)
        yield root / folder
    else:
        try:
            descriptor = os.open(root, _FOLDER)
        except OSError as error:
            raise outage(root, error) from error
        with _descended(descriptor, parents, make=make) as below:
            yield _DESCRIPTORS / str(below)


@functools.cache
def _has_descriptors() -> bool:
    return _DESCRIPTORS.is_dir()


def read_plain(path: str | Path, limit: int, *, folder: int | None = None) -> bytes | None:
    """The first ``limit`` bytes of a regular file; None for anything else: a link, a pipe, a folder, a missing file.

    It is opened first and checked then, so that no other file can replace it in between.
    """
    try:
        descriptor = os.open(path, _READ | _NOFOLLOW, dir_fd=folder)
    except OSError:
        return None
    with open(descriptor, "rb", buffering=0) as file, contextlib.suppress(OSError):  # noqa: PTH123
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return file.read(limit)
    return None


def read_existing(path: str | Path, limit: int, *, folder: int | None = None) -> bytes | None:
    """The same, but None for a missing file only; raises OSError for anything else that cannot be read."""
    try:
        descriptor = os.open(path, _READ | _NOFOLLOW, dir_fd=folder)
    except OSError as error:
        if error.errno in NOT_THERE:
            return None
        raise
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123
        return file.read(limit)


@contextlib.contextmanager
def _descended(folder: int, parents: Sequence[str], *, make: bool = False) -> Iterator[int]:
    """The folder down this path, following no link; takes ownership of the descriptor of the first one."""
    try:
        for parent in parents:
            try:
                below = os.open(parent, _FOLDER | _NOFOLLOW, dir_fd=folder)
            except FileNotFoundError:
                if not make:
                    raise
                with contextlib.suppress(FileExistsError):
                    os.mkdir(parent, dir_fd=folder)
                below = os.open(parent, _FOLDER | _NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = below
        yield folder
    finally:
        os.close(folder)
