"""Signs an archive of the agent with the hub's key, so that agents of this hub install it.

The signature is a file beside the archive, `ARCHIVE.sig`; both are carried to the machine. An agent
that knows keys of a hub installs what one of them has signed.
"""

from hashlib import sha256
from pathlib import Path
from typing import Final

from agents.protocol.hub_trust.archive_signature import SIGNATURE_SUFFIX, sign_archive
from agents.protocol.keys import SigningKey
from scheduler.key_rotation.key_files import RotationRefused

_CHUNK_BYTES: Final = 2**20
_GZIP: Final = b"\x1f\x8b"


def sign_archive_file(key: SigningKey, archive: Path) -> tuple[Path, str]:
    """Writes the signature beside an archive.

    Args:
        key: the hub's key, which signs orders too.
        archive: as `make agent-archive` has built it.

    Returns:
        The path of the signature, and the SHA-256 of the archive.

    Raises:
        RotationRefused: the file is no archive.
        OSError: it cannot be read, or the signature cannot be written.
    """
    digest = sha256()
    with archive.open("rb") as file:
        begin = file.read(len(_GZIP))
        if begin != _GZIP:
            raise RotationRefused(f"{archive}: not a tar.gz; make agent-archive builds one")
        digest.update(begin)
        while data := file.read(_CHUNK_BYTES):
            digest.update(data)
    path = archive.with_name(archive.name + SIGNATURE_SUFFIX)
    path.write_text(sign_archive(key, digest.hexdigest()))
    return path, digest.hexdigest()
