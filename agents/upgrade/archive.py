"""Checks an archive, and unpacks it: regular files below one folder, bounded in number and size."""

import shutil
import tarfile
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import IO, Final

from agents.protocol.errors import WireError
from agents.protocol.hub_trust.archive_signature import (
    MAX_SIGNATURE_BYTES,
    SIGNATURE_SUFFIX,
    check_archive_signature,
)
from agents.protocol.keys import TrustedKeys

_MAX_FILES: Final = 500
_MAX_BYTES: Final = 300 * 2**20
_CHUNK_BYTES: Final = 2**20


class UpgradeError(Exception):
    """The agent stays as it is; the message says why and what to do."""


def take_archive(path: Path, target: Path, trusted: TrustedKeys, wanted_sha256: str) -> str:
    """Copies an archive that is the one that was meant; returns its SHA-256.

    What is checked is the copy, which no other user can change afterwards.

    Args:
        path: the archive; its signature is beside it.
        target: the copy.
        trusted: the keys of the hub; with any, it has to be signed, or the digest given.
        wanted_sha256: what a person says that its digest is; empty: nothing.

    Raises:
        UpgradeError: it is another one, or nothing vouches for it.
        OSError: it cannot be read, or the disk is full.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise UpgradeError(f"{path}: larger than an archive of kapok-agent is")
    shutil.copyfile(path, target)
    with target.open("rb") as file:
        found = _digest_of(file)
    if wanted_sha256:
        if wanted_sha256.lower().removeprefix("sha256:") != found:
            raise UpgradeError(f"{path}: its SHA-256 is {found}, not the one of --sha256")
        return found
    signature = path.with_name(path.name + SIGNATURE_SUFFIX)
    if not trusted.ids():
        return found
    if not signature.exists():
        raise UpgradeError(
            f"{signature} is missing: sign the archive at the hub (kapok keys sign {path.name}) and"
            " copy both files, or give the digest that the operator reads out with --sha256"
        )
    try:
        with signature.open("rb") as file:
            text = file.read(MAX_SIGNATURE_BYTES).decode(errors="replace")
        check_archive_signature(text, found, trusted)
    except WireError as error:
        raise UpgradeError(f"{signature}: {error}; copy both files again") from None
    return found


def unpack(path: Path, folder: Path) -> Path:
    """Unpacks an archive into an empty folder; returns the one that install.sh is in.

    Raises:
        UpgradeError: it is no archive of ours, or a file of it would go elsewhere.
        OSError: the disk is full or read-only.
    """
    left, count = _MAX_BYTES, 0
    try:
        with tarfile.open(path, "r:gz") as archive:
            for entry in archive:
                name, count = PurePosixPath(entry.name), count + 1
                if not entry.isfile() or name.is_absolute() or ".." in name.parts:
                    raise UpgradeError(f"{path}: {entry.name!a} is no plain file below its folder")
                left -= entry.size
                if left < 0 or count > _MAX_FILES:
                    raise UpgradeError(f"{path}: larger than an archive of kapok-agent is")
                _write(archive.extractfile(entry), folder / name)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise UpgradeError(f"{path}: not a whole archive: {error}; copy it again") from None
    found = list(folder.glob("*/install.sh"))
    if len(found) != 1:
        raise UpgradeError(f"{path}: no archive of kapok-agent: it has no install.sh")
    return found[0].parent


def _write(source: IO[bytes] | None, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        while source and (data := source.read(_CHUNK_BYTES)):
            file.write(data)


def _digest_of(file: IO[bytes]) -> str:
    digest = sha256()
    while data := file.read(_CHUNK_BYTES):
        digest.update(data)
    return digest.hexdigest()
