"""Command lines inside sentences of the documentation, and what is typed for each.

A row for each: how it is typed where that differs (with a value for a placeholder, or with the arguments that a
sentence leaves out), or after ``NOT_RUN`` why it is only shown. A line that a literal block of a page shows too needs
no row: it is run there.

Invariants: a line without a row is a fault, and so is a row without a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.clients.doc_pages import NOT_RUN as REASONS

NOT_RUN = "not run: "
NAME = f"{NOT_RUN}no command"
PROGRAMS = (
    *("pypi-server", "pypiserver", "pip", "pipx", "uv", "uvx", "twine", "poetry", "python", "curl", "rsync", "touch"),
    *("htpasswd", "sqlite3", "systemctl", "docker", "kubectl", "bin/docs", "bin/bench", "bin/soak"),
)
LITERAL = re.compile(rf"``((?:{'|'.join(map(re.escape, PROGRAMS))})\s[^`]+)``")
# What the reader has by now; a server runs on this folder.
BEFORE = """\
mkdir -p ~/packages ~/cache/pypi ~/empty /srv/packages
cp "$PROJECT"/dist/*.whl ~/packages
printf '%s\\n' the-password | pypi-server passwd htpasswd.txt ada
printf '%s\\n' 'ada all demo' > ~/rights
echo 'title = "Mine"' > ~/pypiserver.toml
echo demo > requirements.txt
printf '%s\\n' 'demo==1.0' > uv.lock
touch FILE
"""
SERVER = "pypi-server -P . -a . --stats ~/downloads.sqlite ~/packages"
URL = "http://localhost:8080"
OWN = f"{NOT_RUN}has its own test; tests/"
DOCKER = f"{OWN}image/test_image.py"
TO = f"--repository-url {URL}/ -u ada -p the-password"
CERTIFICATE = "(HOME=~/empty; pip config set global.cert /etc/ssl/acme-ca.pem)"
# A moment after it is restored it is served, and a moment after a download that is counted.
COUNTED = f"""until curl -o archive {URL}/packages/demo-1.0.tar.gz; do sleep 0.1; done
until pypi-server stats --stats ~/downloads.sqlite; do sleep 0.1; done"""
SIGNATURE = "dist/demo-1.0.tar.gz.asc"
TYPED = {
    # pip, pipx and Python.
    "pip install": "pip install demo",
    "pip install pypiserver[passlib,cache]": "",
    "pip install pypiserver[gunicorn]": "",
    "pip install --upgrade pypiserver": "",
    "pip install --pre -I pypiserver": "pip install --pre -I --no-deps pypiserver",
    "pip install 'granian<2.7'": f"{NOT_RUN}needs another machine",
    "pip install 'pypiserver==2.4.2'": f"{NOT_RUN}needs another machine",
    "pip install supervisor": f"{NOT_RUN}needs another machine",
    "pip install urllib3": "pip install --force-reinstall --no-deps urllib3",
    "pip install --pre": "pip install --pre demo",
    "pip install --refresh-package": "pip install --refresh-package demo demo",
    "pip install --find-links": "pip install --no-index --find-links ~/packages demo",
    "pip uninstall pypiserver": "pip uninstall -y demo",
    "pip download": "pip download -d ~/downloads demo",
    "pip download -d ~/packages -r requirements.txt": "",
    "pip search": f"pip search --index {URL} demo",
    "pip check": "",
    "pip debug --verbose": "",
    "pip config list": "",
    "pip config debug": "",
    "pip config set global.cert /etc/ssl/acme-ca.pem": CERTIFICATE,
    "pip cache purge": "",
    "pip -vvv": "pip -vvv --version",
    "pipx run pypiserver": "pipx run pypiserver --version",
    "python -m pypiserver": "python -m pypiserver --version",
    "python serve.py": f"{OWN}clients/test_docs_run.py",
    "python start.py": f"{OWN}clients/test_docs_run.py",
    "python tests/clients/real_files.py": f"{NOT_RUN}takes minutes",
    "python -m coverage run -m pytest -n 2": f"{NOT_RUN}starts this test",
    # uv, twine, Poetry.
    "uv -v": "uv -v --version",
    "uv cache clean": "",
    "uv pip install": "uv pip install demo",
    "uv pip install --prerelease allow": "uv pip install --prerelease allow demo",
    "uv sync --refresh": f"{OWN}clients/test_proxy.py",
    "uvx pypiserver ~/packages": "",
    "uv publish --check-url": f"uv publish --publish-url {URL}/ --check-url {URL}/+simple/ -u ada $PROJECT/dist/*",
    "uv publish --check-url http://localhost:8080/+simple/": (
        f"uv publish --publish-url {URL}/ --check-url http://localhost:8080/+simple/ -u ada $PROJECT/dist/*"
    ),
    "twine --verbose": f"twine upload --verbose {TO} $PROJECT/dist/*",
    "twine upload --verbose": f"twine upload --verbose {TO} $PROJECT/dist/*",
    "twine upload dist/* dist/*.asc": f"cd $PROJECT; touch {SIGNATURE}; twine upload {TO} dist/* dist/*.asc; cd ~",
    "poetry -vvv": "poetry -vvv --version",
    "poetry config certificates.NAME.cert /etc/ssl/acme-ca.pem": "poetry config certificates.local.cert /tmp/ca.pem",
    "poetry publish --skip-existing": f"{OWN}clients/uploaders.py",
    # What prints, reads or changes.
    "pypi-server --version": "",
    "pypi-server 3.0.0": NAME,
    "pypiserver 1.5.2": NAME,
    "pypi-server -h": "",
    "pypi-server help COMMAND": "pypi-server help check",
    "pypi-server -U": "pypi-server -U --index-url $PIP_INDEX_URL",
    "pypi-server -U --json": "pypi-server -U --json --index-url $PIP_INDEX_URL",
    "pypi-server -U -d /tmp/new ~/packages": "",
    "pypi-server -Uu ~/packages": "pypi-server -Uu --index-url $PIP_INDEX_URL ~/packages",
    "pypi-server -Ux": "pypi-server -Ux --index-url $PIP_INDEX_URL",
    "pypi-server update": "pypi-server update --index-url $PIP_INDEX_URL",
    "pypi-server cache": "",
    "pypi-server check": "",
    "pypi-server check DIR": "pypi-server check ~/packages",
    "pypi-server completion SHELL": "pypi-server completion bash",
    "pypi-server compose": "",
    "pypi-server config check": "",
    "pypi-server config init": "pypi-server config init ~/new.toml",
    "pypi-server config show": "",
    "pypi-server copy SRC DST": "pypi-server copy ~/packages ~/copied",
    "pypi-server delete": "pypi-server delete ~/packages demo --all --yes",
    "pypi-server unclaim NAME": "pypi-server unclaim demo",
    "pypi-server restore ~/packages": "",
    "pypi-server restore": "pypi-server restore ~/packages demo",
    "pypi-server gc": f"{NOT_RUN}needs a bucket",
    "pypi-server gc s3://my-bucket/packages --older-than 1d": f"{NOT_RUN}needs a bucket",
    "pypi-server check --storage s3://my-bucket/packages": f"{NOT_RUN}needs a bucket",
    "pypi-server reindex s3://my-bucket/packages": f"{NOT_RUN}needs a bucket",
    "pypi-server healthcheck": "",
    "pypi-server nginx": "",
    "pypi-server passwd": "pypi-server passwd ~/htpasswd.txt eve",
    "pypi-server passwd FILE USER": "pypi-server passwd ~/htpasswd.txt bob",
    "pypi-server proxy explain NAME": "pypi-server proxy explain demo --fallback-mode proxy",
    "pypi-server proxy explain NAME==VERSION": "pypi-server proxy explain demo==1.0 --fallback-mode proxy",
    "pypi-server proxy explain urllib3==2.7.0": "pypi-server proxy explain urllib3==2.7.0 --fallback-mode proxy",
    "pypi-server proxy refresh NAME": "pypi-server proxy refresh foo --fallback-mode proxy",
    "pypi-server reindex": f"{NOT_RUN}needs a bucket",
    "pypi-server rights check USER PROJECT": "pypi-server rights check ada demo --rights ~/rights",
    "pypi-server stats": COUNTED,
    "pypi-server systemd": "",
    "pypi-server systemd --accel nginx": "",
    "pypi-server token": "pypi-server token mint ~/tokens ci --may upload --service",
    "pypi-server yank": "pypi-server yank ~/packages demo 1.0",
    # What serves.
    "pypi-server run": "pypi-server run ~/packages",
    "pypi-server serve DIR": NAME,
    "pypi-server -v run DIR": "pypi-server -v run ~/packages",
    "pypi-server --port 8080": f"{NOT_RUN}no command",
    "pypi-server --certificate chain.pem --key key.pem ~/packages": f"{OWN}live/test_servers.py",
    "pypi-server --config /etc/pypiserver/pypiserver.toml": "pypi-server --config ~/pypiserver.toml",
    "pypi-server --fallback-mode cache --cache-folder cache --offline /srv/packages": "",
    "pypi-server CACHE/pypi": "pypi-server ~/cache/pypi",
    "pypi-server -P . -a .": "",
    "pypi-server -P FILE ~/packages": "pypi-server -P ~/htpasswd.txt ~/packages",
    "pypi-server -P FILE -a update,download": "pypi-server -P ~/htpasswd.txt -a update,download",
    "pypi-server -P FILE -a update,download,list": "pypi-server -P ~/htpasswd.txt -a update,download,list",
    # Programs of others.
    "curl --fail-with-body": f"curl --fail-with-body {URL}/simple/",
    "curl -L": f"curl -L {URL}/simple/demo",
    "touch -d": "touch -d 2020-02-02 FILE",
    "touch -d 2020-02-02 FILE": "",
    "rsync -a": "rsync -a ~/packages/ ~/rsynced",
    "rsync -t": "rsync -t ~/packages/demo-1.0* ~/rsynced",
    'sqlite3 downloads.sqlite ".backup copy.sqlite"': "",
    "htpasswd -B -c htpasswd.txt ada": "htpasswd -i -B -c new.txt ada",
    "htpasswd -s": "htpasswd -i -s new.txt eve",
    "htpasswd -v htpasswd.txt ada": "htpasswd -i -v htpasswd.txt ada",
    "systemctl reload pypiserver": f"{NOT_RUN}needs another machine",
    "systemctl restart pypiserver": f"{NOT_RUN}needs another machine",
    "systemctl stop": f"{NOT_RUN}needs another machine",
    "docker run -it -v ~/packages:/data/packages pypiserver/pypiserver check packages": DOCKER,
    "docker compose up -d plain": DOCKER,
    "docker compose up -d auth": DOCKER,
    "docker compose up -d tls": DOCKER,
    "kubectl apply -f docs/howto/kubernetes/pypiserver.yaml": f"{NOT_RUN}needs Kubernetes",
    # What this checkout has for those who work on it.
    "bin/docs build": f"{NOT_RUN}has its own test; .ci/run has it",
    "bin/bench --cluster": f"{NOT_RUN}takes minutes",
    "bin/bench --only proxy": f"{NOT_RUN}takes minutes",
    "bin/bench --cluster --only pages,uploads --seconds 1 --rounds 5": f"{NOT_RUN}takes minutes",
    "bin/soak --only bombs --seed SEED": f"{NOT_RUN}takes minutes",
}


def lines(text: str) -> Iterator[tuple[int, str]]:
    """(line number, command line) of each between double backquotes of a page."""
    for match in LITERAL.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, " ".join(match[1].split())


def fault(typed: str) -> str:
    """What is wrong with a row; empty when nothing is."""
    reason = typed.removeprefix(NOT_RUN).partition(";")[0]
    return f"{reason!r} is no reason to be left out" if typed.startswith(NOT_RUN) and reason not in REASONS else ""
