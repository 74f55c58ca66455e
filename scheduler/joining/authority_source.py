"""Where the authority comes from: the data directory, a Secret that replicas share, or outside.

An outside authority is one that operations have already, such as a branch of their own PKI that is
for this hub alone. A Secret is read through the API, so that the key is in no file; the first
replica makes it.
"""

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path

from scheduler.control.ports.hub import NAMESPACE, SECRETS, Conflict, Hub, NotFound, Object
from scheduler.pki.authority import Authority, AuthorityError
from scheduler.pki.files import AUTHORITY_FILE, load_authority, load_or_make_authority
from scheduler.runtime.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthoritySource:
    """Where the authority is.

    Attributes:
        folder: its folder in the data directory.
        certificate_file: of an outside authority; empty: Kapok's own.
        key_file: its key; empty: in the same file.
        secret: name of a Secret in kapok-system with Kapok's own; empty: it is in the folder.
    """

    folder: Path
    certificate_file: str = ""
    key_file: str = ""
    secret: str = ""

    async def load(self, hub: Hub, clock: Clock) -> Authority:
        """The authority; Kapok's own is made at the first start.

        Raises:
            AuthorityError: it cannot be used; the message says why.
            HubError: the Secret cannot be read or made.
            OSError: a file cannot be read or written.
        """
        self.folder.mkdir(mode=0o700, exist_ok=True)
        if self.certificate_file:
            key_file = self.key_file or self.certificate_file
            return load_authority(Path(self.certificate_file), Path(key_file))
        if self.secret:
            return await _load_from_secret(hub, self.secret, clock)
        return load_or_make_authority(self.folder, clock.now())


async def _load_from_secret(hub: Hub, name: str, clock: Clock) -> Authority:
    try:
        secret = await hub.get(SECRETS, name, NAMESPACE)
    except NotFound:
        made = Authority.create(clock.now())
        try:
            await hub.create(SECRETS, _secret_of(name, made))
        except Conflict:  # another replica was first
            secret = await hub.get(SECRETS, name, NAMESPACE)
        else:
            return made
    source = f"Secret {NAMESPACE}/{name}, {AUTHORITY_FILE}"
    packed = str((secret.get("data") or {}).get(AUTHORITY_FILE, ""))
    try:
        pem = base64.b64decode(packed, validate=True)
    except binascii.Error:
        raise AuthorityError(f"{source}: not base64") from None
    try:
        return Authority.load(pem, pem)
    except AuthorityError as error:
        raise AuthorityError(f"{source}: {error}") from None


def _secret_of(name: str, authority: Authority) -> Object:
    pem = authority.key_pem + authority.certificate_pem
    return {
        "apiVersion": SECRETS.api_version,
        "kind": SECRETS.kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "type": "Opaque",
        "data": {AUTHORITY_FILE: base64.b64encode(pem).decode()},
    }
