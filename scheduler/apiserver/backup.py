"""Backup and restore of a hub's objects: one file, as of one instant.

A restore never goes back in resource versions: clients that have seen newer ones than the backup
holds would otherwise take old objects for new ones. The revision goes on from the highest of both,
and so every client lists anew.
"""

import sqlite3
from pathlib import Path

from scheduler.apiserver.storage.sqlite import DirectoryLock, copy_database

DATABASE_NAME = "objects.db"
_RESTORE_REVISION_STEP = 1_000_000
"""Added to the revision at a restore: above all that was given out after the backup."""


class NotABackup(Exception):
    """The file is no backup of a hub; the message names it."""


def backup(folder: Path, target: Path) -> int:
    """Copies the objects of a hub, which may be running; how many there are.

    Raises:
        FileNotFoundError: the directory holds no hub.
        FileExistsError: the target is there already.
    """
    source = folder / DATABASE_NAME
    if not source.exists():
        raise FileNotFoundError(f"{folder}: there is no hub in this directory")
    if target.exists():
        raise FileExistsError(f"{target}: is there already; a backup overwrites nothing")
    draft = target.with_name(f".{target.name}.new")
    draft.unlink(missing_ok=True)
    copy_database(source, draft)
    count = _count_objects(draft)
    draft.replace(target)
    return count


def restore(folder: Path, source: Path) -> int:
    """Puts the objects of a backup in place of those of a stopped hub; how many there are.

    The former objects stay beside, in `objects.db.before-restore`.

    Raises:
        NotABackup: the file is something else.
        DataDirectoryInUse: the hub runs.
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
        raise NotABackup(f"{path}: there is no such file")
    return sqlite3.connect(path)


def _count_objects(path: Path) -> int:
    connection = _connect(path)
    try:
        return int(connection.execute("SELECT count(*) FROM objects").fetchone()[0])
    except sqlite3.DatabaseError as error:
        raise NotABackup(f"{path}: this is no backup of a hub ({error})") from None
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
