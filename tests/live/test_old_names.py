"""What is imported only when an old name is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.live


def test_nothing_of_bottle_is_imported_before_it_is_asked_for() -> None:
    """gevent and eventlet replace what blocks, and must come first."""
    program = "import sys, pypiserver; print('bottle' in sys.modules, pypiserver.bottle.__name__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "bottle"]
