"""The hub's own signing key, and the keys that sites are admitted with."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from agents.protocol.errors import WireError
from agents.protocol.keys import PublicKey, SigningKey, TrustedKeys

__all__ = ["Keyring", "SigningKey", "canonical_public_key", "load_or_make_key"]

_KEY_FILE_MODE = 0o600


def canonical_public_key(text: str) -> str:
    """A public key in its one written form.

    Raises:
        ValueError: not `ed25519:BASE64` of 32 bytes; the message says so.
    """
    return str(PublicKey.parse(text))


def load_or_make_key(path: Path) -> SigningKey:
    """The signing key in `path`; made there with mode 0600 when there is none.

    Raises:
        ValueError: the file is not a key, or others may read it.
    """
    if not path.exists():
        key = SigningKey.generate()
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _KEY_FILE_MODE)
        with os.fdopen(handle, "wb") as file:
            file.write(key.raw())
            file.flush()
            os.fsync(file.fileno())
        return key
    if path.stat().st_mode & 0o077:
        raise ValueError(f"{path}: others may read this key; chmod 600 it, or make a new one")
    try:
        return SigningKey(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: not an Ed25519 key of 32 bytes") from error


class Keyring:
    """Which keys each admitted site signs with.

    A key that does not parse admits nobody; `invalid_keys` names it for the operator.
    """

    def __init__(self) -> None:
        self._trusted: dict[str, TrustedKeys] = {}
        self._texts: dict[str, tuple[str, ...]] = {}
        self.invalid_keys: dict[str, str] = {}

    def admit(self, site: str, keys: Iterable[str]) -> bool:
        """Sets the keys of a site, in the form `ed25519:BASE64`.

        Returns:
            Whether they are others than before.
        """
        keys = tuple(keys)
        is_new = self._texts.get(site) != keys
        self._texts[site] = keys
        good: list[PublicKey] = []
        self.invalid_keys.pop(site, None)
        for text in keys:
            try:
                good.append(PublicKey.parse(text))
            except WireError as error:
                self.invalid_keys[site] = str(error)
        self._trusted[site] = TrustedKeys(good)
        return is_new

    def forget(self, site: str) -> None:
        """The site is gone."""
        self._trusted.pop(site, None)
        self._texts.pop(site, None)
        self.invalid_keys.pop(site, None)

    def keys_of(self, site: str) -> TrustedKeys | None:
        """The site's keys; None for a site that nobody admitted."""
        return self._trusted.get(site)

    @property
    def sites(self) -> Mapping[str, TrustedKeys]:
        """All admitted sites."""
        return self._trusted
