"""``pypi-server copy``: packages from a folder or bucket to another, with upload times and sidecars.

**Invariants:** nothing at the destination is ever changed; bytes are hashed while they are read, and compared with what
the source knows of them; a file is at the destination with all its sidecars or not at all, so an interrupted run is
started again and continues.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ..backend.copy_endpoint import Endpoint, Item
from ..batches import batches
from ..distributions.filename import NOT_MEANT
from ..errors import PypiServerError, Unavailable

# Each thread mostly waits for the network.
AT_ONCE = 8
BATCH = 64


@dataclass(slots=True)
class Report:
    """How many files were copied, how many were there already, and what was left out, as (path, why).

    ``other`` counts the files that are not meant as packages, such as a ``README.txt``.
    """

    copied: int = 0
    already: int = 0
    bytes: int = 0
    left_out: list[tuple[str, str]] = field(default_factory=list)
    other: int = 0

    def skip(self, path: str, why: str) -> None:
        """Note a file that the source would not serve."""
        if why in NOT_MEANT:
            self.other += 1
        else:
            self.left_out.append((path, why))


def copy(source: Endpoint, destination: Endpoint, *, progress: Callable[[int, int], None]) -> Report:
    """Copy what the destination lacks; ``progress`` gets the number of files done, and 0 because the total is unknown.

    Raises Unavailable if either of the two does not answer; what was copied until then stays.
    """
    report = Report()
    destination.prepare()
    names: dict[str, str] = {}
    with ThreadPoolExecutor(AT_ONCE, "pypiserver-copy") as pool:
        for batch in batches(source.items(report.skip), BATCH):
            chosen = []
            for item in batch:
                first = names.setdefault(item.dist.filename, item.path)
                if first == item.path:
                    chosen.append(item)
                else:
                    report.left_out.append((item.path, f"a file of this name comes first: {first}"))
            for item, outcome in zip(chosen, pool.map(lambda each: _copy(each, destination), chosen), strict=True):
                _note(report, item, outcome)
                progress(report.copied + report.already + len(report.left_out), 0)
    for project, text in source.statuses().items():
        destination.set_status(project, text)
    return report


def _copy(item: Item, destination: Endpoint) -> bool | PypiServerError:
    """True if the file was copied, False if it was there already, or why it was left out; raises Unavailable."""
    try:
        if destination.is_there(item):
            return False
        destination.store(item)
    except Unavailable:
        raise
    except OSError as error:
        words = f"{item.path} could not be copied: {error}. Begin again; what was copied stays."
        raise Unavailable(words) from error
    except PypiServerError as error:
        return error
    return True


def _note(report: Report, item: Item, outcome: bool | PypiServerError) -> None:
    if isinstance(outcome, PypiServerError):
        report.left_out.append((item.path, str(outcome)))
    elif outcome:
        report.copied += 1
        report.bytes += item.size
    else:
        report.already += 1
