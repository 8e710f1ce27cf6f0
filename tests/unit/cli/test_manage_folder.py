"""yank, unyank, delete and restore, as typed into a shell; a running application sees what they did."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.make_archives import make_sdist, make_wheel

from ..commandline import pypi_server
from ..waiting import eventually
from ..wsgi import Client

JSON = "application/vnd.pypi.simple.v1+json"
Serve = Callable[..., Client]
Put = Callable[..., Path]
Capture = pytest.CaptureFixture[str]
WHEEL, WHEEL_BYTES = make_wheel("foo_bar", "1.0")
SDIST, SDIST_BYTES = make_sdist("foo-bar", "1.0.0")
NEWER, NEWER_BYTES = make_wheel("foo_bar", "1.1")
OTHER, OTHER_BYTES = make_wheel("other", "1.0")
FILES = {WHEEL: WHEEL_BYTES, f"sub/{SDIST}": SDIST_BYTES, NEWER: NEWER_BYTES, OTHER: OTHER_BYTES}


@pytest.fixture(autouse=True)
def packages(put: Put) -> None:
    for path, data in FILES.items():
        put(path, data)
    put(f"{WHEEL}.asc", b"signature")


def here(root: Path) -> set[str]:
    """Every file in the folder, what is hidden too."""
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


STANDING = {*FILES, f"{WHEEL}.asc"}


def listed(client: Client, project: str = "foo-bar") -> dict[str, object]:
    """What a client is told: file names, and whether or why they are yanked."""
    client._application.backend.refresher.scan()  # type: ignore[attr-defined]
    answer = client.get(f"/simple/{project}/", HTTP_ACCEPT=JSON)
    return {file["filename"]: file["yanked"] for file in answer.json()["files"]} if answer.status == 200 else {}


# -- yank ------------------------------------------------------------------------------------------------------------


def test_a_yank_marks_every_file_of_the_release_and_unyank_takes_it_back(
    serve: Serve, root: Path, capsys: Capture
) -> None:
    client = serve(disable_fallback=True)
    assert listed(client) == {WHEEL: False, SDIST: False, NEWER: False}
    outcome = pypi_server(capsys, "yank", root, "Foo.Bar", "1.0", "--reason", "  breaks <things>\n")
    assert outcome == (0, f"yanked {WHEEL}\nyanked sub/{SDIST}\n", "")
    assert listed(client) == {WHEEL: "breaks <things>", SDIST: "breaks <things>", NEWER: False}
    assert (root / f"{WHEEL}.yanked").read_text() == "breaks <things>\n"
    outcome = pypi_server(capsys, "yank", root, "foo-bar", "1.0")
    assert outcome.status == 0 and listed(client)[WHEEL] is True
    outcome = pypi_server(capsys, "unyank", root, "foo-bar", "1.0.0")
    assert outcome == (0, f"no longer yanked {WHEEL}\nno longer yanked sub/{SDIST}\n", "")
    assert listed(client) == {WHEEL: False, SDIST: False, NEWER: False}
    assert here(root) == STANDING


def test_one_file_can_be_yanked_alone(serve: Serve, root: Path, capsys: Capture) -> None:
    client = serve()
    outcome = pypi_server(capsys, "yank", root, "foo-bar", "--file", SDIST, "--reason", "wrong file")
    assert outcome == (0, f"yanked sub/{SDIST}\n", "")
    assert listed(client) == {WHEEL: False, SDIST: "wrong file", NEWER: False}
    assert pypi_server(capsys, "unyank", root, "foo-bar", "1.0", "--file", SDIST).status == 0
    assert listed(client) == {WHEEL: False, SDIST: False, NEWER: False}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such words")
def test_a_reason_from_a_terminal_without_utf_8_is_kept_as_it_was_typed(
    serve: Serve, root: Path, capsys: Capture
) -> None:
    client = serve()
    outcome = pypi_server(capsys, "yank", root, "foo-bar", "1.1", "--reason", os.fsdecode(b"caf\xe9"))
    assert outcome == (0, f"yanked {NEWER}\n", "")
    assert (root / f"{NEWER}.yanked").read_bytes() == b"caf\xe9\n"
    assert listed(client)[NEWER] == "caf\ufffd"


def test_a_person_may_write_and_delete_the_mark_with_an_editor(serve: Serve, root: Path, capsys: Capture) -> None:
    client = serve()
    (root / f"{WHEEL}.yanked").write_text("by hand\n")
    assert listed(client)[WHEEL] == "by hand"
    (root / f"{WHEEL}.yanked").unlink()
    assert listed(client)[WHEEL] is False
    assert pypi_server(capsys, "unyank", root, "foo-bar", "1.0").status == 0


# -- delete and restore ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("purge", "verb"), [([], "move to the trash"), (["--purge"], "delete")])
def test_without_yes_it_is_only_said_what_would_go(root: Path, capsys: Capture, purge: list[str], verb: str) -> None:
    outcome = pypi_server(capsys, "delete", root, "foo-bar", "1.0", *purge)
    would = f"would {verb}: {WHEEL}\nwould {verb}: sub/{SDIST}\nNothing was changed; say --yes to do it.\n"
    assert outcome == (0, would, "")
    assert here(root) == STANDING


def test_what_is_deleted_goes_to_the_trash_and_comes_back(
    serve: Serve, root: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server takes it for a file removed by hand, which may come back.
    monkeypatch.setattr("pypiserver.folder.partial_files.HOLD_SECONDS", 0.2)
    client = serve(disable_fallback=True)
    assert set(listed(client)) == {WHEEL, SDIST, NEWER}
    before = (root / WHEEL).stat().st_mtime_ns
    outcome = pypi_server(capsys, "delete", root, "foo-bar", "1.0", "--yes")
    assert outcome == (0, f"moved to the trash {WHEEL}\nmoved to the trash sub/{SDIST}\n", "")
    assert listed(client) == {NEWER: False}
    assert eventually(lambda: client.get(f"/packages/{WHEEL}").status == 404)
    assert here(root) == {f".trash/{path}" for path in (WHEEL, f"{WHEEL}.asc", f"sub/{SDIST}")} | {NEWER, OTHER}
    assert pypi_server(capsys, "restore", root) == (0, f"{WHEEL}\nsub/{SDIST}\n", "")
    outcome = pypi_server(capsys, "restore", root, "FOO_bar", "1.0")
    assert outcome == (0, f"restored {WHEEL}\nrestored sub/{SDIST}\n", "")
    assert set(listed(client)) == {WHEEL, SDIST, NEWER}
    assert here(root) == STANDING
    # The upload time is the file's own, so it comes back too.
    assert (root / WHEEL).stat().st_mtime_ns == before
    assert pypi_server(capsys, "restore", root) == (0, "The trash is empty.\n", "")


def test_one_file_goes_and_comes_back_alone(root: Path, capsys: Capture) -> None:
    outcome = pypi_server(capsys, "delete", root, "foo-bar", "--file", SDIST, "--yes")
    assert outcome == (0, f"moved to the trash sub/{SDIST}\n", "")
    pypi_server(capsys, "delete", root, "foo-bar", "1.1", "--yes")
    outcome = pypi_server(capsys, "restore", root, "foo-bar", "--file", SDIST)
    assert outcome == (0, f"restored sub/{SDIST}\n", "")
    assert pypi_server(capsys, "restore", root) == (0, f"{NEWER}\n", "")


def test_purge_deletes_for_good(serve: Serve, root: Path, capsys: Capture) -> None:
    client = serve(disable_fallback=True)
    outcome = pypi_server(capsys, "delete", root, "foo-bar", "1.0", "--purge", "--yes")
    assert outcome == (0, f"deleted {WHEEL}\ndeleted sub/{SDIST}\n", "")
    assert here(root) == {NEWER, OTHER}
    assert listed(client) == {NEWER: False}
    pypi_server(capsys, "delete", root, "foo-bar", "1.1", "--purge", "--yes")
    assert listed(client) == {}


def test_what_is_there_now_is_never_replaced_by_the_trash(root: Path, put: Put, capsys: Capture) -> None:
    pypi_server(capsys, "delete", root, "foo-bar", "1.0", "--yes")
    put(WHEEL, b"another one")
    outcome = pypi_server(capsys, "restore", root, "foo-bar")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == f"pypi-server: {WHEEL} already exists in {root}; the one in the trash stays there.\n"
    assert (root / WHEEL).read_bytes() == b"another one"
    assert (root / ".trash" / WHEEL).read_bytes() == WHEEL_BYTES


def test_what_someone_put_into_the_trash_does_no_harm(root: Path, put: Put, capsys: Capture) -> None:
    pypi_server(capsys, "delete", root, "foo-bar", "1.1", "--yes")
    put(".trash/notes.txt", b"mine")
    assert pypi_server(capsys, "restore", root, "foo-bar") == (0, f"restored {NEWER}\n", "")
    assert (root / ".trash" / "notes.txt").exists()


# -- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["yank", "unyank", "delete"])
@pytest.mark.parametrize(
    ("operands", "sentence"),
    [
        (("nothing", "1.0"), "There is no project 'nothing' in {root}."),
        (("foo-bar", "9"), "There is no foo-bar 9 in {root}; of foo-bar there is 1.0, 1.0.0, 1.1."),
        (
            ("foo-bar", "--file", OTHER),
            f"There is no {OTHER} in {{root}}; of foo-bar there is 1.0, 1.0.0, 1.1.",
        ),
        (("foo-bar", "1.1", "--file", WHEEL), f"There is no {WHEEL} in {{root}}; of foo-bar there is 1.0, 1.0.0, 1.1."),
        (("foo-bar",), "No release is given for 'foo-bar'; add its VERSION, --file NAME, or --all."),
        ((), "No release is given for '{root}'; add its VERSION, --file NAME, or --all."),
    ],
)
def test_what_is_not_there_is_said_with_what_there_is(
    root: Path, capsys: Capture, command: str, operands: tuple[str, ...], sentence: str
) -> None:
    yes = ["--yes"] if command == "delete" else []
    outcome = pypi_server(capsys, command, root, *operands, *yes)
    assert outcome == (2, "", f"pypi-server: {sentence.format(root=root, command=command)}\n")
    assert here(root) == STANDING


def test_of_many_versions_the_newest_are_named(root: Path, capsys: Capture) -> None:
    for number in range(1, 13):
        (root / f"many-{number}.0-py3-none-any.whl").write_bytes(b"")
    outcome = pypi_server(capsys, "unyank", root, "many==99")
    named = ", ".join(f"{number}.0" for number in range(3, 13))
    assert outcome.err.endswith(f"of many there are 2 older ones and {named}.\n")


def test_the_trash_says_when_it_has_no_such_file(root: Path, capsys: Capture) -> None:
    outcome = pypi_server(capsys, "restore", root, "foo-bar", "1.0")
    sentence = f"The trash of {root} holds no such file of foo-bar; it is empty."
    assert outcome == (2, "", f"pypi-server: {sentence}\n")


@pytest.mark.parametrize(
    "arguments", [("yank", "foo", "1"), ("unyank", "foo", "1"), ("delete", "foo", "1", "--yes"), ("restore",)]
)
def test_a_missing_folder_is_named(tmp_path: Path, capsys: Capture, arguments: tuple[str, ...]) -> None:
    command, *rest = arguments
    missing = tmp_path / "nowhere"
    outcome = pypi_server(capsys, command, missing, *rest)
    assert (outcome.status, outcome.out) == (2, "")
    assert f"The folder {missing} cannot be read: No such file or directory." in outcome.err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_odd_characters_in_a_path_are_printed_as_escapes(root: Path, put: Put, capsys: Capture) -> None:
    put(f"ünï code/{make_wheel('third', '1.0')[0]}", make_wheel("third", "1.0")[1])
    outcome = pypi_server(capsys, "yank", root, "third", "1.0")
    assert outcome == (0, "yanked ünï code/third-1.0-py3-none-any.whl\n", "")


# -- --json ----------------------------------------------------------------------------------------------------------


def rows(capsys: Capture, *arguments: object) -> list[tuple[str, str, bool]]:
    """What a command with ``--json`` says of each file: the action, the path, and whether it was done."""
    outcome = pypi_server(capsys, *arguments, "--json")
    assert (outcome.status, outcome.err) == (0, "")
    report = json.loads(outcome.out)
    assert list(report) == ["files"]
    assert {each["folder"] for each in report["files"]} <= {str(arguments[1])}
    return [(each["action"], each["path"], each["done"]) for each in report["files"]]


def test_every_change_is_told_in_json_in_one_shape(root: Path, capsys: Capture) -> None:
    inside = f"sub/{SDIST}"
    release = (root, "foo-bar", "1.0")
    assert rows(capsys, "yank", *release) == [("yank", WHEEL, True), ("yank", inside, True)]
    assert (root / f"{WHEEL}.yanked").is_file()
    assert rows(capsys, "unyank", *release) == [("unyank", WHEEL, True), ("unyank", inside, True)]
    assert not (root / f"{WHEEL}.yanked").exists()
    assert rows(capsys, "delete", *release) == [("trash", WHEEL, False), ("trash", inside, False)]
    assert here(root) == STANDING
    assert rows(capsys, "restore", root) == []
    assert rows(capsys, "delete", *release, "--yes") == [("trash", WHEEL, True), ("trash", inside, True)]
    assert sorted(rows(capsys, "restore", root)) == [("restore", WHEEL, False), ("restore", inside, False)]
    assert sorted(rows(capsys, "restore", *release)) == [("restore", WHEEL, True), ("restore", inside, True)]
    assert here(root) == STANDING
    assert rows(capsys, "delete", *release, "--purge") == [("delete", WHEEL, False), ("delete", inside, False)]
    assert rows(capsys, "delete", *release, "--purge", "--yes") == [("delete", WHEEL, True), ("delete", inside, True)]


def test_json_tells_what_was_done_before_a_failure(root: Path, put: Put, capsys: Capture) -> None:
    pypi_server(capsys, "delete", root, "foo-bar", "1.0", "--yes")
    put(f"sub/{SDIST}", b"another one")
    outcome = pypi_server(capsys, "restore", root, "foo-bar", "1.0", "--json")
    assert outcome.status == 2 and SDIST in outcome.err
    assert [each["path"] for each in json.loads(outcome.out)["files"]] == [WHEEL]


def test_json_is_whole_when_there_was_nothing_to_do(root: Path, capsys: Capture) -> None:
    outcome = pypi_server(capsys, "yank", root, "nobody", "1.0", "--json")
    assert (outcome.status, json.loads(outcome.out)) == (2, {"files": []})
    assert "'nobody'" in outcome.err


def test_a_password_that_is_set_is_told_in_json(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for added in (True, False):
        monkeypatch.setattr(sys, "stdin", io.StringIO("sesame\n"))
        outcome = pypi_server(capsys, "passwd", tmp_path / "htpasswd", "ada", "--json")
        assert json.loads(outcome.out) == {"file": str(tmp_path / "htpasswd"), "user": "ada", "added": added}


# -- which files ----------------------------------------------------------------------------------------------------


@pytest.fixture
def configured(root: Path, put: Put, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the environment names, with two releases of foo-bar."""
    put(WHEEL, WHEEL_BYTES)
    put(f"sub/{SDIST}", SDIST_BYTES)
    put(NEWER, NEWER_BYTES)
    monkeypatch.setenv("PYPISERVER_ROOTS", str(root))
    return root


@pytest.mark.parametrize("words", [("foo-bar==1.0",), ("Foo.Bar == 1.0",), ("foo-bar", "1.0"), ("foo-bar", "v1.0")])
def test_without_a_folder_it_is_that_of_the_settings(words: tuple[str, ...], configured: Path, capsys: Capture) -> None:
    assert pypi_server(capsys, "yank", *words) == (0, f"yanked {WHEEL}\nyanked sub/{SDIST}\n", "")


def test_a_configuration_file_names_the_folder_too(root: Path, put: Put, tmp_path: Path, capsys: Capture) -> None:
    put(WHEEL, WHEEL_BYTES)
    file = tmp_path / "settings.toml"
    file.write_text(f"roots = ['{root}']\n")
    assert pypi_server(capsys, "yank", "foo-bar==1.0", "--config", file).out.startswith(f"yanked {WHEEL}\n")


def test_a_release_behind_a_folder_can_be_one_word(configured: Path, tmp_path: Path, capsys: Capture) -> None:
    assert pypi_server(capsys, "yank", configured, "foo-bar==1.1") == (0, f"yanked {NEWER}\n", "")
    outcome = pypi_server(capsys, "yank", "foo-bar==1.1", "1.1")
    assert outcome.status == 2 and "has a version already" in outcome.err


def test_every_release_of_a_project_is_changed_with_all(configured: Path, capsys: Capture) -> None:
    outcome = pypi_server(capsys, "yank", "foo-bar", "--all")
    assert outcome == (0, f"yanked {WHEEL}\nyanked sub/{SDIST}\nyanked {NEWER}\n", "")
    assert pypi_server(capsys, "delete", configured, "foo-bar", "--all", "--yes").out.count("moved to the trash") == 3
    assert pypi_server(capsys, "restore", "foo-bar", "--all").out.count("restored") == 3
    assert pypi_server(capsys, "yank", "foo-bar==1.0", "--all").status == 2


def test_a_name_that_is_not_there_suggests_one_that_is(configured: Path, capsys: Capture) -> None:
    outcome = pypi_server(capsys, "yank", "foobar==1.0")
    assert outcome.status == 2 and f"in {configured}; did you mean 'foo-bar'?" in outcome.err


def test_what_was_not_yanked_is_said_to_be_so(configured: Path, capsys: Capture) -> None:
    assert pypi_server(capsys, "yank", "foo-bar", "--file", WHEEL).status == 0
    outcome = pypi_server(capsys, "unyank", "foo-bar==1.0")
    assert outcome == (0, f"no longer yanked {WHEEL}\nwas not yanked sub/{SDIST}\n", "")
    outcome = pypi_server(capsys, "unyank", "foo-bar==1.0", "--json")
    assert [file["done"] for file in json.loads(outcome.out)["files"]] == [False, False]


def test_an_empty_trash_is_said_to_be_empty(configured: Path, capsys: Capture) -> None:
    assert pypi_server(capsys, "restore") == (0, "The trash is empty.\n", "")
    assert pypi_server(capsys, "restore", configured) == (0, "The trash is empty.\n", "")
    assert pypi_server(capsys, "restore", "foo-bar==1.0").err.endswith("holds no such file of foo-bar; it is empty.\n")
    assert json.loads(pypi_server(capsys, "restore", "--json").out) == {"files": []}


def test_one_word_for_restore_is_a_folder_that_exists_or_a_name(
    configured: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(configured.parent)
    assert pypi_server(capsys, "delete", "foo-bar==1.1", "--yes").status == 0
    assert pypi_server(capsys, "restore", configured.name) == (0, f"{NEWER}\n", "")
    assert pypi_server(capsys, "restore", "Foo.Bar") == (0, f"restored {NEWER}\n", "")
    assert "no such file of foo-bar" in pypi_server(capsys, "restore", "foo-bar").err
    missing = configured.parent / "foo-bar"
    assert f"The folder {missing} cannot be read" in pypi_server(capsys, "restore", "./foo-bar").err
