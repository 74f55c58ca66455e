"""The hub's signing keys over a rotation, as files of the data directory.

`hub.key` signs. `hub.key.next` will sign, and is announced before it does. `hub.key.previous` has
signed, and still signs the announcement of the keys after it, for agents that were away.
`hub.keyset.json` is the set that is announced; the offline root certifies that file.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from agents.protocol.errors import WireError
from agents.protocol.hub_trust.key_set import HUB_KEY_SET, HubKeySet
from agents.protocol.keys import PublicKey, SigningKey, TrustedKeys
from scheduler.mqtt.keyring import (
    load_or_make_key,
    note_public_key,
    read_key,
    write_public_key,
)
from scheduler.pki.files import write_file
from scheduler.runtime.data_dir import HUB_KEY_FILE, HUB_PUBLIC_KEY_FILE, HUB_PUBLIC_KEYS_FILE

NEXT_FILE = f"{HUB_KEY_FILE}.next"
PREVIOUS_FILE = f"{HUB_KEY_FILE}.previous"
KEY_SET_FILE = "hub.keyset.json"
ROOT_FILE = "hub.root.pub"
"""The public key of the offline root."""
WAITING_FILE = "hub.keyset.waiting"
"""The sites that do not know the set yet, one a line, as a running scheduler sees it."""
_MAX_FILE_BYTES = 64 * 1024
_OTHERS_MASK = 0o077


class RotationRefused(ValueError):
    """A step of a rotation is not possible now; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """The keys of a data directory.

    Attributes:
        signing: signs now.
        next: will sign; None: none is prepared.
        previous: has signed before; None: it is retired.
        announced: the set that agents learn; None: nothing is announced.
        root: the public key of the offline root; None: there is none.
    """

    signing: PublicKey
    next: PublicKey | None
    previous: SigningKey | None
    announced: HubKeySet | None
    root: PublicKey | None

    @property
    def is_certified(self) -> bool:
        """Whether the root has certified the set; true without a root."""
        if self.root is None or self.announced is None:
            return True
        return self.announced.is_certified(TrustedKeys([self.root]))


def read_key_state(root: Path, signing: PublicKey) -> KeyState:
    """Reads the keys beside the one that signs.

    Raises:
        ValueError: a file is damaged or readable by others; the message names it.
        OSError: a file cannot be read.
    """
    upcoming = read_secret_key(root / NEXT_FILE)
    return KeyState(
        signing=signing,
        next=upcoming.public if upcoming else None,
        previous=read_secret_key(root / PREVIOUS_FILE),
        announced=read_key_set(root / KEY_SET_FILE),
        root=read_root(root),
    )


def read_secret_key(path: Path) -> SigningKey | None:
    """The key in a file; None if there is none, also when it goes at this moment.

    Raises:
        ValueError: it is no key, or other users may read it.
        OSError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & _OTHERS_MASK:
                raise ValueError(f"{path}: other users may read it; run: chmod 600 {path}")
            return read_key(file.read(_MAX_FILE_BYTES), str(path))
    except FileNotFoundError:
        return None


def read_key_set(path: Path) -> HubKeySet | None:
    """The set in a file; None if there is none.

    Raises:
        RotationRefused: it is no set.
        OSError: it cannot be read.
    """
    if not path.exists():
        return None
    try:
        return HUB_KEY_SET.decode(path.read_bytes()[:_MAX_FILE_BYTES])
    except WireError as error:
        raise RotationRefused(f"{path}: not a set of keys: {error}") from None


def read_root(root: Path) -> PublicKey | None:
    """The public key of the offline root; None if there is none.

    Raises:
        RotationRefused: the file is no key.
    """
    path = root / ROOT_FILE
    if not path.exists():
        return None
    try:
        return PublicKey.parse(path.read_text().strip())
    except WireError as error:
        raise RotationRefused(f"{path}: {error}") from None


def prepare_next(root: Path) -> KeyState:
    """Makes the next key, and the set that announces it.

    Raises:
        RotationRefused: there is no signing key, or a rotation is under way.
    """
    state = _state(root)
    if state.next is not None:
        raise RotationRefused(
            f"the next key is {state.next} already; kapok keys rotate --finish goes on with it"
        )
    if state.previous is not None:
        raise RotationRefused("the key before is still valid; first kapok keys rotate --retire")
    key = load_or_make_key(root / NEXT_FILE)
    note_public_key(root / HUB_PUBLIC_KEYS_FILE, key)
    _announce(root, state, (str(state.signing), str(key.public)))
    return _state(root)


def finish(root: Path) -> KeyState:
    """Signs with the next key from the next start on; the one before stays valid.

    Raises:
        RotationRefused: no next key is prepared, or the root has not certified it.
    """
    state = _state(root)
    if state.next is None:
        raise RotationRefused("no next key is prepared; kapok keys rotate makes one")
    if not state.is_certified:
        raise RotationRefused(f"the root has not certified {root / KEY_SET_FILE} yet")
    key = load_or_make_key(root / NEXT_FILE)
    signing = load_or_make_key(root / HUB_KEY_FILE)
    write_file(root / PREVIOUS_FILE, signing.raw())
    # At no moment there is no key. A crash here leaves the next key as both, and is repeated.
    write_file(root / HUB_KEY_FILE, key.raw())
    write_public_key(root / HUB_PUBLIC_KEY_FILE, key)
    (root / NEXT_FILE).unlink()
    return _state(root)


def retire(root: Path) -> KeyState:
    """Ends the validity of the key before.

    Raises:
        RotationRefused: there is none.
    """
    state = _state(root)
    if state.previous is None:
        raise RotationRefused("no key before the present one is valid")
    _announce(root, state, (str(state.signing),))
    if state.root is None:
        (root / PREVIOUS_FILE).unlink()
    # With a root the file goes when the new set is certified: until then the old set counts.
    return _state(root)


def drop_retired(root: Path, state: KeyState) -> None:
    """Removes the key before once a certified set without it is announced."""
    previous, announced = state.previous, state.announced
    if previous is None or announced is None or not state.is_certified:
        return
    if str(previous.public) not in announced.keys and state.next is None:
        (root / PREVIOUS_FILE).unlink(missing_ok=True)


def certify(path: Path, root_key: SigningKey) -> HubKeySet:
    """Has the root certify the set in a file, which is written again.

    Raises:
        RotationRefused: the file is no set.
        OSError: it cannot be read or written.
    """
    found = read_key_set(path)
    if found is None:
        raise RotationRefused(f"{path}: there is no set of keys; kapok keys rotate writes one")
    certified = found.certified_by(root_key)
    write_file(path, HUB_KEY_SET.encode(certified), mode=0o644)
    return certified


def make_root(path: Path) -> SigningKey:
    """Makes the key of an offline root in a new file of mode 0600.

    Raises:
        OSError: the file is there already, or cannot be written.
    """
    key = SigningKey.generate()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(key.raw())
        file.flush()
        os.fsync(file.fileno())
    return key


def trust_root(root: Path, text: str) -> PublicKey:
    """Names the offline root; machines that join from now on know it.

    Raises:
        RotationRefused: the text is no key, or another root is named.
    """
    try:
        key = PublicKey.parse(text)
    except WireError as error:
        raise RotationRefused(f"{text[:80]!r}: {error}") from None
    known = read_root(root)
    if known is not None and str(known) != str(key):
        raise RotationRefused(
            f"{root / ROOT_FILE} names {known}, which sites that have joined know; agents take "
            "another root only from their settings (root_keys)"
        )
    write_file(root / ROOT_FILE, f"{key}\n".encode(), mode=0o644)
    return key


def read_waiting(root: Path) -> list[str] | None:
    """The sites that do not know the set yet; None: no scheduler has said so."""
    try:
        return (root / WAITING_FILE).read_text().split()
    except OSError:
        return None


def _announce(root: Path, state: KeyState, keys: tuple[str, ...]) -> None:
    sequence = state.announced.sequence + 1 if state.announced else 1
    one = HubKeySet(sequence=sequence, keys=keys)
    write_file(root / KEY_SET_FILE, HUB_KEY_SET.encode(one), mode=0o644)
    (root / WAITING_FILE).unlink(missing_ok=True)


def _state(root: Path) -> KeyState:
    path = root / HUB_KEY_FILE
    if not path.exists():
        raise RotationRefused(f"{path}: there is no signing key; kapok up makes it")
    return read_key_state(root, load_or_make_key(path).public)
