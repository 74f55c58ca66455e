"""Who this agent is: its key, its boots, and that it is alone on its data directory."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agents.protocol.keys import SigningKey
from agents.runtime.atomic_write import write_durably

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
        id: random, so that two boots are never confused.
        number: starts so far, by this disk.
    """

    id: str
    number: int


def ensure_data_dir(path: Path) -> Path:
    """The data directory, made if it is not there, readable by its owner only.

    Raises:
        IdentityError: it cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise IdentityError(f"data_dir {path}: {error.strerror}; name another one") from error
    return path


def load_or_create_key(data_dir: Path) -> SigningKey:
    """The agent's key; made on first start, with mode 0600.

    Raises:
        IdentityError: the file is no key, or others may read it.
    """
    path = data_dir / _KEY_FILE
    if not path.exists():
        write_durably(path, SigningKey.generate().raw())
    if path.stat().st_mode & _GROUP_AND_OTHERS_MASK:
        raise IdentityError(f"{path}: others may read this key; chmod 600 it, or make a new one")
    try:
        return SigningKey(path.read_bytes())
    except ValueError as error:
        raise IdentityError(
            f"{path}: not an Ed25519 key of 32 bytes; move it away to get a new one, "
            "and give the hub the new public key (kapok-agent --show-key)"
        ) from error


def record_boot(data_dir: Path) -> Boot:
    """Counts this start on disk before anything is sent in its name."""
    path = data_dir / _BOOTS_FILE
    try:
        number = int(path.read_text()) + 1
    except (FileNotFoundError, ValueError):
        number = 1
    write_durably(path, str(number).encode())
    return Boot(secrets.token_hex(8), number)


@contextmanager
def lock_data_dir(data_dir: Path) -> Iterator[None]:
    """Holds the data directory for this process; the kernel lets go when it dies.

    Raises:
        IdentityError: another agent runs on it.
    """
    handle = os.open(data_dir / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise IdentityError(
                f"data_dir {data_dir}: another kapok-agent is running on it; "
                "end it, or give this one its own data_dir"
            ) from error
        yield
    finally:
        os.close(handle)
