"""Where the scheduler's web server is, as the hub says: a ConfigMap that the leader writes.

A kubeconfig names the hub alone. With the ConfigMap a command that has nothing else finds the web
server too, which answers from the ledger with the rights that the caller's token has in the hub.
"""

from urllib.parse import urlsplit

from scheduler.control.ports.hub import CONFIG_MAPS, NAMESPACE, Hub, HubError, NotFound, Refused
from scheduler.hub.client import HubClient

_NAME = "kapok-endpoints"
_KEY = "web"
_FIELD_MANAGER = "kapok"
_LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")


class WebAddressUnknown(HubError):
    """The hub names no web server, or none that a token may be sent to."""


async def publish_web_address(hub: Hub, url: str) -> None:
    """Writes the address into the hub."""
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": _NAME, "namespace": NAMESPACE},
        "data": {_KEY: url},
    }
    await hub.apply(CONFIG_MAPS, body, field_manager=_FIELD_MANAGER)


async def find_web_address(client: HubClient) -> str:
    """The address of the web server.

    Raises:
        WebAddressUnknown: the message says how to name one.
    """
    try:
        body = await client.get(CONFIG_MAPS, _NAME, NAMESPACE)
    except NotFound:
        raise WebAddressUnknown(
            f"the hub at {client.address} does not say where the scheduler's web server is; "
            "start `kapok up`, or name it with --server URL"
        ) from None
    except Refused as error:
        raise WebAddressUnknown(
            f"the token may not read where the scheduler's web server is ({error}); name it with "
            f"--server URL, or let the token get configmaps/{_NAME} in namespace {NAMESPACE}"
        ) from error
    return check_web_address(str((body.get("data") or {}).get(_KEY, "")))


def check_web_address(url: str) -> str:
    """The address without a slash at its end.

    Raises:
        WebAddressUnknown: a token sent there could be read by others.
    """
    parts = urlsplit(url)
    is_loopback = parts.scheme == "http" and parts.hostname in _LOOPBACK_HOSTS
    if not (is_loopback or (parts.scheme == "https" and parts.hostname)):
        raise WebAddressUnknown(
            f"no token is sent to {url!r}: write https://HOST:PORT, or http:// on loopback"
        )
    return url.rstrip("/")
