"""What a ClusterProfile says of the access to its cluster (cluster-inventory-api, KEP-5339)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agents.member.access import AccessError
from agents.member.trees import map_at, objects_at, text_at
from agents.push.kubeconfig import MAX_KUBECONFIG_BYTES, check_cluster
from agents.push.providers import AccessProvider

PROFILES: Final = (
    "/apis/multicluster.x-k8s.io/v1alpha1/namespaces/{namespace}/clusterprofiles/{name}"
)
_LISTS: Final = ("accessProviders", "credentialProviders")
"""The first is preferred; the second is its deprecated name."""
_EXEC_EXTENSION: Final = "client.authentication.k8s.io/exec"
_MAX_NAMED: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileAccess:
    """How a cluster is reached by one of the operator's providers.

    Attributes:
        provider: gives the credentials.
        cluster: address and CA, as the cluster of a kubeconfig has them.
        config: what the profile holds for the plugin; None: nothing.
    """

    provider: AccessProvider
    cluster: Mapping[str, Any] = field(repr=False)
    config: Any


def access_of_profile(
    tree: Mapping[str, Any], providers: Sequence[AccessProvider], source: str
) -> ProfileAccess:
    """The access by the first of the operator's providers that the profile has.

    Args:
        tree: the ClusterProfile.
        providers: of the operator, the preferred one first.
        source: names the profile in messages.

    Raises:
        AccessError: none of them is there, or the cluster holds what is refused.
    """
    listed: dict[str, Mapping[str, Any]] = {}
    for group in reversed(_LISTS):
        for each in objects_at(map_at(tree, "status"), group):
            listed[text_at(each, "name")] = map_at(each, "cluster")
    for provider in providers:
        if provider.name in listed:
            cluster = dict(listed[provider.name])
            where = f"{source}: access provider {provider.name!r}"
            if len(json.dumps(cluster)) > MAX_KUBECONFIG_BYTES:
                raise AccessError(f"{where}: more than {MAX_KUBECONFIG_BYTES} bytes")
            check_cluster(cluster, where)
            return ProfileAccess(provider=provider, cluster=cluster, config=_config_of(cluster))
    if not providers:
        raise AccessError(
            f"{source}: the push process knows no access provider; name the plugins in the file of "
            "push.access_providers_file"
        )
    names = ", ".join(sorted(map(_shown, listed))[:_MAX_NAMED]) or "none"
    raise AccessError(
        f"{source}: none of its access providers ({names}) is in push.access_providers_file "
        f"({', '.join(one.name for one in providers[:_MAX_NAMED])})"
    )


def _shown(name: str) -> str:
    """A name of a profile, as far as a message may hold it."""
    return "".join(each if each.isprintable() else "?" for each in name[:63])


def _config_of(cluster: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
    for each in objects_at(cluster, "extensions"):
        if each.get("name") == _EXEC_EXTENSION:
            return each.get("extension")
    return None
