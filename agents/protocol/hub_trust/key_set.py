"""The set of keys that sign for the hub, as the hub announces it.

A set with a higher sequence replaces the one before. It travels in `HubRequest`, which one of the
keys before has signed. Where a site knows an offline root, only a set that the root has certified
counts: a stolen signing key cannot make agents take another one, and it goes out
with the next set.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Annotated, Final

from agents.protocol.bounds import AtMost, Counter
from agents.protocol.codec import Codec, dump_json
from agents.protocol.keys import PublicKey, SigningKey, TrustedKeys

MAX_KEYS: Final = 4
_KeyText = Annotated[str, AtMost(128)]


@dataclass(frozen=True, slots=True, kw_only=True)
class HubKeySet:
    """The keys that sign for the hub.

    Attributes:
        sequence: grows with each set.
        keys: the public keys, `ed25519:BASE64`.
        root: id of the root key that has certified the set; None: none has.
        certificate: its signature, base64.
    """

    sequence: Counter
    keys: Annotated[tuple[_KeyText, ...], AtMost(MAX_KEYS)]
    root: Annotated[str, AtMost(64)] | None = None
    certificate: Annotated[str, AtMost(128)] | None = None

    def certified_by(self, root: SigningKey) -> "HubKeySet":
        """The same set with the certificate of a root."""
        signature = root.sign(_signed_bytes(self))
        return HubKeySet(
            sequence=self.sequence,
            keys=self.keys,
            root=root.public.kid,
            certificate=base64.b64encode(signature).decode(),
        )

    def is_certified(self, roots: TrustedKeys) -> bool:
        """Whether one of these roots has certified the set."""
        root: PublicKey | None = roots.find(self.root or "")
        try:
            signature = base64.b64decode(self.certificate or "", validate=True)
        except (binascii.Error, ValueError):
            return False
        return root is not None and root.is_valid_signature(signature, _signed_bytes(self))


def _signed_bytes(one: HubKeySet) -> bytes:
    return b"kapok-hub-key-set\n" + dump_json({"sequence": one.sequence, "keys": list(one.keys)})


HUB_KEY_SET: Final = Codec(HubKeySet)
