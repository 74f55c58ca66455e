"""The hub's own signing key, and the public keys of admitted sites."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from agents.protocol.errors import WireError
from agents.protocol.keys import PublicKey, SigningKey, TrustedKeys
from scheduler.model.kinds.site import RESERVED_NAMES

__all__ = [
    "Keyring",
    "SigningKey",
    "canonical_public_key",
    "load_or_make_key",
    "note_public_key",
    "read_key",
    "replace_key",
    "write_public_key",
]

_log = logging.getLogger(__name__)

_KEY_FILE_MODE = 0o600


def canonical_public_key(text: str) -> str:
    """A public key in its canonical form.

    Raises:
        ValueError: the text is not `ed25519:BASE64` of 32 bytes; the message says so.
    """
    return str(PublicKey.parse(text))


def load_or_make_key(path: Path) -> SigningKey:
    """Reads the signing key in `path`; creates it with mode 0600 if the file does not exist.

    Raises:
        ValueError: the file is not a key, or other users may read it.
    """
    if not path.exists():
        key = SigningKey.generate()
        _write_private(path, key.raw())
        return key
    if path.stat().st_mode & 0o077:
        raise ValueError(
            f"{path}: other users may read or change this secret; run: chmod 600 {path}"
        )
    try:
        return SigningKey(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: not an Ed25519 key of 32 bytes") from error


def read_key(data: bytes, source: str) -> SigningKey:
    """A signing key that an operator provides, such as a file of a Secret volume.

    Args:
        data: the 32 bytes of the key.
        source: what holds them, for the message.

    Raises:
        ValueError: they are not a key.
    """
    try:
        return SigningKey(data)
    except ValueError as error:
        raise ValueError(
            f"{source}: not an Ed25519 key of 32 bytes; put in the file hub.key of a data directory"
        ) from error


def replace_key(path: Path) -> SigningKey:
    """Makes a new signing key in `path`; the one before is kept beside it as `NAME.replaced`.

    Raises:
        OSError: the directory cannot be written; the key before is still there.
    """
    draft = path.with_name(f"{path.name}.new")
    if path.exists():
        _write_private(draft, path.read_bytes())
        draft.replace(path.with_name(f"{path.name}.replaced"))
    key = SigningKey.generate()
    _write_private(draft, key.raw())
    draft.replace(path)  # at no moment there is no key: a start would make yet another one
    return key


def _write_private(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _KEY_FILE_MODE)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_public_key(path: Path, key: SigningKey) -> None:
    """Writes the public half of a key, atomically: a start refuses half a file."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(f"{key.public}\n")
    draft.replace(path)


def note_public_key(path: Path, key: SigningKey) -> frozenset[str]:
    """Adds the public half of a key to the file of all keys so far; returns all of them."""
    text = path.read_text() if path.exists() else ""
    if str(key.public) not in text.split():
        draft = path.with_name(f".{path.name}.new")
        draft.write_text(f"{text}{key.public}\n")
        draft.replace(path)
    return frozenset((*text.split(), str(key.public)))


class Keyring:
    """The keys that each admitted site signs with.

    Args:
        reserved_names: names that no site may have: the broker knows the scheduler by them. The
            hub refuses such a Site; one that it holds from before has no keys.
    """

    def __init__(self, reserved_names: frozenset[str] = RESERVED_NAMES) -> None:
        self._reserved_names = reserved_names
        self._trusted: dict[str, TrustedKeys] = {}
        self._texts: dict[str, tuple[str, ...]] = {}

    def admit(self, site: str, keys: Iterable[str]) -> bool:
        """Sets the keys of a site, in the form `ed25519:BASE64`.

        A key that cannot be read is left out, and a warning names the site.

        Returns:
            Whether the keys differ from those before.
        """
        keys = tuple(keys)
        is_new = self._texts.get(site) != keys
        self._texts[site] = keys
        if site in self._reserved_names:
            if is_new:
                _log.error(
                    "Site %s: the broker knows the scheduler by this name, so nothing of this site"
                    " is accepted; delete it, and let its machine join under another name",
                    site,
                )
            keys = ()
        good: list[PublicKey] = []
        for text in keys:
            try:
                good.append(PublicKey.parse(text))
            except WireError as error:
                if is_new:  # a Site is updated often; one warning for each change of its keys
                    _log.warning(
                        "Site %s: spec.delivery.agentKeys: %s; the key is left out", site, error
                    )
        self._trusted[site] = TrustedKeys(good)
        return is_new

    def forget(self, site: str) -> None:
        """Drops the keys of a site that is gone."""
        self._trusted.pop(site, None)
        self._texts.pop(site, None)

    def keys_of(self, site: str) -> TrustedKeys | None:
        """The site's keys; None for a site that is not admitted."""
        return self._trusted.get(site)
