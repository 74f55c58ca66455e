"""Makes the access to a member of the kubeconfig in a Secret.

Write access to the Secret must not give the power to run a program or read a file on the machine of
the push process. So a kubeconfig from a Secret may hold a token, a client certificate and a CA, all
inline, and nothing else that the push process would have to follow.
"""

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from agents.member.access import Access, AccessError, KubeconfigParts, build_access, find_parts
from agents.member.trees import text_at

MAX_KUBECONFIG_BYTES: Final = 256 * 1024
"""A kubeconfig of one cluster has a few KiB; one with the CA bundle of a whole system fits too."""

_NO_FOLDER: Final = Path("/nonexistent")  # every field with a path is refused before it is read
_USER_FIELDS: Final = {
    "exec": "runs a program beside the hub",
    "auth-provider": "runs a plug-in beside the hub",
    "tokenFile": "names a file of the push process's machine",
    "client-certificate": "names a file of the push process's machine",
    "client-key": "names a file of the push process's machine",
    "username": "is not supported",
    "password": "is not supported",
    "as": "is not supported, and without it the requests would have other rights",
    "as-uid": "is not supported, and without it the requests would have other rights",
    "as-groups": "is not supported, and without it the requests would have other rights",
    "as-user-extra": "is not supported, and without it the requests would have other rights",
}
_CLUSTER_FIELDS: Final = {
    "certificate-authority": "names a file of the push process's machine",
    "insecure-skip-tls-verify": "would give the credentials to any server",
    "proxy-url": "is not supported",
    "tls-server-name": "is not supported",
}


def access_of_kubeconfig(data: bytes, source: str) -> Access:
    """The access that the kubeconfig of a Secret describes.

    Args:
        data: the kubeconfig.
        source: what holds it, for messages.

    Raises:
        AccessError: it is too large, not a kubeconfig, or holds what is refused; the message names
            the field and repeats no credential.
    """
    if len(data) > MAX_KUBECONFIG_BYTES:
        raise AccessError(
            f"{source}: the kubeconfig has {len(data)} bytes, and at most "
            f"{MAX_KUBECONFIG_BYTES} are read"
        )
    parts = find_parts(_parse(data, source), source)
    _refuse_fields(parts.user, "user", _USER_FIELDS, source)
    return access_of_user(parts.cluster, parts.user, source)


def access_of_user(cluster: Mapping[str, Any], user: Mapping[str, Any], source: str) -> Access:
    """The access to a cluster with credentials that are inline.

    Args:
        cluster: as a kubeconfig has it.
        user: as a kubeconfig has it, with a token or a client certificate.
        source: what holds them, for messages.

    Raises:
        AccessError: as `access_of_kubeconfig`.
    """
    check_cluster(cluster, source)
    if not user.get("token") and not user.get("client-certificate-data"):
        raise AccessError(f"{source}: the user has neither a token nor a client certificate")
    parts = KubeconfigParts(source=source, context="", cluster=cluster, user=user)
    return _without_refused_address(build_access(_with_text_only(parts), _NO_FOLDER), source)


def check_cluster(cluster: Mapping[str, Any], source: str) -> None:
    """Refuses a cluster that names files or would give the credentials to others.

    Raises:
        AccessError: the message names the field.
    """
    _refuse_fields(cluster, "cluster", _CLUSTER_FIELDS, source)
    if not text_at(cluster, "server").startswith("https://"):
        raise AccessError(
            f"{source}: cluster.server is not an https URL; without TLS anyone on the way could "
            "read the credentials"
        )


def _parse(data: bytes, source: str) -> dict[str, Any]:
    """Reads YAML without aliases, so that a small text cannot stand for a large tree.

    The messages of the parser would repeat lines of the text, which may be credentials.
    """
    import yaml  # noqa: PLC0415 - only a push process with a member needs it

    class PlainLoader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:  # noqa: ANN401 - PyYAML's
            if self.check_event(yaml.AliasEvent):
                raise AccessError(f"{source}: the kubeconfig has a YAML alias, which is refused")
            return super().compose_node(parent, index)

    try:
        tree = yaml.load(data.decode(), Loader=PlainLoader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        raise AccessError(f"{source}: not a kubeconfig ({type(error).__name__})") from None
    if not isinstance(tree, dict):
        raise AccessError(f"{source}: not a kubeconfig")
    return tree


def _refuse_fields(
    tree: Mapping[str, Any], group: str, refused: Mapping[str, str], source: str
) -> None:
    for name, why in refused.items():
        if tree.get(name):
            raise AccessError(f"{source}: {group}.{name} {why}; remove it")


def _with_text_only(parts: KubeconfigParts) -> KubeconfigParts:
    """Refuses credentials that are no text, such as a list."""
    for tree, name in (
        (parts.cluster, "certificate-authority-data"),
        (parts.user, "client-certificate-data"),
        (parts.user, "client-key-data"),
        (parts.user, "token"),
    ):
        if not isinstance(tree.get(name) or "", str):
            raise AccessError(f"{parts.source}: {name} is not a text")
    return parts


def _without_refused_address(access: Access, source: str) -> Access:
    """Refuses addresses that are no cluster's: link-local has the metadata services of clouds."""
    try:
        address = ipaddress.ip_address(access.host.partition("%")[0])
    except ValueError:
        return access  # a name: whatever it resolves to has to have the certificate of the CA
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        raise AccessError(
            f"{source}: cluster.server is the address {access.host}, which is no cluster's "
            "(link-local, multicast or unspecified)"
        )
    return access
