"""Every scheme of a password file, with the libraries of yesterday, their fork, and each generation of bcrypt.

passlib has had no release since 2020, and parts of it fail with bcrypt 5; libpass is its fork under the same name.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.environments import NOW, find_python, run
from tests.clients.harness import GetClient
from tests.live_server import REPOSITORY

PASSWORD = "s3cret"
EVERY_SCHEME = """\
bcrypt-a:$2a$04$.no7stfXSSQuTh.aOPLfLOzZn9V.nFNEjzq4Mu8QMnF8kgC2sEN/2
bcrypt-b:$2b$04$.no7stfXSSQuTh.aOPLfLOzZn9V.nFNEjzq4Mu8QMnF8kgC2sEN/2
bcrypt-y:$2y$04$.no7stfXSSQuTh.aOPLfLOzZn9V.nFNEjzq4Mu8QMnF8kgC2sEN/2
apr1:$apr1$zuFv2lli$WXUPAgJ6mKb/6k9kkgOvn0
des:Ohrc1KkREbEb6
sha1:{SHA}/vNB+F2HQ559kaLUZbmHHvZrXpg=
sha256:$5$QdSBWZYKr0LL1s74$BwEg.9hO2M8YMIe.LGIhKT8DSycPjwycpGJZJaDiJ41
sha512:$6$rounds=6000$nG58Q5MjF2af3wQX$NWksDCEoNI.33D5KRtjigxLp5ukNA1RgFDiS6JHRn.JPfRj5Al/2GYILf2VrUTmzqfposOPFqaHmiWPxIGYPN0
plain:s3cret
"""
OLDEST, NEWEST = "3.10", "3.13"
CHECK = """
import sys, warnings
warnings.simplefilter("error")
from pathlib import Path
from pypiserver.access.password_file import HtpasswdFile
check = HtpasswdFile(Path(sys.argv[1]))
users = [line.split(":")[0] for line in Path(sys.argv[1]).read_text().splitlines()]
assert users
print([user for user in users if not check(user, sys.argv[2]) or check(user, "wrong")])
"""


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("library", ["passlib==1.7.4", "libpass==1.9.4"])
@pytest.mark.parametrize("bcrypt_version", ["4.0.1", "4.3.0", "5.0.0"])
def test_every_scheme_logs_in(
    bcrypt_version: str, library: str, version: str, client: GetClient, tmp_path: Path
) -> None:
    base = find_python(version)
    if base is None:
        pytest.skip(f"no Python {version} here")
    tool = client("uv")
    python = tmp_path / "venv" / "bin" / "python"
    run(tool.bin / "uv", "venv", "--quiet", "--no-project", "--python", base, tmp_path / "venv")
    wanted = (library, f"bcrypt=={bcrypt_version}", "packaging", "bottle==0.13.4")
    run(tool.bin / "uv", "pip", "install", "--quiet", "--exclude-newer", NOW, "--python", python, *wanted)
    file = tmp_path / "htpasswd"
    file.write_text(EVERY_SCHEME)
    done = tool.run(python, "-c", CHECK, file, PASSWORD, PYTHONPATH=str(REPOSITORY))
    assert done.stdout.splitlines()[-1] == "[]"
