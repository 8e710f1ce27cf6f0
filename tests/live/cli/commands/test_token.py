"""What tokens and rights cost a server that has none: nothing is imported for them."""

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


def test_without_the_setting_nothing_of_the_rights_file_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys, pypiserver; application = pypiserver.app(root=sys.argv[1], password_file='.', authenticate='.');"
        "environ = {'REQUEST_METHOD': 'GET', 'PATH_INFO': '/simple/', 'SERVER_NAME': 'x', 'SERVER_PORT': '80',"
        "'wsgi.url_scheme': 'http', 'wsgi.errors': sys.stderr};"
        "b''.join(application(environ, lambda status, headers, error=None: None)); application.close();"
        "names = ('rights_file', 'rights_source', 'plugins', 'rights_report', 'rights_check');"
        "print([each for each in sys.modules if each.startswith('pypiserver.') and each.rpartition('.')[2] in names])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
