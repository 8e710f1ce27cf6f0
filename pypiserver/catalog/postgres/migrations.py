"""The catalog's tables on PostgreSQL, as an ordered list of migration steps.

A SQLite catalog is deleted when its tables change (:mod:`schema`); here building it again may take hours, so the tables
change step by step.

**Invariants:** a released step never changes: add another one; a step only adds, so that servers of the previous
version still work until they are restarted; text is ordered by its bytes, as SQLite orders it, and not by the rules of
a language.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ...distributions.core_metadata import unpacked
from ...distributions.filename import parse_filename
from ...errors import ConfigError
from ..database import Connection
from ..rows import undecided

_LOG = logging.getLogger(__name__)
# The number of an advisory lock: of servers that start at the same time, one migrates and the others wait for it.
LOCK = 0x70797069
_SELECT_SDISTS = """
    SELECT root, path, filename FROM file WHERE (root, path) > (:root, :path)
    AND kind = 'sdist' AND filename LIKE '%-%-%' ORDER BY root, path LIMIT 10000
"""


_SELECT_CORES = """
    SELECT m.root, m.path, m.core FROM metadata m JOIN file f ON f.root = m.root AND f.path = m.path
    WHERE (m.root, m.path) > (:root, :path) AND m.core IS NOT NULL AND m.sha256 = f.sha256
    ORDER BY m.root, m.path LIMIT 1000
"""


def _note_undecided(connection: Connection) -> None:
    """Mark files whose names can be split in several ways, so that their metadata is read to decide."""
    last = (-1, "")
    while rows := connection.execute(_SELECT_SDISTS, {"root": last[0], "path": last[1]}).fetchall():
        dists = [(root, path, parse_filename(filename)) for root, path, filename in rows]
        connection.executemany(
            "UPDATE file SET undecided = :undecided WHERE root = :root AND path = :path",
            [{"root": root, "path": path, "undecided": undecided(dist)} for root, path, dist in dists if dist.others],
        )
        last = rows[-1][:2]


def _note_needs(connection: Connection) -> None:
    """Fill ``needs`` with the dependencies of files that are digested already, from their stored metadata."""
    last = (-1, "")
    while rows := connection.execute(_SELECT_CORES, {"root": last[0], "path": last[1]}).fetchall():
        needs = [(root, path, {each.project for each in unpacked(core).requirements}) for root, path, core in rows]
        connection.executemany(
            "UPDATE file SET needs = :needs WHERE root = :root AND path = :path",
            [
                {"root": root, "path": path, "needs": " ".join(sorted(filter(None, names)))}
                for root, path, names in needs
                if names
            ],
        )
        last = rows[-1][:2]


STEPS: tuple[tuple[str | Callable[[Connection], None], ...], ...] = (
    (
        'CREATE TABLE meta (name TEXT COLLATE "C" PRIMARY KEY, value TEXT NOT NULL)',
        "CREATE TABLE serial (id BIGINT PRIMARY KEY, value BIGINT NOT NULL)",
        """CREATE TABLE project (
            name TEXT COLLATE "C" PRIMARY KEY, serial BIGINT NOT NULL,
            status TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '',
            files BIGINT NOT NULL DEFAULT 0, display TEXT COLLATE "C" NOT NULL DEFAULT ''
        )""",
        """CREATE TABLE folder (
            root BIGINT NOT NULL, path TEXT COLLATE "C" NOT NULL, mtime_ns BIGINT NOT NULL, inode BIGINT NOT NULL,
            PRIMARY KEY (root, path)
        )""",
        """CREATE TABLE file (
            root BIGINT NOT NULL, path TEXT COLLATE "C" NOT NULL,
            size BIGINT NOT NULL, mtime_ns BIGINT NOT NULL, inode BIGINT NOT NULL,
            sidecars TEXT NOT NULL,
            filename TEXT COLLATE "C" NOT NULL, project TEXT COLLATE "C" NOT NULL, name TEXT COLLATE "C" NOT NULL,
            version TEXT NOT NULL, kind TEXT NOT NULL,
            visible BIGINT NOT NULL, sha256 TEXT NOT NULL, link_digest TEXT NOT NULL,
            requires_python TEXT, metadata_sha256 TEXT, summary TEXT NOT NULL, keywords TEXT NOT NULL,
            yanked TEXT, has_signature BIGINT NOT NULL, has_provenance BIGINT NOT NULL, fault TEXT NOT NULL,
            PRIMARY KEY (root, path)
        )""",
        "CREATE INDEX file_by_project ON file (project)",
        "CREATE INDEX file_by_filename ON file (filename)",
        "CREATE INDEX file_hidden ON file (root, path) WHERE visible = 0 AND fault = ''",
        "CREATE INDEX file_pending ON file (root, path) WHERE sha256 = '' AND fault = ''",
        """CREATE TABLE metadata (
            root BIGINT NOT NULL, path TEXT COLLATE "C" NOT NULL, body BYTEA NOT NULL, PRIMARY KEY (root, path)
        )""",
        # The body is compressed already.
        "ALTER TABLE metadata ALTER COLUMN body SET STORAGE EXTERNAL",
        """CREATE TABLE claim (
            filename TEXT COLLATE "C" PRIMARY KEY, root BIGINT NOT NULL, path TEXT COLLATE "C" NOT NULL,
            sha256 TEXT NOT NULL
        )""",
        """CREATE TABLE listing (
            id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
            project TEXT COLLATE "C" NOT NULL UNIQUE, name TEXT NOT NULL, version TEXT NOT NULL,
            upload TEXT NOT NULL, uploaded_ns BIGINT NOT NULL, files BIGINT NOT NULL, size BIGINT NOT NULL,
            yanked BIGINT NOT NULL, summary TEXT NOT NULL, keywords TEXT NOT NULL
        )""",
        "CREATE INDEX listing_by_date ON listing (uploaded_ns, project)",
        "CREATE INDEX listing_by_size ON listing (size, project)",
        "CREATE INDEX listing_yanked ON listing (project) WHERE yanked > 0",
        "CREATE TABLE search (id BIGINT PRIMARY KEY, words TSVECTOR NOT NULL)",
        "CREATE INDEX search_by_word ON search USING GIN (words)",
        # What the process that scans reports to the others (see postgres.leader_lock).
        "CREATE TABLE scanner (id BIGINT PRIMARY KEY, said TEXT NOT NULL)",
    ),
    ('CREATE TABLE unlisted (project TEXT COLLATE "C" PRIMARY KEY)',),
    # A random name, by which a server recognizes the tables that it has read.
    ("INSERT INTO meta (name, value) VALUES ('epoch', md5(random()::text || clock_timestamp()::text))",),
    (
        "ALTER TABLE metadata ADD COLUMN sha256 TEXT, ADD COLUMN core BYTEA",
        "ALTER TABLE metadata ALTER COLUMN core SET STORAGE EXTERNAL",
    ),
    (
        """ALTER TABLE file ADD COLUMN undecided TEXT COLLATE "C" NOT NULL DEFAULT ''""",
        "CREATE INDEX file_undecided ON file (undecided) WHERE undecided <> ''",
        _note_undecided,
    ),
    # ctime_ns is 0 (not known) until the next scan.
    (
        "ALTER TABLE file ADD COLUMN ctime_ns BIGINT NOT NULL DEFAULT 0",
        "CREATE INDEX folder_unread ON folder (root) WHERE inode = -2",
    ),
    (
        "ALTER TABLE file ADD COLUMN beside_ns BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE project ADD COLUMN changed_ns BIGINT NOT NULL DEFAULT 0",
        """UPDATE project SET changed_ns = COALESCE(
            (SELECT MAX(f.mtime_ns) FROM file f WHERE f.project = project.name AND f.visible = 1), 0)""",
    ),
    # Earlier versions derived the kind of a fault from its sentence; files without a kind are read again over time.
    (
        "ALTER TABLE file ADD COLUMN fault_kind TEXT NOT NULL DEFAULT ''",
        """UPDATE file SET fault_kind = 'corrupt', fault = substr(fault, strpos(fault, ' is refused: ') + 13)
            WHERE fault LIKE '% is refused: %'""",
        "UPDATE file SET fault_kind = 'replaced' WHERE fault <> '' AND inode = -1",
        "UPDATE file SET fault_kind = 'changed' WHERE fault = 'it changed while it was read'",
    ),
    # Mark all projects as outdated once, so that the list makes the rows of dependencies.
    (
        "ALTER TABLE file ADD COLUMN needs TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE listing ADD COLUMN needs TEXT NOT NULL DEFAULT ''",
        """CREATE TABLE dependency (
            needed TEXT COLLATE "C" NOT NULL, project TEXT COLLATE "C" NOT NULL, PRIMARY KEY (needed, project)
        )""",
        _note_needs,
        "INSERT INTO unlisted (project) SELECT name FROM project WHERE files > 0 ON CONFLICT (project) DO NOTHING",
    ),
)


def migrate(connection: Connection, identity: str, place: str) -> str:
    """Bring the tables up to date; gives their epoch.

    Tables of a newer version are used as they are. Raises ConfigError when the tables are not those of ``identity``. A
    connection on which this fails must be closed.
    """
    if _version(connection) < len(STEPS):
        connection.execute("BEGIN")
        _run_missing(connection, identity, place)
        connection.execute("COMMIT")
    known = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    if known.get("identity") != identity:
        raise ConfigError(
            f"The catalog {place} is that of {_words(known.get('identity', ''))}, and not of {_words(identity)}. "
            "Give this server the same folders and --hash-algo as the others, or a database of its own.",
            kind="other-folders",
            setting="catalog",
            value=place,
        )
    return str(known.get("epoch", ""))


def _run_missing(connection: Connection, identity: str, place: str) -> None:
    # Another server's migration may take longer than the limit of a statement.
    connection.execute("SET LOCAL statement_timeout = 0")
    connection.execute("SELECT pg_advisory_xact_lock(:number)", {"number": LOCK})
    version = _version(connection)
    for step in STEPS[version:]:
        for statement in step:
            if callable(statement):
                statement(connection)
            else:
                connection.execute(statement)
    if not version:
        connection.execute("INSERT INTO meta (name, value) VALUES ('identity', :identity)", {"identity": identity})
        # In microseconds, as in SQLite: above every serial of an earlier catalog in this database.
        connection.execute("INSERT INTO serial (id, value) VALUES (1, :value)", {"value": time.time_ns() // 1000})
    if version < len(STEPS):
        connection.execute(
            """INSERT INTO meta (name, value) VALUES ('schema', :version)
               ON CONFLICT (name) DO UPDATE SET value = excluded.value""",
            {"version": str(len(STEPS))},
        )
        _LOG.info("The tables of the catalog %s were brought from version %d to %d.", place, version, len(STEPS))


def _version(connection: Connection) -> int:
    """The number of steps that were applied, 0 where there are no tables yet."""
    # to_regclass() would remember, until the end of the transaction, that there was no table before the lock was taken.
    tables = "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'meta'"
    if not connection.execute(tables).fetchone():
        return 0
    row = connection.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
    return int(row[0]) if row else 0


def _words(identity: str) -> str:
    """A catalog's identity (:func:`sqlite.places.catalog_identity`) in words."""
    algorithm, *places = identity.split("\n")
    return f"{', '.join(places) or 'nothing'} with --hash-algo {algorithm or 'off'}"
