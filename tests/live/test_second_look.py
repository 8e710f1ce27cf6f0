"""What .ci/run looks at twice: a test that passes only then is named and counted, and no log ends with few tests."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CI = (REPOSITORY / ".ci" / "run").read_text("utf-8")
TESTS = """
from pathlib import Path
import pytest

SEEN = Path(__file__).with_name("seen")

def test_passes(): pass
@pytest.mark.skip
def test_is_skipped(): pass
@pytest.mark.parametrize("which", ["a", "b"])
def test_fails_at_first(which):
    seen = SEEN.with_suffix(f".{which}")
    if not seen.exists():
        seen.touch()
        raise AssertionError(which)
"""
BROKEN = "def test_fails_twice(): assert False\n"
# The function of .ci/run as it is there, with the plugin found from anywhere.
TWICE = re.search(r"^twice\(\) \{\n.*?^\}\n", CI, re.MULTILINE | re.DOTALL)


@pytest.mark.live
@pytest.mark.parametrize(("more", "status", "last"), [("", 0, "1 passed, 1 skipped, 2 flaky"), (BROKEN, 1, "1 failed")])
def test_what_fails_and_then_passes_is_named_and_counted(more: str, status: int, last: str, tmp_path: Path) -> None:
    assert TWICE is not None
    (tmp_path / "test_it.py").write_text(TESTS + more)
    tests = f'"{sys.executable}" -m pytest -c /dev/null --rootdir "$1" -o "cache_dir=$1/cache" -n 2 "$1"'
    ran = subprocess.run(
        ["bash", "-c", f"{TWICE[0]}\ntwice {tests}", "twice", tmp_path],
        env={"PATH": "/usr/bin:/bin", "FLAKY": str(tmp_path / "flaky.txt"), "CI_STEP": "a step"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    flaky = [f"a step: test_it.py::test_fails_at_first[{which}]" for which in "ab"]
    assert (ran.returncode, sorted((tmp_path / "flaky.txt").read_text().splitlines())) == (status, flaky), ran.stdout
    block, _, summary = ran.stdout.partition("looking once more")[2].partition("\nflaky: 2\n")[2].rpartition("\n=")
    assert sorted(line for line in block.splitlines() if line.startswith("a step: ")) == flaky, ran.stdout
    assert last in summary and "2 flaky" in summary, ran.stdout


@pytest.mark.parametrize(("count", "status"), [(0, 0), (3, 0), (4, 1)])
@pytest.mark.live
def test_more_than_three_flaky_tests_fail_the_run(count: int, status: int, tmp_path: Path) -> None:
    most, few = (re.search(rf"^{name}.*$", CI, re.MULTILINE) for name in ("MOST_FLAKY=", r"few_are_flaky\(\) "))
    assert most is not None and few is not None
    (tmp_path / "flaky.txt").write_text("a step: a test\n" * count)
    command = f"FLAKY={tmp_path}/flaky.txt\n{most[0]}\n{few[0]}\nfew_are_flaky"
    assert subprocess.run(["bash", "-c", command], check=False).returncode == status
