"""Words that readers must look up or read twice do not come back where the English has been cleaned.

``CLEAN`` grows: add a room or page once its help, messages, comments and docstrings are in plain English.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
CLEAN = (
    "README.rst",
    "docs/contributing.rst",
    "docs/design.rst",
    "docs/glossary.rst",
    "docs/howto/*.rst",
    "docs/index.rst",
    "docs/rationale.rst",
    "docs/reference/settings.rst",
    "docs/security.rst",
    "docs/tutorial.rst",
    "docs/which-index.rst",
    "pypiserver/__init__.py",
    "pypiserver/__main__.py",
    "pypiserver/access/*.py",
    "pypiserver/allowed_names.py",
    "pypiserver/backend/__init__.py",
    "pypiserver/backend/backend.py",
    "pypiserver/backend/hashing.py",
    "pypiserver/backend/mounts.py",
    "pypiserver/backend/name_lock.py",
    "pypiserver/backend/on_demand.py",
    "pypiserver/backend/project_status.py",
    "pypiserver/backend/protocols.py",
    "pypiserver/backend/service.py",
    "pypiserver/backend/stored_file.py",
    "pypiserver/backend/unindexed.py",
    "pypiserver/backend/upkeep.py",
    "pypiserver/backend/writing.py",
    "pypiserver/batches.py",
    "pypiserver/bottle.py",
    "pypiserver/bottle_wrapper.py",
    "pypiserver/bounded_cache.py",
    "pypiserver/bucket/backend.py",
    "pypiserver/bucket/catalog.py",
    "pypiserver/bucket/digester.py",
    "pypiserver/bucket/indexer.py",
    "pypiserver/bucket/inventory.py",
    "pypiserver/bucket/object_store.py",
    "pypiserver/bucket/presign.py",
    "pypiserver/bucket/probe.py",
    "pypiserver/bucket/reader.py",
    "pypiserver/bucket/staged.py",
    "pypiserver/bucket/writer.py",
    "pypiserver/catalog/*.py",
    "pypiserver/catalog/postgres/*.py",
    "pypiserver/catalog/sqlite/__init__.py",
    "pypiserver/catalog/sqlite/cache_folder.py",
    "pypiserver/catalog/sqlite/change_counter.py",
    "pypiserver/catalog/sqlite/connections.py",
    "pypiserver/catalog/sqlite/leader_lock.py",
    "pypiserver/catalog/sqlite/places.py",
    "pypiserver/cli/arguments.py",
    "pypiserver/cli/commands/*.py",
    "pypiserver/cli/completion.py",
    "pypiserver/cli/config_check.py",
    "pypiserver/cli/deploy_files.py",
    "pypiserver/cli/manage.py",
    "pypiserver/cli/options.py",
    "pypiserver/cli/output.py",
    "pypiserver/cli/parser.py",
    "pypiserver/cli/pip_download.py",
    "pypiserver/cli/progress.py",
    "pypiserver/cli/release.py",
    "pypiserver/cli/roots.py",
    "pypiserver/cli/server_options.py",
    "pypiserver/cli/serving.py",
    "pypiserver/cli/show_config.py",
    "pypiserver/cli/subcommand.py",
    "pypiserver/cli/update.py",
    "pypiserver/console.py",
    "pypiserver/distributions/*.py",
    "pypiserver/errors.py",
    "pypiserver/factory.py",
    "pypiserver/folder/[!acjrst]*.py",
    "pypiserver/folder/checker.py",
    "pypiserver/folder/rounds.py",
    "pypiserver/folder/safe_open.py",
    "pypiserver/folder/staged.py",
    "pypiserver/folder/tmpfile.py",
    "pypiserver/formats/*.py",
    "pypiserver/index/__init__.py",
    "pypiserver/index/publish.py",
    "pypiserver/maintenance/*.py",
    "pypiserver/memory.py",
    "pypiserver/model.py",
    "pypiserver/native_names.py",
    "pypiserver/observability/*.py",
    "pypiserver/process.py",
    "pypiserver/request_info.py",
    "pypiserver/server/*.py",
    "pypiserver/settings/*.py",
    "pypiserver/terminal.py",
    "pypiserver/text.py",
    "pypiserver/upstream/*.py",
    "pypiserver/web/*.py",
    "pypiserver/web/api/*.py",
    "pypiserver/web/api/health.py",
    "pypiserver/web/api/legacy_json.py",
    "pypiserver/web/api/xmlrpc.py",
    "pypiserver/web/html/*.py",
    "pypiserver/web/http/[!m]*.py",
)
# What to write instead.
BETTER = {
    "so long": "for this many seconds, as long as",
    "so many": "this many",
    "whoever|whomever": "users who, clients that, code that",
    "nobody|noone": "no user, no client; refused to everyone",
    "everybody": "everyone, all users",
    "somebody|anybody": "another user, a client, an attacker",
    "stands|stood": "is, has",
    "beside|besides": "next to; also",
    "away": "down, removed",
    "in vain": "unreferenced, without effect",
    "for ever": "without end, without a timeout",
    "yesterday|yesterday's": "older, legacy",
    "had it|be had": "contained it; available",
    "anew|afresh": "again",
    "the rules? to keep": "**Invariants:**",
    "goes on|go on|went on|going on": "continues, keeps, still",
    'behaviour|colour|licence|labelled(?! ")|defence': "US spelling",
    r"(?:normal|serial|recogn|author|organ|sanit)is(?:e|es|ed|ing|ation)": "US spelling",
}
PATTERNS = {re.compile(rf"(?<!\w)(?:{words})(?!\w)"): better for words, better in BETTER.items()}
ANY = re.compile(rf"(?<!\w)(?:{'|'.join(BETTER)})(?!\w)")
CAPITAL = re.compile(r"\b[A-Z](?=[a-z])")


def found_in(text: str) -> list[str]:
    """Each line with such a word, with its number and what to write instead."""
    plain = CAPITAL.sub(lambda match: match[0].lower(), text)
    return [
        f"{number}: {match[0]!r} in {line.strip()!r}; better: {better}"
        for number, line in enumerate(plain.splitlines() if ANY.search(plain) else (), start=1)
        for pattern, better in PATTERNS.items()
        if (match := pattern.search(line))
    ]


@pytest.mark.parametrize("files", CLEAN)
def test_what_was_cleaned_stays_in_plain_english(files: str) -> None:
    paths = sorted(TOP.glob(files))
    assert paths, "no such file"
    wrong = [f"{path.relative_to(TOP)}:{each}" for path in paths for each in found_in(path.read_text("utf-8"))]
    assert wrong == []


def test_each_of_the_words_is_found() -> None:
    assert len(found_in("Whoever stands beside it\nworked in vain.")) == 4
    assert found_in("beside_them = SO_LONG or BESIDE") == []
