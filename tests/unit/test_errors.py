"""The tree of failures: each carries data next to its sentence, and keeps both when it is copied or sent elsewhere."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

from pypiserver import errors
from pypiserver.distributions.archive_limits import BadArchive

Copier = Callable[[Exception], Exception]
COPIERS = [
    copy.copy,
    copy.deepcopy,
    *(lambda error, number=number: pickle.loads(pickle.dumps(error, number)) for number in range(2, 6)),
]
FAILURES: list[Exception] = [
    errors.PypiServerError("It failed.", kind="odd", filename="foo-1.0.zip", project="foo", reason="it is odd"),
    errors.ConfigError("--port: 'x' is no port.", kind="value", setting="port", value="x", source="--port"),
    errors.ConfigError.of([errors.Mistake("One.", setting="port"), errors.Mistake("Two.", setting="host")]),
    errors.InvalidFilename("'-' is no project name", filename="-.zip", kind="project-name", rule="... is no name"),
    errors.InvalidDistribution("foo-1.0.zip", "it is short", kind="unsafe", ending="."),
    errors.MethodNotAllowed("This address takes GET.", "GET"),
    errors.Unavailable("It is away.", public="Later.", is_passing=False, kind="unlisted", project="foo"),
    errors.NotFound("The object is gone.", public="The file is gone."),
    BadArchive("truncated", "it is short", "unsafe"),
]


@pytest.mark.parametrize("copied", COPIERS)
@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_a_copy_has_the_same_sentence_and_data(error: Exception, copied: Copier) -> None:
    other = copied(error)
    assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))
    assert getattr(other, "public", "") == getattr(error, "public", "")


def test_a_failure_in_other_words_keeps_its_data() -> None:
    error = errors.Unavailable("It is away.", public="Later.", is_passing=False, kind="unlisted", project="foo")
    other = error.reworded("It is gone.", public="Never.")
    assert (str(other), other.public, other.is_passing, other.project) == ("It is gone.", "Never.", False, "foo")
    assert (str(error), error.public, error.reworded("Else.").public) == ("It is away.", "Later.", error.general)


def test_all_mistakes_of_the_settings_are_said_together() -> None:
    found = [errors.Mistake("One.", "value", "port", "x", "-p"), errors.Mistake("Two.", setting="host")]
    error = errors.ConfigError.of(found)
    assert (str(error), error.mistakes, error.settings) == ("One.\nTwo.", tuple(found), ("port", "host"))
    assert (error.kind, error.setting, error.value, error.source) == ("value", "port", "x", "-p")


def test_a_refused_distribution_is_named_once() -> None:
    error = errors.InvalidDistribution("foo-1.0.zip", "it is short")
    assert (str(error), error.filename, error.reason, error.kind) == (
        "foo-1.0.zip is refused: it is short",
        "foo-1.0.zip",
        "it is short",
        "corrupt",
    )
