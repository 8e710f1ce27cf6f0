"""What others ask of the indexer of folders."""

from __future__ import annotations

from pypiserver.folder.indexer import FolderIndexer

from ..waiting import eventually


def test_when_all_is_digested_the_list_is_there(watch: FolderIndexer) -> None:
    watch.ensure_current()
    assert eventually(lambda: watch.catalog._all("SELECT project FROM listing") == [("foo",)])
    assert watch.catalog.pending_count() == 0
