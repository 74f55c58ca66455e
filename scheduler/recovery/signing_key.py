"""The key with which the hub signs: a file of the data directory, or one that replicas share.

A file that an operator mounts may be read by its group, as the kubelet makes those of a Secret
volume (mode 0440 with the pod's fsGroup), and by no other user; `check_mounted_secret` looks at
that. A file of the data directory is 0600. A Secret is read through the API, so that the key is in
no file; the first replica makes it.
"""

import base64
import binascii
from pathlib import Path

from scheduler.control.ports.hub import NAMESPACE, SECRETS, Conflict, Hub, NotFound, Object
from scheduler.mqtt.keyring import SigningKey, load_or_make_key, read_key
from scheduler.runtime.data_dir import HUB_KEY_FILE, DataDirectoryError
from scheduler.settings import HubSettings

SECRET_KEY = HUB_KEY_FILE
"""The entry of the Secret that holds the key."""
_REPLACED = f"{HUB_KEY_FILE}.replaced"


def is_key_shared(settings: HubSettings) -> bool:
    """Whether the key is not in the data directory."""
    return bool(settings.signing_key_file or settings.signing_key_secret)


async def load_signing_key(settings: HubSettings, root: Path, hub: Hub) -> SigningKey:
    """Reads the signing key; makes it if there is none and an operator has not named a file.

    Args:
        settings: say where it is.
        root: the data directory.
        hub: holds the Secret.

    Raises:
        DataDirectoryError: the file cannot be read.
        HubError: the Secret cannot be read or made.
        ValueError: what is there is not a key.
    """
    if settings.signing_key_file:
        return _load_from_file(Path(settings.signing_key_file))
    if settings.signing_key_secret:
        return await _load_from_secret(hub, settings.signing_key_secret)
    return load_or_make_key(root / HUB_KEY_FILE)


def _load_from_file(path: Path) -> SigningKey:
    try:
        return read_key(path.read_bytes(), str(path))
    except OSError as error:
        raise DataDirectoryError(
            f"hub.signing_key_file: {path}: {error.strerror}; mount the Secret with the key"
            " there, or name another file"
        ) from error


async def replace_key_in_secret(hub: Hub, name: str) -> None:
    """Puts a new key into the Secret; the one before is kept beside it.

    Raises:
        HubError: the Secret cannot be read or written.
    """
    secret = await hub.get(SECRETS, name, NAMESPACE)
    before = (secret.get("data") or {}).get(SECRET_KEY)
    body = {"data": {**_secret_of(name, SigningKey.generate())["data"], _REPLACED: before}}
    await hub.merge_patch(SECRETS, name, body, namespace=NAMESPACE)


async def _load_from_secret(hub: Hub, name: str) -> SigningKey:
    source = f"Secret {NAMESPACE}/{name}"
    try:
        secret = await hub.get(SECRETS, name, NAMESPACE)
    except NotFound:
        key = SigningKey.generate()
        try:
            await hub.create(SECRETS, _secret_of(name, key))
        except Conflict:  # another replica was first
            secret = await hub.get(SECRETS, name, NAMESPACE)
        else:
            return key
    packed = str((secret.get("data") or {}).get(SECRET_KEY, ""))
    try:
        return read_key(base64.b64decode(packed, validate=True), f"{source}, {SECRET_KEY}")
    except binascii.Error as error:
        raise ValueError(f"{source}, {SECRET_KEY}: not base64") from error


def _secret_of(name: str, key: SigningKey) -> Object:
    return {
        "apiVersion": SECRETS.api_version,
        "kind": SECRETS.kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "type": "Opaque",
        "data": {SECRET_KEY: base64.b64encode(key.raw()).decode()},
    }
