"""The files of a data directory: each is checked before anything is opened, and named if damaged.

A check never changes a file. A file that is absent is no damage; whether it was lost is the
question of `losses.py`.
"""

import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from scheduler.apiserver.auth.rbac import ROLES
from scheduler.apiserver.backup import DATABASE_NAME
from scheduler.mqtt.keyring import SigningKey, canonical_public_key
from scheduler.recovery.databases import check_ledger, check_objects, check_received
from scheduler.runtime.data_dir import (
    HUB_KEY_FILE,
    HUB_PUBLIC_KEY_FILE,
    KUBECONFIG_FILE,
    PORTS_FILE,
    RECEIVED_FILE,
    RECEIVED_MARK_FILE,
    DataDirectoryError,
)

OBJECTS_FILE = f"hub/{DATABASE_NAME}"
TOKENS_FILE = "hub/tokens.json"
_GROUP_AND_OTHERS_MASK = 0o077
_OTHERS_MASK = 0o007
_MAX_SMALL_FILE_BYTES = 1 << 20
_MAX_PORT = 65_535


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file that a data directory keeps from one start to the next.

    Attributes:
        name: path below the data directory.
        check: raises `ValueError` with what is wrong with the file's content.
        way_out: what to do when it is damaged.
        is_secret: whether only its owner may read it.
        is_folder: whether it is a folder.
    """

    name: str
    check: Callable[[Path], None] = lambda _path: None
    way_out: str = "restore it from a backup"
    is_secret: bool = False
    is_folder: bool = False


def check_data_files(root: Path) -> None:
    """Checks every file of a data directory that is there.

    Raises:
        DataDirectoryError: the first file that is damaged, of a newer version, or a secret that
            others may read; the message says what to do.
    """
    for file in (*KEPT_FILES, *_kubeconfigs(root)):
        check_kept_file(root / file.name, file)


def check_kept_file(path: Path, file: KeptFile) -> None:
    """Checks one file; one that is absent passes.

    Raises:
        DataDirectoryError: it is damaged, or a secret that others may read.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataDirectoryError(f"{path}: {error.strerror}; {file.way_out}") from error
    expected, is_as_expected = (
        ("a folder", stat.S_ISDIR(mode)) if file.is_folder else ("a file", stat.S_ISREG(mode))
    )
    if not is_as_expected:
        raise DataDirectoryError(f"{path}: not {expected}; move it away, or {file.way_out}")
    if file.is_secret and mode & _GROUP_AND_OTHERS_MASK:
        raise DataDirectoryError(
            f"{path}: other users may read or change this secret; run: chmod 600 {path}"
        )
    try:
        if not file.is_folder:
            with path.open("rb"):
                pass
        file.check(path)
    except OSError as error:
        raise DataDirectoryError(f"{path}: {error.strerror or error}; {file.way_out}") from error
    except ValueError as error:
        raise DataDirectoryError(f"{path}: {error}; {file.way_out}") from error


def check_mounted_secret(path: Path) -> None:
    """Refuses a secret that an operator provides, if every user of the machine may read it.

    Its group may: the kubelet makes the files of a Secret volume readable by the pod's group.

    Raises:
        DataDirectoryError: the message says which command mends it.
    """
    with suppress(OSError):  # opening the file, later, names what is wrong with it
        if path.stat().st_mode & _OTHERS_MASK:
            raise DataDirectoryError(
                f"{path}: all users may read or change this secret; run: chmod 600 {path}"
            )


def _kubeconfigs(root: Path) -> list[KeptFile]:
    """The kubeconfigs of the hub and of people; each holds a token."""
    try:
        names = sorted(path.name for path in (root / "hub").iterdir())
    except OSError:
        return []
    return [
        KeptFile(f"hub/{name}", way_out="delete it", is_secret=True)
        for name in names
        if name == "kubeconfig" or name.startswith("kubeconfig-")
    ]


def _check_key(path: Path) -> None:
    try:
        SigningKey(_read_small(path))
    except ValueError:
        raise ValueError("not an Ed25519 key of 32 bytes") from None


def _check_public_key(path: Path) -> None:
    read_public_key(path)


def read_public_key(path: Path) -> str:
    """The public key in a file.

    Raises:
        ValueError: the file holds no public key.
    """
    return canonical_public_key(_read_small(path).decode(errors="replace").strip())


def _check_ports(path: Path) -> None:
    found = _read_json(path)
    if not isinstance(found, dict) or not all(
        isinstance(port, int) and not isinstance(port, bool) and 0 < port <= _MAX_PORT
        for port in found.values()
    ):
        raise ValueError("not a JSON object of port numbers")


def _check_tokens(path: Path) -> None:
    found = _read_json(path)
    if not isinstance(found, list) or not all(_is_token(entry) for entry in found):
        raise ValueError("not a JSON list of tokens, each with name, role and namespaces")


def _is_token(entry: object) -> bool:
    if not isinstance(entry, dict):
        return False
    texts = (entry.get("token"), entry.get("name"), entry.get("role"))
    spaces = entry.get("namespaces")
    return (
        all(isinstance(one, str) and one for one in texts)
        and entry.get("role") in ROLES
        and isinstance(spaces, list)
        and all(isinstance(one, str) for one in spaces)
    )


def _read_json(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return msgspec.json.decode(_read_small(path))
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("not JSON") from None


def _read_small(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(_MAX_SMALL_FILE_BYTES + 1)
    if len(data) > _MAX_SMALL_FILE_BYTES:
        raise ValueError("too large for what it should hold")
    return data


_NEW_TOKENS = "delete it, and new tokens are made; then give people new ones (kapok hub token)"
_LOST_KEY = (
    "restore it from a backup, or move it away and accept a new key: kapok hub adopt --lost keys"
)
_LOST_LEDGER = (
    "restore it from a backup, or move it away with its -wal and -shm files and accept the loss: "
    "kapok hub adopt --lost ledger"
)
_LOST_OBJECTS = (
    "restore a backup (kapok hub restore FILE), or move it away with its -wal and -shm files and "
    "accept the loss: kapok hub adopt --lost objects"
)
_LOST_RECEIVED = "move it away, and accept that it is lost: kapok hub adopt --lost received"

KEPT_FILES = (
    KeptFile("hub", is_folder=True, way_out="restore the data directory from a backup"),
    KeptFile("broker", is_folder=True, way_out="delete it"),
    KeptFile(KUBECONFIG_FILE, way_out="delete it"),
    KeptFile(HUB_KEY_FILE, _check_key, _LOST_KEY, is_secret=True),
    KeptFile(HUB_PUBLIC_KEY_FILE, _check_public_key, "delete it, and it is made from hub.key"),
    KeptFile(PORTS_FILE, _check_ports, "delete it, and new ports are chosen"),
    KeptFile("ledger.db", check_ledger, _LOST_LEDGER),
    KeptFile(OBJECTS_FILE, check_objects, _LOST_OBJECTS),
    KeptFile(RECEIVED_FILE, check_received, _LOST_RECEIVED),
    KeptFile(RECEIVED_MARK_FILE, way_out="move it away"),
    KeptFile(TOKENS_FILE, _check_tokens, _NEW_TOKENS, is_secret=True),
    KeptFile("hub/tls.key", way_out="delete it, and a new one is made", is_secret=True),
    KeptFile("hub/tls.crt", way_out="delete it, and a new one is made"),
    KeptFile("hub/ca.crt", way_out="delete it, and a new one is made"),
    KeptFile("hub/port", way_out="delete it, and a new port is chosen"),
    KeptFile("hub/lock", way_out="delete it"),
)
"""Every file that the next start reads."""
