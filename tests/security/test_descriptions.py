"""Descriptions that are made to harm whoever renders them (P36): plain text, in bounded time and memory."""

from __future__ import annotations

import contextlib
import html
import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings

from bin.soaking.processes import kibibytes
from pypiserver.web.html.copy_script import SCRIPT
from pypiserver.web.html.light_markdown import light
from pypiserver.web.html.readme import MAX_LIGHT
from pypiserver.web.html.renderer_worker import MEMORY_BYTES
from tests.descriptions import BECAUSE, BOMBS, MD, PENDING, RST, SHAPES, bombs, described, shape, texts
from tests.hostile import OPEN, ask, eventually, every_server, serving
from tests.security.test_live import children_of
from tests.unit.wsgi import Answer, Client

Serve = Callable[..., Client]
Put = Callable[..., Path]
BROWSER = "text/html,*/*;q=0.8"
MEBIBYTE = 1 << 20
PLAIN = '<pre class="plain">'


def asked(client: Client, project: str) -> Answer:
    return client.get(f"/project/{project}/", HTTP_ACCEPT=BROWSER)


def decided(client: Client, project: str) -> Answer:
    """The page, once it is known what becomes of its description."""
    eventually(lambda: PENDING not in asked(client, project).text, seconds=90)
    return asked(client, project)


def of_description(page: str) -> str:
    return page.partition('<section id="description">')[2].partition("</section>\n")[0]


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_description_that_is_a_bomb_is_plain_text_with_the_reason(serve: Serve, put: Put, bomb: str) -> None:
    kind, make = BOMBS[bomb]
    put(*described("bomb", kind, make()))
    client = serve(disable_fallback=True)
    assert asked(client, "bomb").status == 200
    page = decided(client, "bomb")
    assert page.status == 200 and BECAUSE in page.text
    assert html.escape(make().strip()[:500]) in page.text and PLAIN in page.text
    assert "root:" not in page.text


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_that_could_grow_is_answered_and_bounded(serve: Serve, put: Put, name: str) -> None:
    put(*described("shape", SHAPES[name][0], shape(name, 9_000)))
    client = serve(disable_fallback=True)
    page = decided(client, "shape")
    assert page.status == 200 and len(page.body) < 3 * MEBIBYTE
    assert PLAIN in page.text or BECAUSE not in page.text


@given(drawn=texts())
@settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "12")))
def test_any_description_is_answered_and_takes_bounded_memory_elsewhere(
    drawn: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    import pypiserver

    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    root = tmp_path_factory.mktemp("packages")
    name, data = described("any", *drawn)
    (root / name).write_bytes(data)
    os.utime(root / name, (1_600_000_000, 1_600_000_000))
    application = pypiserver.app(roots=[root], password_file=".", authenticate=".", catalog=root.parent / "c.sqlite")
    try:
        client = Client(application)
        page = decided(client, "any")
        assert page.status == 200 and len(page.body) < 3 * MEBIBYTE
        assert "<script" not in page.text.replace(f"<script>{SCRIPT}</script>", "", 1)
    finally:
        application.close()
    # In KiB: the most that any of the processes had.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < max(before + 1, MEMORY_BYTES // 1024)


@contextlib.contextmanager
def others_asking(url: str) -> Iterator[list[float]]:
    """Someone else asks all the time; gives how many seconds each answer took."""
    seconds: list[float] = []
    ends = threading.Event()

    def ask_on() -> None:
        while not ends.is_set():
            reply = ask(url, "/simple/good/")
            seconds.append(reply.seconds if reply.status == 200 else float("inf"))
            time.sleep(0.05)

    thread = threading.Thread(target=ask_on)
    thread.start()
    try:
        yield seconds
    finally:
        ends.set()
        thread.join()


def serving_processes(pid: int) -> list[int]:
    """The processes of a server, without those that render."""
    found = []
    for each in children_of(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += [each] if b"renderer_worker" not in Path(f"/proc/{each}/cmdline").read_bytes() else []
    return found


def put_all(folder: Path) -> list[str]:
    folder.mkdir()
    found = [("good", MD, "*good* words"), *bombs(), ("fine", RST, "*fine* words")]
    for project, kind, text in found:
        name, data = described(project, kind, text)
        (folder / name).write_bytes(data)
        os.utime(folder / name, (1_600_000_000, 1_600_000_000))
    return [project for project, _, _ in found]


@every_server
def test_descriptions_that_are_bombs_harm_no_server(server: str, tmp_path: Path) -> None:
    projects = put_all(tmp_path / "packages")
    with serving(tmp_path, *OPEN, server=server) as live:

        def page(project: str) -> str:
            reply = ask(live.url, f"/project/{project}/", Accept=BROWSER)
            assert reply.status == 200 and reply.seconds < 10
            return reply.body.decode()

        eventually(lambda: "<em>good</em>" in page("good"))
        pids = serving_processes(live.process.pid)
        before = {pid: kibibytes(pid, "VmHWM") for pid in pids}
        with others_asking(live.url) as seconds:
            for project in projects:
                # The first has asked for it, and the second must not wait for it.
                page(project)
                page(project)
                eventually(lambda project=project: PENDING not in page(project), seconds=90)  # type: ignore[misc]
                assert (BECAUSE in page(project)) is project.startswith("bomb")
        assert "<em>fine</em>" in page("fine")
        assert serving_processes(live.process.pid) == pids
        grown = {pid: kibibytes(pid, "VmHWM") - before[pid] for pid in pids}
        assert max(grown.values()) * 1024 < 64 * MEBIBYTE, grown
        assert len(seconds) > 20 and max(seconds) < 5
    assert live.process.returncode == 0


@every_server
def test_a_server_that_is_killed_leaves_no_renderer(server: str, tmp_path: Path) -> None:
    put_all(tmp_path / "packages")
    with serving(tmp_path, *OPEN, server=server) as live:
        eventually(lambda: b"<em>good</em>" in ask(live.url, "/project/good/", Accept=BROWSER).body)
        # Substitutions that take until they are stopped.
        ask(live.url, "/project/bomb-3/", Accept=BROWSER)
        pids = children_of(live.process.pid)
        assert len(pids) > len(serving_processes(live.process.pid))
        for pid in serving_processes(live.process.pid):
            os.kill(pid, 9)
        eventually(lambda: not [pid for pid in pids if is_running(pid)], seconds=20)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# Begun again and again, and never ended.
BEGUN = [
    *("[", "(", "`", "*", "**a ", "__", "![", "[a](", "[a](http://x ", "<a ", "<http://", "<!--", "[a](b(", "[a][b"),
    *("[![a](b", "`a", "\\", "> ", "- ", "# ", "|", "=\n", "a\n=", "\n- a\n", "* a\n\n", "~~~\n", "    x\n"),
    "[a]: b\n",
]


@pytest.mark.parametrize("pattern", BEGUN)
def test_markdown_without_a_library_takes_time_that_grows_with_the_text_alone(pattern: str) -> None:
    """With work that grows by the square, the longest text takes a minute."""
    text = (pattern * MAX_LIGHT)[:MAX_LIGHT]
    begun = time.thread_time()
    light(text)
    assert time.thread_time() - begun < 5
