"""The agent's data directory: its key, its boot counter and its lock.

Files in it are written with `write_durably`, so that a power cut leaves the old file or the new
one, never half of one.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agents.protocol.keys import SigningKey

_KEY_FILE: Final = "agent.key"
_BOOTS_FILE: Final = "boots"
_LOCK_FILE: Final = "lock"
_GROUP_AND_OTHERS_MASK: Final = 0o077


class IdentityError(Exception):
    """The data directory cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Boot:
    """One start of the agent.

    Attributes:
        id: random, so that two boots never share one.
        number: how many starts this disk has counted, this one included.
    """

    id: str
    number: int


def write_durably(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replaces a file atomically: writes a temporary file beside it, flushes it, renames it.

    Args:
        path: the file.
        data: its new content.
        mode: its permission bits.

    Raises:
        OSError: the disk is full, read-only or gone.
    """
    temporary = path.with_name(f".{path.name}.new")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    # The rename itself is on the disk only once the folder is flushed too.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def ensure_data_dir(path: Path) -> Path:
    """Returns the data directory; creates it, readable by its owner only, if it is missing.

    Raises:
        IdentityError: it cannot be created.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise IdentityError(f"data_dir {path}: {error.strerror}; name another directory") from error
    return path


def load_or_create_key(data_dir: Path) -> SigningKey:
    """Returns the agent's signing key; generates it, with mode 0600, on the first start.

    Raises:
        IdentityError: the file is not a key, or other users may read it.
    """
    path = data_dir / _KEY_FILE
    if not path.exists():
        write_durably(path, SigningKey.generate().raw())
    if path.stat().st_mode & _GROUP_AND_OTHERS_MASK:
        raise IdentityError(
            f"{path}: other users may read this key; chmod 600 it, or remove it to get a new one"
        )
    try:
        return SigningKey(path.read_bytes())
    except ValueError as error:
        raise IdentityError(
            f"{path}: not an Ed25519 key of 32 bytes; move it away to get a new one, "
            "and give the hub the new public key (kapok-agent --show-key)"
        ) from error


def record_boot(data_dir: Path) -> Boot:
    """Counts this start on disk, before any message carries its number."""
    path = data_dir / _BOOTS_FILE
    try:
        number = int(path.read_text()) + 1
    except (FileNotFoundError, ValueError):
        number = 1
    write_durably(path, str(number).encode())
    return Boot(secrets.token_hex(8), number)


@contextmanager
def lock_data_dir(data_dir: Path) -> Iterator[None]:
    """Locks the data directory for this process; the kernel releases the lock when it ends.

    Raises:
        IdentityError: another agent uses the directory.
    """
    handle = os.open(data_dir / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise IdentityError(
                f"data_dir {data_dir}: another kapok-agent is using it; "
                "stop that one, or give this one its own data_dir"
            ) from error
        yield
    finally:
        os.close(handle)
