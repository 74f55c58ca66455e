"""Backup and restore of a hub's objects: one file that holds the state at one instant.

A restore never decreases the resource version: clients that have seen newer versions than those in
the backup would otherwise mistake old objects for new ones. The revision continues above the
higher one of hub and backup, so every client lists again.
"""

import sqlite3
from pathlib import Path

from scheduler.apiserver.storage.sqlite import DirectoryLock, copy_database

DATABASE_NAME = "objects.db"
_RESTORE_REVISION_STEP = 1_000_000
"""Added to the revision by a restore, so that it exceeds every revision used after the backup."""


class NotABackup(Exception):
    """The file is not a backup of a hub; the message names it."""


def backup(folder: Path, target: Path) -> int:
    """Copies the objects of a hub, which may be running, to a file; returns their number.

    Raises:
        FileNotFoundError: the directory holds no hub.
        FileExistsError: the target exists.
    """
    source = folder / DATABASE_NAME
    if not source.exists():
        raise FileNotFoundError(f"{folder}: this directory holds no hub")
    if target.exists():
        raise FileExistsError(f"{target}: the file exists; a backup does not overwrite files")
    draft = target.with_name(f".{target.name}.new")
    draft.unlink(missing_ok=True)
    copy_database(source, draft)
    count = _count_objects(draft)
    draft.replace(target)
    return count


def restore(folder: Path, source: Path) -> int:
    """Replaces the objects of a stopped hub by those of a backup; returns their number.

    The former objects are kept in `objects.db.before-restore`.

    Raises:
        NotABackup: the file is not a backup.
        DataDirectoryInUse: the hub is running.
    """
    count = _count_objects(source)
    lock = DirectoryLock(folder)
    lock.acquire()
    try:
        present = folder / DATABASE_NAME
        highest = _read_revision(present) if present.exists() else 0
        draft = folder / f".{DATABASE_NAME}.new"
        draft.unlink(missing_ok=True)
        copy_database(source, draft)
        _set_revision(draft, max(highest, _read_revision(draft)) + _RESTORE_REVISION_STEP)
        if present.exists():
            former = folder / f"{DATABASE_NAME}.before-restore"
            former.unlink(missing_ok=True)
            copy_database(present, former)
            for suffix in ("", "-wal", "-shm"):
                present.with_name(present.name + suffix).unlink(missing_ok=True)
        draft.replace(present)
    finally:
        lock.release()
    return count


def _connect(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise NotABackup(f"{path}: no such file")
    return sqlite3.connect(path)


def _count_objects(path: Path) -> int:
    connection = _connect(path)
    try:
        return int(connection.execute("SELECT count(*) FROM objects").fetchone()[0])
    except sqlite3.DatabaseError as error:
        raise NotABackup(f"{path}: not a backup of a hub ({error})") from None
    finally:
        connection.close()


def _read_revision(path: Path) -> int:
    connection = _connect(path)
    try:
        found = connection.execute("SELECT value FROM meta WHERE name = 'revision'").fetchone()
        return int(found[0]) if found else 0
    finally:
        connection.close()


def _set_revision(path: Path, revision: int) -> None:
    connection = _connect(path)
    try:
        with connection:
            connection.execute(
                "INSERT INTO meta VALUES ('revision', ?) ON CONFLICT (name) DO UPDATE SET"
                " value = excluded.value",
                (str(revision),),
            )
    finally:
        connection.close()
