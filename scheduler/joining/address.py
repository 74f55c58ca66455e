"""Where machines join, as the hub says: a ConfigMap that every scheduler with joining writes.

`kapok site join` reads it, so that an operator needs nothing but access to the hub.
"""

import base64
import binascii
from dataclasses import dataclass

from agents.protocol.joining.token import FINGERPRINT_BYTES, JoinToken
from scheduler.control.ports.hub import CONFIG_MAPS, Hub, HubError, NotFound, Refused
from scheduler.joining.invitations import JOINING_NAMESPACE

_CONFIG_MAP = "kapok-joining"
_FIELD_MANAGER = "kapok"
_LAST_PORT = 65_535


class JoiningUnknown(HubError):
    """The hub does not say where machines join; the message says what to do."""


@dataclass(frozen=True, slots=True)
class JoinAddress:
    """Where machines join.

    Attributes:
        host: a name or an IP address.
        port: the TCP port.
        fingerprint: SHA-256 of the authority's certificate in DER; 32 bytes.
    """

    host: str
    port: int
    fingerprint: bytes

    def token_of(self, site: str, secret: bytes) -> str:
        """The token with which one machine joins a site.

        Args:
            site: the name of the Site.
            secret: of its invitation.
        """
        token = JoinToken(
            host=self.host,
            port=self.port,
            site=site,
            secret=secret,
            fingerprint=self.fingerprint[:FINGERPRINT_BYTES],
        )
        return str(token)


async def publish_join_address(hub: Hub, address: JoinAddress) -> None:
    """Writes the address into the hub."""
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": _CONFIG_MAP, "namespace": JOINING_NAMESPACE},
        "data": {
            "host": address.host,
            "port": str(address.port),
            "fingerprint": base64.b64encode(address.fingerprint).decode(),
        },
    }
    await hub.apply(CONFIG_MAPS, body, field_manager=_FIELD_MANAGER)


async def find_join_address(hub: Hub) -> JoinAddress:
    """Reads the address.

    Raises:
        JoiningUnknown: no scheduler has written one, or the caller may not read it.
    """
    try:
        data = (await hub.get(CONFIG_MAPS, _CONFIG_MAP, JOINING_NAMESPACE)).get("data") or {}
        port = range(1, _LAST_PORT + 1)[int(data["port"]) - 1]
        fingerprint = base64.b64decode(data["fingerprint"], validate=True)
        return JoinAddress(str(data["host"]), port, fingerprint)
    except NotFound:
        raise JoiningUnknown(
            "no machine can join this hub yet: start it with kapok up --listen ADDRESS"
        ) from None
    except Refused as error:
        raise JoiningUnknown(
            f"you may not read where machines join ({error}); the role kapok-inviter in namespace "
            f"{JOINING_NAMESPACE} gives the right"
        ) from error
    except (LookupError, ValueError, TypeError, binascii.Error):
        raise JoiningUnknown(
            f"ConfigMap {JOINING_NAMESPACE}/{_CONFIG_MAP} is damaged: start kapok up --listen again"
        ) from None
