"""Bearer tokens on disk, one for each identity, and the kubeconfig that holds a token.

Only the owner can read these files. `kapok hub token` adds tokens while the server runs; the server
reads the file again when it has changed.
"""

import hmac
import json
import logging
import os
import secrets
from pathlib import Path
from typing import Annotated

import msgspec

from scheduler.apiserver.auth.rbac import OWNER_ROLE, ROLES, Identity
from scheduler.apiserver.base.errors import DamagedFile
from scheduler.hub.schema.json_types import Json

log = logging.getLogger(__name__)
_TOKEN_BYTES = 32
_GROUP_AND_OTHERS_MASK = 0o077
OWNER = Identity("kapok-admin", OWNER_ROLE)
"""The identity of the scheduler and of the hub's own kubeconfig."""
_FORMER_OWNER = Identity("kapok-admin", "administrator")
"""The same in files of tokens of earlier versions."""


class UnknownRole(ValueError):
    """The role does not exist; the message lists the roles."""


class UnusableSecret(DamagedFile):
    """Others may read a file with a secret; the message says what to do."""


def check_secret_mode(path: Path) -> None:
    """Refuses a file with a secret that others than its owner may read or write.

    Raises:
        UnusableSecret: the message says which command mends it.
    """
    if path.is_file() and path.stat().st_mode & _GROUP_AND_OTHERS_MASK:
        raise UnusableSecret(
            f"{path}: other users may read or change this secret; run: chmod 600 {path}"
        )


class _UnknownRoleInFile(ValueError):
    """An entry has a role that does not exist."""


class _Entry(msgspec.Struct):
    """One entry of the file."""

    name: str
    role: str
    namespaces: tuple[str, ...]
    token: Annotated[str, msgspec.Meta(min_length=1)]


def _decode_entries(data: bytes) -> dict[bytes, Identity]:
    found = {}
    for entry in msgspec.json.decode(data, type=list[_Entry]):
        identity = Identity(entry.name, entry.role, entry.namespaces)
        if identity == _FORMER_OWNER:
            identity = OWNER
        if identity.role not in ROLES:
            raise _UnknownRoleInFile(f"unknown role {entry.role!r} of {entry.name!r}")
        found[entry.token.encode()] = identity
    return found


class TokenStore:
    """The tokens of a data directory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_mtime_ns = -1
        self._identities: dict[bytes, Identity] = {}

    def get_or_create(self, identity: Identity) -> str:
        """The token of an identity; a new one if it has none.

        Raises:
            UnknownRole: the role does not exist.
            DamagedFile: the file of tokens cannot be read, or others may read it.
        """
        if identity.role not in ROLES:
            raise UnknownRole(f"unknown role {identity.role!r}; roles: {', '.join(ROLES)}")
        check_secret_mode(self._path)
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
        """The identity of a token, or None; compares in constant time."""
        found = self._find(token)
        if found is None and self._has_changed():
            try:
                self._read()
            except DamagedFile as error:
                # Logged once per change of the file; the tokens that were read before stay valid.
                log.error("%s", error)  # noqa: TRY400
            found = self._find(token)
        return found

    def _find(self, token: bytes) -> Identity | None:
        found = None
        # No early exit: the time must not depend on which token matches.
        for known, identity in self._identities.items():
            if hmac.compare_digest(known, token):
                found = identity
        return found

    def _has_changed(self) -> bool:
        return self._path.exists() and self._path.stat().st_mtime_ns != self._read_mtime_ns

    def _read(self) -> None:
        """Reads the file.

        Raises:
            DamagedFile: the file is not as this class writes it.
        """
        if not self._path.exists():
            return
        try:
            self._read_mtime_ns = self._path.stat().st_mtime_ns
            entries = _decode_entries(self._path.read_bytes())
        except (OSError, msgspec.DecodeError, _UnknownRoleInFile) as error:
            raise DamagedFile(
                f"{self._path}: the file of tokens cannot be read ({error}); restore it from a "
                "copy, or move it away: then new tokens are made, and people need new ones "
                "(kapok hub token)"
            ) from None
        self._identities = entries

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
        _write_private_json(self._path, entries)
        self._read_mtime_ns = self._path.stat().st_mtime_ns


def write_kubeconfig(path: Path, *, name: str, url: str, token: str, ca: str = "") -> None:
    """Writes a kubeconfig that only its owner can read, atomically.

    Args:
        path: the file.
        name: the name of the cluster, the user and the context.
        url: the URL of the server.
        token: the bearer token.
        ca: the certificate of the server's authority, base64 of PEM; empty without TLS.
    """
    cluster = {"server": url}
    if ca:
        cluster["certificate-authority-data"] = ca
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    _write_private_json(path, content)


def _write_private_json(path: Path, content: Json) -> None:
    """Writes JSON to a file that only its owner can read; readers never see a partial file."""
    if path.is_dir():
        raise DamagedFile(f"{path}: this is a folder where a file belongs; remove it")
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
    draft.replace(path)
