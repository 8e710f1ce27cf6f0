"""The systemd unit of the documentation: one text in two places, and one that systemd understands."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

HOWTO = Path(__file__).resolve().parents[3] / "docs" / "howto"
UNIT = (HOWTO / "pypiserver.service").read_text("utf-8")


def test_the_unit_in_the_text_is_the_one_in_the_file() -> None:
    page = (HOWTO / "automatic-start.rst").read_text("utf-8")
    start, end = page.index("    [Unit]"), page.index("\nThen:\n")
    assert textwrap.dedent(page[start:end]).strip() == UNIT.strip()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_takes_the_unit_for_well_sandboxed(tmp_path: Path) -> None:
    """An exposure of 2.0 of 10; a unit that says nothing has 9.6."""
    unit = tmp_path / "pypiserver.service"
    unit.write_text(UNIT)
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", str(unit)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=False)
    if "offline" in done.stderr and not done.stdout:
        pytest.skip("this systemd can look at installed units only")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "pypiserver.service"
    # The program and its user exist where the unit is installed, not here.
    text = re.sub(r"(?m)^(User|Group)=.*\n", "", UNIT).replace("/opt/pypiserver/bin/pypi-server", sys.executable)
    unit.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    about = [line for line in (done.stdout + done.stderr).splitlines() if "pypiserver.service" in line]
    assert about == [], done.stderr
