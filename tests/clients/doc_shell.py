"""A page's commands as one shell script, and the words of it that are others on the machine where it is run.

The reader types one command after the other in one shell. A command that serves continues in a second shell until the
next one that serves; its question is answered with PASSWORD. What the page says of a machine, CHANGED says of this one.

Invariants: only words of CHANGED differ from the page; the script ends at the first command that fails.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from pypiserver.cli.parser import _command_in
from tests.clients.doc_pages import Block

PASSWORD = "the-password"
# What pages say, and what it is here; {…} are the fields of Machine.
CHANGED = {
    r"(localhost|0\.0\.0\.0|127\.0\.0\.1):8080\b": r"127.0.0.1:{port}",
    r"(localhost|0\.0\.0\.0|127\.0\.0\.1):(8081|9000)\b": r"127.0.0.1:{second}",
    r"((?<!\S)-p |\bport ?= ?|_PORT=)8080\b": r"\g<1>{port}",
    r"((?<!\S)-p |\bport ?= ?|_PORT=)(?:8081|9000|7001)\b": r"\g<1>{second}",
    r"0\.0\.0\.0": r"127.0.0.1",
    # Folders of the machine.
    r"(?<![\w~./-])/(srv|opt|var|mnt|etc|run|tmp)/": r"{root}/\g<1>/",
    r"(?<![\w.])/home/ada\b": "{root}/home/ada",
    # What a reader fills in, and example hosts.
    r"\bPACKAGE\b": "demo",
    r"\bWORD\b": "demo",
    r"https://pypi\.example/simple/ (?=-d)": "{index} --trusted-host {host} ",
    r"(https?://)((?:\S+@)?)pypi\.example/": r"http://\g<2>127.0.0.1:{port}/",
    r"\bmachine pypi\.example\b": "machine 127.0.0.1",
    # It asks PyPI, whatever pip is told.
    r"\bpypi-server (-Ux?)(?= )": r"pypi-server \g<1> --index-url {index}",
    r"\bfound on pypi\b": "found on {index}",
    # A setuptools that still uploads has a Python of its own.
    r"\bpython (?=setup\.py\b)": "python-with-upload ",
}
# An answer of "there is something", which is no failure.
ANSWERS = r"pypi-server -U|pip search"
# What may continue until it is ended.
SERVES = re.compile(r"(?:uvx )?(?:\S*/)?(?:pypi-server|pypiserver|gunicorn)(?= |$)(.*)", re.DOTALL)
PROLOGUE = r"""set -eu -o pipefail
SERVER=
stop() {
  [ -n "$SERVER" ] || return 0
  # Asked twice, it waits for nothing.
  while kill "$SERVER" 2>/dev/null; do sleep 0.1; done
  wait "$SERVER" || true
  SERVER=
}
# An answer that is an error ends the page.
curl() {
  case " $* " in
    *" -f"*) command curl -sS "$@" ;;
    *) command curl -sS --fail-with-body "$@" ;;
  esac
}
# lock uv: a project that needs demo and has the settings that were just shown is locked, from our index.
lock() (
  cd ~/"$1-project"
  printf '%s\n' '[project]' 'name = "mine"' 'version = "1.0"' 'requires-python = ">=3.10"' >>pyproject.toml
  echo 'dependencies = ["demo"]' >>pyproject.toml
  env -u UV_DEFAULT_INDEX "$1" lock
  grep -F demo "$1.lock"
)
trap 'stop; for job in $(jobs -p); do kill "$job" 2>/dev/null || true; done; wait' EXIT
answers() {
  for _ in $(seq 600); do
    for port in $PORTS; do
      ! command curl -s -o /dev/null "http://127.0.0.1:$port/" || return 0
    done
    kill -0 "$SERVER" 2>/dev/null || break
    sleep 0.05
  done
  echo "nothing serves:" >&2
  cat "$LOG" >&2
  return 1
}
at() { printf '\n@@ %s\n' "$1"; printf '\n@@ %s\n' "$1" >&2; }
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the reader's machine is here: a folder for its root, two free ports, and an index that acts as PyPI."""

    root: Path
    port: int
    second: int
    index: str

    @property
    def home(self) -> Path:
        return self.root / "home" / "ada"

    def local(self, text: str) -> str:
        """The text with the words of this machine."""
        host = urlsplit(self.index).netloc
        fields = {"root": self.root, "port": self.port, "second": self.second, "index": self.index, "host": host}
        for pattern, here in CHANGED.items():
            for name, value in fields.items():
                here = here.replace(f"{{{name}}}", str(value))
            text = re.sub(pattern, here, text)
        return text


def statements(text: str) -> Iterator[str]:
    """The commands of a block, each with its further lines: after a backslash, or up to the end of a here document."""
    pending: list[str] = []
    ending = ""
    for line in text.splitlines():
        pending.append(line)
        if ending:
            ending = "" if line == ending else ending
        elif opened := re.search(r"<<'(\w+)'", line):
            ending = opened[1]
        if not ending and not line.endswith("\\"):
            yield "\n".join(pending)
            pending = []
    assert not pending, pending


def serves(statement: str) -> bool:
    """Whether the command continues until it is ended."""
    found = SERVES.fullmatch(statement)
    if found is None or statement.rstrip().endswith("&") or " > " in statement:
        return False
    words = shlex.split(found[1], comments=True)
    return _command_in(words)[0] in {"", "run"} and not any(
        re.match(r"-U|-h$|--help|--version", word) for word in words
    )


def script(blocks: Sequence[Block], machine: Machine) -> str:
    """The whole page: commands are run, files are written, Python is executed."""
    return PROLOGUE + "\n".join(line for block in blocks for line in _lines(block, machine))


def _lines(block: Block, machine: Machine) -> Iterator[str]:
    if block.not_run:
        return
    text = machine.local(block.text)
    yield f"at {block.line}"
    if block.file:
        yield from _written(text, machine.local(block.file))
    elif block.kind == "python":
        name = f"block-{block.line}.py"
        yield from _written(text, name)
        yield from _served(f"python {name}") if re.search(r"\.run\(|loadserver\(", text) else [f"python {name}"]
    elif block.kind == "synopsis":
        yield " ".join(word for word in text.split() if not re.match(r"\[|[A-Z]+$", word)) + " --help"
    elif block.kind == "yaml":
        yield from _job(text)
    elif block.kind in {"shell", "run"}:
        # What follows the prompt is what it prints.
        for statement in statements(text.partition("\n")[0][2:] if text[0] == "$" else text):
            yield from _served(statement) if serves(statement) else _typed(statement)


def _job(text: str) -> Iterator[str]:
    """The commands of a job of CI with its variables; none of other YAML."""
    read = yaml.safe_load(re.sub(r"\$\{\{ secrets\.(\w+) \}\}", r"$\1", text))
    jobs = read.get("jobs") or {name: job for name, job in read.items() if isinstance(job, dict)}
    for job in jobs.values():
        steps = job.get("steps") or [{"run": line, "env": job["variables"]} for line in job.get("script", ())]
        for step in steps:
            for name, value in step.get("env", {}).items():
                yield f'export {name}="{value}"'
            if "run" in step:
                yield from _typed(step["run"])


def _typed(statement: str) -> Iterator[str]:
    if re.match(r"(?:export|cd) |#|$", statement) or statement.rstrip().endswith("&") or "<<'" in statement:
        yield statement
    elif re.search(ANSWERS, statement):
        yield f"{{ {statement}\n}} <<< '{PASSWORD}' || [ $? = 1 ]"
    else:
        yield f"{{ {statement}\n}} <<< '{PASSWORD}'"


def _served(statement: str) -> Iterator[str]:
    yield "stop"
    yield f'{{ exec {statement}\n}} > "$LOG" 2>&1 &'
    yield "SERVER=$!; answers"


def _written(text: str, path: str) -> Iterator[str]:
    quoted = f"~/{shlex.quote(path[2:])}" if path.startswith("~/") else shlex.quote(path)
    yield f"mkdir -p \"$(dirname {quoted})\"; cat > {quoted} <<'END-OF-BLOCK'\n{text}\nEND-OF-BLOCK"


def shown(block: Block, machine: Machine) -> re.Pattern[str] | None:
    """What a block that begins with a prompt says will be printed; ``...`` stands for anything."""
    if not block.text.startswith("$ ") or block.not_run:
        return None
    expected = machine.local(block.text).partition("\n")[2].strip()
    return re.compile(re.escape(expected).replace(re.escape("..."), ".*?"), re.DOTALL)
