"""Bearer tokens on disk: one for each identity, in a file that only the owner can read.

`kapok hub token` adds some while the server runs; the file is read again when it has changed.
"""

import hmac
import json
import os
import secrets
from pathlib import Path

from scheduler.apiserver.auth.rbac import ROLES, Identity

_TOKEN_BYTES = 32
ADMINISTRATOR = Identity("kapok-admin", "administrator")


class UnknownRole(ValueError):
    """No such role; the message lists those there are."""


class TokenStore:
    """The tokens of a data directory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_mtime_ns = -1
        self._identities: dict[bytes, Identity] = {}

    def get_or_create(self, identity: Identity) -> str:
        """The token of an identity; made when it has none.

        Raises:
            UnknownRole: the role does not exist.
        """
        if identity.role not in ROLES:
            raise UnknownRole(f"no role {identity.role!r}; roles: {', '.join(ROLES)}")
        self._read()
        for token, known in self._identities.items():
            if known == identity:
                return token.decode()
        token = secrets.token_urlsafe(_TOKEN_BYTES).encode()
        kept = {t: known for t, known in self._identities.items() if known.name != identity.name}
        self._identities = {**kept, token: identity}
        self._write()
        return token.decode()

    def identity_of(self, token: bytes) -> Identity | None:
        """Who holds a token; the comparison takes the same time for all."""
        found = self._find(token)
        if found is None and self._has_changed():
            self._read()
            found = self._find(token)
        return found

    def _find(self, token: bytes) -> Identity | None:
        found = None
        for known, identity in self._identities.items():
            if hmac.compare_digest(known, token):
                found = identity
        return found

    def _has_changed(self) -> bool:
        return self._path.exists() and self._path.stat().st_mtime_ns != self._read_mtime_ns

    def _read(self) -> None:
        if not self._path.exists():
            return
        self._read_mtime_ns = self._path.stat().st_mtime_ns
        self._identities = {
            entry["token"].encode(): Identity(
                entry["name"], entry["role"], tuple(entry["namespaces"])
            )
            for entry in json.loads(self._path.read_text())
        }

    def _write(self) -> None:
        entries = [
            {
                "name": identity.name,
                "role": identity.role,
                "namespaces": list(identity.namespaces),
                "token": token.decode(),
            }
            for token, identity in self._identities.items()
        ]
        draft = self._path.with_name(f".{self._path.name}.new")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(entries, file, indent=2)
            file.write("\n")
        draft.replace(self._path)
        self._read_mtime_ns = self._path.stat().st_mtime_ns
