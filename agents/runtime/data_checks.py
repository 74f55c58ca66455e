"""Checks the files of the agent's data directory, and accepts a lost count of starts.

A damaged file is named with what to do about it; an absent one is made, unless the files beside it
show that it was there before.
"""

import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from agents.protocol.bounds import LAST_SEQUENCE
from agents.runtime.data_dir import (
    BOOTS_FILE,
    CLIENT_ID_FILE,
    JOURNAL_FILE,
    KEY_FILE,
    LOCK_FILE,
    IdentityError,
    check_secret_mode,
    write_durably,
)

JOURNAL_FORMAT: Final = 1
"""The newest format of the journal that this version reads: its user_version; 0 is the same."""
_KEY_BYTES: Final = 32
_ADOPT: Final = "kapok-agent --adopt boots, with the same settings"


def check_data_files(data_dir: Path) -> None:
    """Checks every file that is there; changes nothing.

    Raises:
        IdentityError: a file is damaged or of a newer version, or a secret that others may read.
    """
    for name, (check, way_out, is_secret) in _FILES.items():
        path = data_dir / name
        try:
            _check_is_file(path)
            if is_secret:
                check_secret_mode(path)
            with path.open("rb"):
                pass
            check(path)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            what = error.strerror if isinstance(error, OSError) else str(error)
            raise IdentityError(f"{path}: {what}; {way_out}") from error


def check_no_boots_lost(data_dir: Path) -> None:
    """Refuses a start that would count from 1 again: the hub ignores an agent of a lower boot.

    Raises:
        IdentityError: the count is missing beside a journal, which a first start makes after it.
    """
    if (data_dir / JOURNAL_FILE).exists() and not (data_dir / BOOTS_FILE).exists():
        raise IdentityError(
            f"{data_dir / BOOTS_FILE}: lost: missing beside {JOURNAL_FILE}; the hub would ignore "
            "everything that this agent reports, because it counts starts from 1 again; put it "
            f"back, or run: {_ADOPT}"
        )


def adopt_boots(data_dir: Path, *, now_seconds: int) -> int:
    """Begins a new count above every count before; returns it.

    Counts begin at 1 and grow by 1 with each start, so the seconds since 1970 are above them all.

    Args:
        data_dir: the data directory, locked.
        now_seconds: seconds since 1970.

    Raises:
        IdentityError: the count is not lost.
    """
    path = data_dir / BOOTS_FILE
    if path.exists():
        raise IdentityError(f"{path}: is not lost; nothing was done")
    number = min(max(now_seconds, 1), LAST_SEQUENCE - 1)
    write_durably(path, str(number).encode())
    return number


def _check_is_file(path: Path) -> None:
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("not a file")


def _check_key(path: Path) -> None:
    if path.stat().st_size != _KEY_BYTES:
        raise ValueError("not an Ed25519 key of 32 bytes")


def _check_boots(path: Path) -> None:
    text = path.read_bytes()[:64].decode(errors="replace").strip()
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < LAST_SEQUENCE):
        raise ValueError("not a count of starts")


def _check_journal(path: Path) -> None:
    """Refuses a newer journal; a damaged one is moved aside when it is opened."""
    try:
        address = f"{path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(address, uri=True, timeout=1.0)) as database:
            version = database.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error:
        return
    if version > JOURNAL_FORMAT:
        raise ValueError(
            f"format {version}, and this version reads up to {JOURNAL_FORMAT}: "
            "a newer kapok-agent wrote it"
        )


def _check_nothing(_path: Path) -> None:
    """Passes: the reader of the file replaces a content that cannot be used."""


_FILES: Final[dict[str, tuple[Callable[[Path], None], str, bool]]] = {
    KEY_FILE: (
        _check_key,
        "move it away to get a new key, which the hub must admit (kapok-agent --show-key)",
        True,
    ),
    BOOTS_FILE: (_check_boots, f"move it away, then run: {_ADOPT}", False),
    CLIENT_ID_FILE: (_check_nothing, "move it away, and a new one is made", True),
    JOURNAL_FILE: (_check_journal, "use the newer version, or move the file away", True),
    LOCK_FILE: (_check_nothing, "move it away", False),
    "energy.json": (_check_nothing, "move it away, and totals begin at 0", False),
}
"""Every file that a start reads: its check, the way out, and whether it is a secret."""
