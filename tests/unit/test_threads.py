"""No background thread ends by an exception, whichever call raises it; and all of them are begun in one way."""

from __future__ import annotations

import ast
from pathlib import Path

CODE = Path(__file__).resolve().parents[2] / "pypiserver"
# How threads begin, and where that is done outside of ``supervisor``, with the reason.
STARTERS = {"Thread", "Timer", "ThreadPoolExecutor", "ProcessPoolExecutor", "Process", "ThreadingMixIn", "Observer",
            "start_new_thread", "ThreadingHTTPServer", "BackgroundScheduler"}  # fmt: skip
ALLOWED = {
    ("backend/digester.py", "ThreadPoolExecutor"): "who asks waits for each answer, and gets what it raises",
    ("bucket/digester.py", "ThreadPoolExecutor"): "who asks waits for each answer, and gets what it raises",
    ("bucket/scanner.py", "ThreadPoolExecutor"): "who asks waits for each answer, and gets what it raises",
    ("maintenance/copy.py", "ThreadPoolExecutor"): "a command, which waits for each answer",
    ("cli/update.py", "ThreadPoolExecutor"): "a command, which waits for each answer",
    ("cli/proxy_explain.py", "ThreadPoolExecutor"): "a command, which waits for each answer",
    ("web/html/renderer.py", "Thread"): "ends when nothing waits; the next page begins another, whatever ended it",
    ("web/html/renderer_process.py", "Timer"): "kills a process that hangs, and can raise nothing else",
    ("folder/fs_events.py", "Observer"): "threads of watchdog, looked at by is_running and begun again by revive",
}


def test_every_thread_begins_in_the_supervised_way() -> None:
    found: dict[tuple[str, str], int] = {}
    for path in sorted(CODE.rglob("*.py")):
        where = path.relative_to(CODE).as_posix()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in STARTERS:
                found[where, name] = node.lineno
    supervised = {key for key in found if key[0] == "supervisor.py"}
    assert supervised == {("supervisor.py", "Thread")}
    assert found.keys() - supervised - ALLOWED.keys() == set(), "begin it with supervisor.Loop or supervisor.once"
    assert ALLOWED.keys() - found.keys() == set(), "no longer there"
