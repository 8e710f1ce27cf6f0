"""A pytest plugin of .ci/run: what fails is looked at once more, and what passes then is flaky, counted and named.

Loaded with `-p tests.second_look` in both looks, the second of which has `--last-failed` too.

Invariants: each flaky test is one line in the file that the variable FLAKY names, written when its second look ends;
the last line of a second look counts all tests of the first, so that no log ends with the few that were repeated.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

COUNTS = "second_look/counts"
KEPT = ("passed", "skipped", "xfailed")


def pytest_configure(config: pytest.Config) -> None:
    """Only the process that speaks counts, and no worker of xdist."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(SecondLook(config, Path(os.environ.get("FLAKY", ".cache/flaky.txt"))))


class SecondLook:
    """Counts the outcomes of one look."""

    def __init__(self, config: pytest.Config, flaky: Path) -> None:
        self.config = config
        self.flaky = flaky
        self.step = os.environ.get("CI_STEP", "tests")
        self.is_second = bool(config.getoption("lf"))

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> Iterator[None]:
        """What passes in the second look is called flaky, in the dots and in the last line."""
        category, letter, word = yield
        if self.is_second and category == "passed" and report.when == "call":
            return "flaky", "~", "FLAKY"
        return category, letter, word

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
        stats = terminalreporter.stats
        if self.is_second:
            failed = {report.nodeid for kind in ("failed", "error") for report in stats.get(kind, ())}
            stats["flaky"] = [report for report in stats.get("flaky", ()) if report.nodeid not in failed]
            self._write([report.nodeid for report in stats["flaky"]])
            for kind, number in (self.config.cache.get(COUNTS, None) or {}).items():
                stats.setdefault(kind, []).extend([SimpleNamespace(nodeid="")] * number)
        else:
            self.config.cache.set(COUNTS, {kind: len(stats.get(kind, ())) for kind in KEPT})
        lines = self.flaky.read_text("utf-8").splitlines() if self.flaky.exists() else []
        terminalreporter.write_line("\n".join([f"\nflaky: {len(lines)}", *lines]))
        return (yield)

    def _write(self, names: list[str]) -> None:
        self.flaky.parent.mkdir(parents=True, exist_ok=True)
        with self.flaky.open("a", encoding="utf-8") as file:
            file.writelines(f"{self.step}: {name}\n" for name in names)
