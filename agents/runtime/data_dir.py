"""The agent's data directory: its key, its client id, its boot counter and its lock.

Files in it are written with `write_durably`, so that a power cut leaves the old file or the new
one, never half of one.
"""

import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agents.protocol.bounds import LAST_SEQUENCE
from agents.protocol.keys import SigningKey
from agents.protocol.sealing.box import SealingKey

KEY_FILE: Final = "agent.key"
SEALING_KEY_FILE: Final = "sealing.key"
BOOTS_FILE: Final = "boots"
LOCK_FILE: Final = "lock"
JOURNAL_FILE: Final = "journal.sqlite"
CLIENT_ID_FILE: Final = "client-id"
ENERGY_FILE: Final = "energy.json"
_CLIENT_ID_PATTERN: Final = re.compile(r"[0-9a-f]{32}")
_MAX_CLIENT_ID_BYTES: Final = 64
_GROUP_AND_OTHERS_MASK: Final = 0o077
_OTHERS_MASK: Final = 0o007


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
    temporary.unlink(missing_ok=True)  # one that a crash left may have another mode
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
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


def check_secret_mode(path: Path) -> None:
    """Refuses a secret file that others than its owner may read or write.

    Raises:
        IdentityError: the message says which command mends it.
    """
    if path.exists() and path.stat().st_mode & _GROUP_AND_OTHERS_MASK:
        raise IdentityError(
            f"{path}: other users may read or change this file; run: chmod 600 {path}"
        )


def check_mounted_secret_mode(path: Path) -> None:
    """Refuses a secret that an operator provides, if every user of the machine may read it.

    Its group may: the kubelet makes the files of a Secret volume readable by the pod's group.

    Raises:
        IdentityError: the message says which command mends it.
    """
    if path.exists() and path.stat().st_mode & _OTHERS_MASK:
        raise IdentityError(
            f"{path}: all users may read or change this file; run: chmod 600 {path}"
        )


def load_or_create_client_id(data_dir: Path) -> str:
    """Returns the random part of the agent's MQTT client id: 128 bits as 32 hex digits.

    A client that knows an id can take over its session, whatever its certificate, so the id cannot
    be guessed. It stays the same over restarts, so that a new session cancels the last will of the
    old one.

    Raises:
        IdentityError: other users may read the file.
        OSError: the file cannot be written.
    """
    path = data_dir / CLIENT_ID_FILE
    if path.exists():
        check_secret_mode(path)
        text = path.read_bytes()[:_MAX_CLIENT_ID_BYTES].decode(errors="replace").strip()
        if _CLIENT_ID_PATTERN.fullmatch(text):
            return text
    text = secrets.token_hex(16)
    write_durably(path, text.encode())
    return text


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
    path = data_dir / KEY_FILE
    if not path.exists():
        write_durably(path, SigningKey.generate().raw())
    check_secret_mode(path)
    try:
        return SigningKey(path.read_bytes())
    except ValueError as error:
        raise IdentityError(
            f"{path}: not an Ed25519 key of 32 bytes; move it away to get a new one, "
            "and give the hub the new public key (kapok-agent --show-key)"
        ) from error


def load_or_create_sealing_key(data_dir: Path) -> SealingKey:
    """Returns the key that opens sealed content; generates it, with mode 0600, if there is none.

    A new key is no loss: reports name its public half, and the hub seals again.

    Raises:
        IdentityError: the file is not a key, or other users may read it.
    """
    path = data_dir / SEALING_KEY_FILE
    if not path.exists():
        write_durably(path, SealingKey.generate().raw())
    check_secret_mode(path)
    try:
        return SealingKey(path.read_bytes())
    except ValueError as error:
        raise IdentityError(
            f"{path}: not an X25519 key of 32 bytes; remove it to get a new one"
        ) from error


def record_boot(data_dir: Path) -> Boot:
    """Counts this start on disk, before any message carries its number."""
    path = data_dir / BOOTS_FILE
    try:
        number = int(path.read_text()) + 1
    except (FileNotFoundError, ValueError):  # ValueError: not a number, or not even text
        number = 1
    if not 0 < number <= LAST_SEQUENCE:
        number = 1
    write_durably(path, str(number).encode())
    return Boot(secrets.token_hex(8), number)


def record_higher_boot(data_dir: Path, above: int) -> Boot | None:
    """Counts on from a higher number, because the count on disk was lost or is an old one.

    Args:
        data_dir: the data directory, locked.
        above: a number that was used before.

    Returns:
        The boot that this start counts as from now on; None if there is no number above.

    Raises:
        OSError: the disk is full, read-only or gone.
    """
    if not 0 <= above < LAST_SEQUENCE - 1:  # the count must be able to go on
        return None
    write_durably(data_dir / BOOTS_FILE, str(above + 1).encode())
    return Boot(secrets.token_hex(8), above + 1)


@contextmanager
def lock_data_dir(data_dir: Path) -> Iterator[None]:
    """Locks the data directory for this process; the kernel releases the lock when it ends.

    Raises:
        IdentityError: another agent uses the directory.
    """
    handle = os.open(data_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
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
