"""The catalog's tables, as portable SQL text; :mod:`project_rows` has that of the project list.

**Invariants:** the tables are the same in SQLite and PostgreSQL: TEXT, BIGINT and BLOB, no identity columns. A change
of a table raises ``SCHEMA_VERSION``, and adds a step for PostgreSQL (:mod:`postgres.migrations`): an older SQLite
catalog is then replaced by a new file, which is built from storage, the only truth.
"""

from __future__ import annotations

SCHEMA_VERSION = "11"

TABLES = (
    # What the catalog describes: schema version, roots, digest algorithm. And its epoch: a random name, by which a
    # process recognizes the catalog that it opened.
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    # One row: the number of the last change.
    "CREATE TABLE IF NOT EXISTS serial (id BIGINT PRIMARY KEY, value BIGINT NOT NULL)",
    # A project's row outlives its files, so that a serial is never used twice for different pages.
    # It has what the Simple API's list of projects needs, so that this list reads no rows of files: the number of
    # visible files, a name, and when the newest of them, or of their sidecars, was changed.
    """CREATE TABLE IF NOT EXISTS project (
        name TEXT PRIMARY KEY, serial BIGINT NOT NULL, status TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '',
        files BIGINT NOT NULL DEFAULT 0, display TEXT NOT NULL DEFAULT '',
        changed_ns BIGINT NOT NULL DEFAULT 0
    )""",
    # The folders as the last scan found them: when none has changed, no file was added or removed.
    """CREATE TABLE IF NOT EXISTS folder (
        root BIGINT NOT NULL, path TEXT NOT NULL, mtime_ns BIGINT NOT NULL, inode BIGINT NOT NULL,
        PRIMARY KEY (root, path)
    )""",
    # sha256 '' means: not digested yet. fault '' means: can be listed; otherwise it is the reason for people, and
    # fault_kind the reason for code (errors.FaultKind). Of several rows with one file name, the first by (root, path)
    # without a fault is visible. undecided has the projects that a file may belong to, with a space around each, while
    # only its metadata can tell: all of them exist until the file is read. beside_ns is when the newest sidecar was
    # changed, 0 for none. needs has the projects that the file depends on, separated by spaces.
    """CREATE TABLE IF NOT EXISTS file (
        root BIGINT NOT NULL, path TEXT NOT NULL,
        size BIGINT NOT NULL, mtime_ns BIGINT NOT NULL, inode BIGINT NOT NULL,
        sidecars TEXT NOT NULL,
        filename TEXT NOT NULL, project TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, kind TEXT NOT NULL,
        visible BIGINT NOT NULL, sha256 TEXT NOT NULL, link_digest TEXT NOT NULL,
        requires_python TEXT, metadata_sha256 TEXT, summary TEXT NOT NULL, keywords TEXT NOT NULL,
        yanked TEXT, has_signature BIGINT NOT NULL, has_provenance BIGINT NOT NULL, fault TEXT NOT NULL,
        undecided TEXT NOT NULL DEFAULT '',
        ctime_ns BIGINT NOT NULL DEFAULT 0, beside_ns BIGINT NOT NULL DEFAULT 0,
        fault_kind TEXT NOT NULL DEFAULT '', needs TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (root, path)
    )""",
    # Core metadata, zlib-compressed, in a table of its own so that the rows for pages stay narrow; and ``core``, the
    # part that pages show, parsed once from the file with this sha256. Pages read the body only for the description.
    """CREATE TABLE IF NOT EXISTS metadata (
        root BIGINT NOT NULL, path TEXT NOT NULL, body BLOB NOT NULL, sha256 TEXT, core BLOB, PRIMARY KEY (root, path)
    )""",
    # Where storage allows several files of one name, this table's key decides which upload came first. Folders decide
    # by link(2), and leave this table empty.
    """CREATE TABLE IF NOT EXISTS claim (
        filename TEXT PRIMARY KEY, root BIGINT NOT NULL, path TEXT NOT NULL, sha256 TEXT NOT NULL
    )""",
)

INDEXES = {
    "file_by_project": "CREATE INDEX IF NOT EXISTS file_by_project ON file (project)",
    "file_by_filename": "CREATE INDEX IF NOT EXISTS file_by_filename ON file (filename)",
    "file_undecided": "CREATE INDEX IF NOT EXISTS file_undecided ON file (undecided) WHERE undecided <> ''",
    "file_hidden": "CREATE INDEX IF NOT EXISTS file_hidden ON file (root, path) WHERE visible = 0 AND fault = ''",
    # All keys are equal, so this index gives rows in the table's order, and a batch changes 120 pages, not 1,000.
    "file_pending": "CREATE INDEX IF NOT EXISTS file_pending ON file (sha256) WHERE sha256 = '' AND fault = ''",
    "folder_unread": "CREATE INDEX IF NOT EXISTS folder_unread ON folder (root) WHERE inode = -2",
}
