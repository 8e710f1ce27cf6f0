"""What tokens cost a server that has none: nothing is imported for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.live


def test_without_the_setting_nothing_of_tokens_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys, pypiserver; application = pypiserver.app(root=sys.argv[1], password_file='.', authenticate='.');"
        "application.close(); print([name for name in sys.modules if 'access.token' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
