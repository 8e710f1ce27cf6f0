"""The statements of the catalog, as portable SQL text; :mod:`project_rows` has those of the project list.

**Invariants:** every statement runs on SQLite and, through an adapter, on PostgreSQL: ``:name`` placeholders, ON
CONFLICT, no RETURNING; a row is changed only while it is the one that was read before.
"""

from __future__ import annotations

from ..errors import DAMAGED

FILE_COLUMNS = (
    "filename, project, name, version, kind, path, root, size, mtime_ns, inode, sha256, link_digest, "
    "requires_python, metadata_sha256, yanked, has_signature, has_provenance, ctime_ns"
)
# A row that changed in size, times or inode is a new file: it loses its digests. One whose sidecars changed keeps them,
# and a number (inode, ctime) that one side does not know counts as equal (model.Identity).
_SAME = """
    file.size = excluded.size AND file.mtime_ns = excluded.mtime_ns
    AND (file.inode = excluded.inode OR (file.inode >= 0 AND (file.inode = 0 OR excluded.inode = 0)))
    AND (file.ctime_ns = excluded.ctime_ns OR file.ctime_ns = 0 OR excluded.ctime_ns = 0)
"""
# The kinds of damage as an SQL list (errors.FaultKind).
_DAMAGED = ", ".join(f"'{kind}'" for kind in sorted(DAMAGED))
# An unfinished file is read again once its sidecars have changed.
_AWAITS = "file.sidecars <> excluded.sidecars AND file.fault_kind = 'unfinished'"
_INSERT_FILE = """
    INSERT INTO file (root, path, size, mtime_ns, inode, sidecars, beside_ns, filename, project, name, version, kind,
        visible, sha256, link_digest, summary, keywords, yanked, has_signature, has_provenance, fault,
        undecided, ctime_ns)
"""
_VALUES = """
    :root, :path, :size, :mtime_ns, :inode, :sidecars, :beside_ns, :filename, :project, :name, :version, :kind,
        :visible, '', '', '', '', :yanked, :has_signature, :has_provenance, '', :undecided, :ctime_ns
"""
# A file that had no row: a process that added one meanwhile examined it later. A first scan has only these.
INSERT_NEW_FILE = f"{_INSERT_FILE} VALUES ({_VALUES}) ON CONFLICT (root, path) DO NOTHING"
# Any other file: only if the row is still the one that was read before, or if no process can have examined it later
# (-1).
UPSERT_FILE = f"""
    {_INSERT_FILE} SELECT {_VALUES}
    WHERE :before_size = -1 OR EXISTS (SELECT 1 FROM file f WHERE f.root = :root AND f.path = :path)
    ON CONFLICT (root, path) DO UPDATE SET
        sha256 = CASE WHEN {_SAME} THEN file.sha256 ELSE '' END,
        link_digest = CASE WHEN {_SAME} THEN file.link_digest ELSE '' END,
        requires_python = CASE WHEN {_SAME} THEN file.requires_python ELSE NULL END,
        metadata_sha256 = CASE WHEN {_SAME} THEN file.metadata_sha256 ELSE NULL END,
        summary = CASE WHEN {_SAME} THEN file.summary ELSE '' END,
        keywords = CASE WHEN {_SAME} THEN file.keywords ELSE '' END,
        needs = CASE WHEN {_SAME} THEN file.needs ELSE '' END,
        fault = CASE WHEN {_SAME} AND NOT ({_AWAITS}) THEN file.fault ELSE '' END,
        fault_kind = CASE WHEN {_SAME} AND NOT ({_AWAITS}) THEN file.fault_kind ELSE '' END,
        undecided = CASE WHEN {_SAME} THEN file.undecided ELSE excluded.undecided END,
        size = excluded.size, mtime_ns = excluded.mtime_ns, inode = excluded.inode, sidecars = excluded.sidecars,
        ctime_ns = excluded.ctime_ns, beside_ns = excluded.beside_ns, yanked = excluded.yanked,
        has_signature = excluded.has_signature, has_provenance = excluded.has_provenance
    WHERE :before_size = -1 OR (
        file.size = :before_size AND file.mtime_ns = :before_mtime_ns AND file.inode = :before_inode
        AND file.sidecars = :before_sidecars AND file.ctime_ns = :before_ctime_ns
    )
"""
# An uploaded file, with its digests from the start; it replaces any row with its path.
_UPLOADED = (
    *("size", "mtime_ns", "inode", "sidecars", "filename", "project", "name", "version", "kind", "visible"),
    *("sha256", "link_digest", "requires_python", "metadata_sha256", "summary", "keywords", "yanked"),
    *("has_signature", "has_provenance", "fault", "fault_kind", "undecided", "ctime_ns", "beside_ns", "needs"),
)
UPSERT_UPLOADED = f"""
    INSERT INTO file (root, path, {", ".join(_UPLOADED)})
    VALUES (:root, :path, {", ".join(f":{each}" for each in _UPLOADED)})
    ON CONFLICT (root, path) DO UPDATE SET {", ".join(f"{each} = excluded.{each}" for each in _UPLOADED)}
"""
# Only the row that was read before the scan, and no newer one: an upload may have stored another file meanwhile.
_IF_UNCHANGED = """
    root = :root AND path = :path AND size = :size AND mtime_ns = :mtime_ns AND inode = :inode
    AND ctime_ns = :ctime_ns
"""
DELETE_FILE = f"DELETE FROM file WHERE {_IF_UNCHANGED}"
# A file that is being replaced, or was removed a moment ago: hidden, but still its project's; with inode -1 it equals
# no file that a scan may find.
HOLD_FILE = f"""
    UPDATE file SET fault = 'it is being replaced or removed', fault_kind = 'replaced', inode = -1, ctime_ns = :held_at
    WHERE {_IF_UNCHANGED}
"""
# A row of an older version without this column: it keeps its digests.
NOTE_CTIME = """
    UPDATE file SET ctime_ns = :ctime_ns WHERE root = :root AND path = :path AND size = :size
    AND mtime_ns = :mtime_ns AND inode = :inode AND ctime_ns = 0
"""
DELETE_ORPHANED_METADATA = """
    DELETE FROM metadata WHERE root = :root AND path = :path
    AND NOT EXISTS (SELECT 1 FROM file f WHERE f.root = metadata.root AND f.path = metadata.path)
"""
# Two threads or processes may read one file at the same time; the second one changes nothing.
RECORD_PENDING = f"""
    UPDATE file SET sha256 = :sha256, link_digest = :link_digest, requires_python = :requires_python,
        metadata_sha256 = :metadata_sha256, summary = :summary, keywords = :keywords, needs = :needs,
        fault = :fault, fault_kind = :fault_kind, name = CASE WHEN :name = '' THEN name ELSE :name END,
        project = CASE WHEN :project = '' THEN project ELSE :project END,
        version = CASE WHEN :project = '' THEN version ELSE :version END,
        undecided = CASE WHEN :project = '' THEN undecided ELSE '' END
    WHERE {_IF_UNCHANGED} AND (sha256 = '' OR undecided <> '') AND fault = ''
"""
# Only if the file's row has this identity: the file may have changed while it was read.
UPSERT_METADATA = f"""
    INSERT INTO metadata (root, path, sha256, core, body)
    SELECT :root, :path, :sha256, :core, :body WHERE EXISTS (SELECT 1 FROM file WHERE {_IF_UNCHANGED})
    ON CONFLICT (root, path) DO UPDATE SET sha256 = excluded.sha256, core = excluded.core, body = excluded.body
"""
DELETE_METADATA = f"""
    DELETE FROM metadata WHERE root = :root AND path = :path
    AND EXISTS (SELECT 1 FROM file WHERE {_IF_UNCHANGED})
"""
# Faults that a later attempt may find repaired. A server of the previous version writes no kind: retry its faults too.
_UNREADABLE = "fault <> '' AND fault_kind IN ('', 'unfinished', 'unreadable') AND inode <> -1"
SELECT_UNREADABLE = f"SELECT filename, project FROM file WHERE {_UNREADABLE}"
FORGET_UNREADABLE = f"UPDATE file SET fault = '', fault_kind = '' WHERE {_UNREADABLE}"
CHOOSE_VISIBLE = """
    UPDATE file SET visible = CASE WHEN fault = '' AND NOT EXISTS (
        SELECT 1 FROM file other WHERE other.filename = file.filename AND other.fault = ''
        AND (other.root < file.root OR (other.root = file.root AND other.path < file.path))
    ) THEN 1 ELSE 0 END
    WHERE filename = :filename
"""
CLAIM_NAME = """
    INSERT INTO claim (filename, root, path, sha256) VALUES (:filename, :root, :path, :sha256)
    ON CONFLICT (filename) DO NOTHING
"""
MOVE_CLAIM = "UPDATE claim SET root = :root, path = :path, sha256 = :sha256 WHERE filename = :filename"
DROP_CLAIM = "DELETE FROM claim WHERE filename = :filename AND root = :root AND path = :path"
SELECT_CLAIM = "SELECT root, path, sha256 FROM claim WHERE filename = :filename"
DELETE_ROW = "DELETE FROM file WHERE root = :root AND path = :path"
# This still changes a page, which a full or read-only disk refuses.
WRITE_NOTHING = "UPDATE serial SET value = value WHERE id = 1"
NEXT_SERIAL = "UPDATE serial SET value = value + 1 WHERE id = 1"
RAISE_SERIAL = "UPDATE serial SET value = :least WHERE id = 1 AND value < :least"
# When a file or its newest sidecar was last changed (nanoseconds since the epoch).
CHANGED = "CASE WHEN f.beside_ns > f.mtime_ns THEN f.beside_ns ELSE f.mtime_ns END"
TOUCH_PROJECT = f"""
    INSERT INTO project (name, serial, files, display, changed_ns)
    SELECT :name, s.value, now.files, now.display, now.changed_ns FROM serial s CROSS JOIN (
        SELECT COUNT(*) AS files, COALESCE(MIN(f.name), '') AS display, COALESCE(MAX({CHANGED}), 0) AS changed_ns
        FROM file f WHERE f.project = :name AND f.visible = 1
    ) now WHERE s.id = 1
    ON CONFLICT (name) DO UPDATE SET
        serial = excluded.serial, files = excluded.files, display = excluded.display, changed_ns = excluded.changed_ns
"""
SET_STATUS = """
    INSERT INTO project (name, serial, status, reason) SELECT :name, value, :status, :reason FROM serial WHERE id = 1
    ON CONFLICT (name) DO UPDATE SET serial = excluded.serial, status = excluded.status, reason = excluded.reason
"""
SELECT_SERIAL = "SELECT value FROM serial WHERE id = 1"
SELECT_SERIAL_AND_EPOCH = """
    SELECT s.value, m.value FROM serial s CROSS JOIN meta m WHERE s.id = 1 AND m.name = 'epoch'
"""
# "Not found" is certain only if all of this is true at one moment: this is the catalog that was opened, a scan has
# completed in it, it has no row, and every folder could be read (-2 is backend.stored_file.UNREAD).
_SELECT_ABSENCE = """
    SELECT (SELECT value FROM meta WHERE name = 'epoch'), EXISTS (SELECT 1 FROM folder),
        EXISTS (SELECT 1 FROM folder WHERE inode = -2), EXISTS (SELECT 1 FROM file WHERE {here})
"""
# Files that may belong to a project, as only their metadata can tell; the index file_undecided finds them.
_MAY_BE_OF = "undecided <> '' AND undecided LIKE '% ' || :name || ' %'"
SELECT_ABSENCE_OF_PROJECT = (
    _SELECT_ABSENCE.format(here="project = :name").rstrip() + f" OR EXISTS (SELECT 1 FROM file WHERE {_MAY_BE_OF})"
)
SELECT_ABSENCE_OF_FILE = _SELECT_ABSENCE.format(here="filename = :name")
SELECT_SNAPSHOT = "SELECT root, path, size, mtime_ns, inode, sidecars, ctime_ns FROM file"
# {names} is the condition of a filter of names (see name_filter).
# With the last_serial of model.py: 100,000 calls of it take as long as the rest.
SELECT_PROJECTS = """
    SELECT name, display,
        CASE WHEN changed_ns < 1000000000 THEN 1
            WHEN changed_ns >= 2147483648000000000 THEN 2147483647
            ELSE changed_ns / 1000000000 END
    FROM project WHERE files > 0 AND {names} ORDER BY name
"""
SELECT_LISTED_NAMES = "SELECT name FROM project WHERE files > 0"
SELECT_CHANGED_NAMES = "SELECT name, files FROM project WHERE serial > :serial"
SELECT_PROJECT = "SELECT serial, status, reason, changed_ns FROM project WHERE name = :name"
SELECT_STATUSES = "SELECT name, status, reason FROM project WHERE status <> ''"
# With files of other projects that may belong to this one, until they are read.
SELECT_FILES_OF = f"""
    SELECT {FILE_COLUMNS} FROM file WHERE project = :name AND visible = 1 UNION ALL
    SELECT {FILE_COLUMNS} FROM file WHERE {_MAY_BE_OF} AND project <> :name AND visible = 1
"""
SELECT_FILE = f"SELECT {FILE_COLUMNS} FROM file WHERE filename = :filename AND visible = 1"
SELECT_FILES = f"SELECT {FILE_COLUMNS} FROM file WHERE visible = 1 ORDER BY path, root"
# By the primary key, so that a block at the end of a million rows is as fast as the first.
SELECT_PATHS = """
    SELECT path, size, mtime_ns, link_digest FROM file WHERE root = :root AND path > :after AND visible = 1 AND {names}
    ORDER BY path LIMIT :limit
"""
SELECT_ROWS_OF = f"SELECT {FILE_COLUMNS} FROM file WHERE project = :name ORDER BY root, path"
# Names that may be other spellings of a name; comparing the 10,000 files of a project takes a few milliseconds.
SELECT_ALIKE = """
    SELECT filename FROM file WHERE project = :name AND filename <> :filename
    AND LOWER(REPLACE(REPLACE(filename, '_', '-'), '.', '-')) = :folded ORDER BY root, path
"""
# Files that were digested before metadata decided where to split their name are pending too.
_UNDECIDED = "FROM file WHERE undecided <> '' AND sha256 <> '' AND fault = ''"
SELECT_PENDING = f"""
    SELECT {FILE_COLUMNS} FROM file WHERE sha256 = '' AND fault = ''
    UNION ALL SELECT {FILE_COLUMNS} {_UNDECIDED} LIMIT :limit
"""
# LENGTH(), so that SQLite uses the index of projects, and not the one of all pending files.
SELECT_PENDING_OF = f"""
    SELECT {FILE_COLUMNS} FROM file WHERE project = :name AND (LENGTH(sha256) = 0 OR undecided <> '') AND fault = ''
    UNION ALL SELECT {FILE_COLUMNS} FROM file WHERE {_MAY_BE_OF} AND project <> :name AND fault = ''
"""
SELECT_PENDING_COUNT = f"""
    SELECT COUNT(*) + (SELECT COUNT(*) {_UNDECIDED}) FROM file WHERE sha256 = '' AND fault = ''
"""
SELECT_METADATA = "SELECT body FROM metadata WHERE root = :root AND path = :path"
# A server of the previous version replaces the body alone: ``core`` is then that of another file.
SELECT_CORE = """
    SELECT CASE WHEN sha256 = :sha256 THEN core END, body FROM metadata WHERE root = :root AND path = :path
"""
SELECT_COUNTS = "SELECT COALESCE(SUM(files), 0), COUNT(*) FROM project WHERE files > 0 AND {names}"
# Of each project: files whose metadata has not said yet that they are of it, and whether it has no others. Only the
# index of these files is read.
SELECT_UNDECIDED_COUNTS = """
    SELECT n, CASE WHEN n >= files THEN 1 ELSE 0 END FROM (
        SELECT p.files AS files, (
            SELECT COUNT(*) FROM file u WHERE u.project = p.name AND u.undecided <> '' AND u.visible = 1
        ) AS n
        FROM project p
        WHERE p.name IN (SELECT project FROM file WHERE undecided <> '' AND visible = 1) AND {names}
    ) counted
"""
SELECT_ROOT_COUNTS = "SELECT root, COUNT(*) FROM file GROUP BY root"
SELECT_UNREAD_ROOTS = "SELECT DISTINCT root FROM folder WHERE inode = -2"
SELECT_FOLDERS = "SELECT root, path, mtime_ns, inode FROM folder"
# "0" is the character after "/".
SELECT_ANY_BELOW = "SELECT 1 FROM file WHERE root = :root AND path > :path || '/' AND path < :path || '0' LIMIT 1"
SELECT_ANY_FOLDER = "SELECT 1 FROM folder LIMIT 1"
SELECT_CONTESTED = """
    SELECT filename FROM file WHERE filename IN ({names})
    GROUP BY filename HAVING COUNT(*) > 1 OR MAX(visible) = 0 OR MAX(fault) <> ''
"""
SELECT_DOUBLE_NAMES = "SELECT filename FROM file GROUP BY filename HAVING COUNT(*) > 1"
DELETE_FOLDER = "DELETE FROM folder WHERE root = :root AND path = :path"
UPSERT_FOLDER = """
    INSERT INTO folder (root, path, mtime_ns, inode) VALUES (:root, :path, :mtime_ns, :inode)
    ON CONFLICT (root, path) DO UPDATE SET mtime_ns = excluded.mtime_ns, inode = excluded.inode
"""
SELECT_ROW = "SELECT size, mtime_ns, inode, sidecars, ctime_ns FROM file WHERE root = :root AND path = :path"
SELECT_FAULTS = f"""
    SELECT path, fault_kind, fault FROM file WHERE project = :name AND fault <> ''
    UNION ALL SELECT path, fault_kind, fault FROM file WHERE {_MAY_BE_OF} AND project <> :name AND fault <> ''
    ORDER BY path
"""
SELECT_IS_DAMAGED = f"""
    SELECT 1 FROM file WHERE root = :root AND path = :path AND fault <> '' AND fault_kind IN ({_DAMAGED})
"""
SELECT_FAULT = """
    SELECT path, fault_kind, fault FROM file WHERE root = :root AND path = :path AND size = :size
    AND mtime_ns = :mtime_ns AND inode = :inode AND fault <> ''
"""
SELECT_FAULT_COUNTS = "SELECT root, COUNT(*) FROM file WHERE fault <> '' AND inode <> -1 GROUP BY root"
SELECT_SHADOWED = "SELECT root, path, filename FROM file WHERE visible = 0 AND fault = '' ORDER BY root, path"
