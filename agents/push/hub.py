"""Reads what a push process needs of the hub: the Sites of mode Push, and how they are reached.

Statuses of Sites change all the time and are large, so only metadata is listed; a Site itself is
read when its generation has changed. The role needs `get` and `list` of sites, and `get` of the
Secrets and ClusterProfiles that they name.
"""

import base64
import binascii
import http.client
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from agents.member.access import Access, AccessError
from agents.member.api import MemberApi, MemberApiError, Tree, quote_path_segment
from agents.member.trees import map_at, text_at
from agents.protocol.topics import is_site_name
from agents.push.kubeconfig import MAX_KUBECONFIG_BYTES, access_of_kubeconfig
from agents.push.profile_accesses import ProfileAccesses

_log = logging.getLogger(__name__)

_SITES_PATH: Final = "/apis/kapok.dev/v1alpha1/sites"
_METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_SECRET_KEYS: Final = ("kubeconfig", "value")
"""Where a Secret holds it; the second is the form of Cluster API."""


@dataclass(frozen=True, slots=True)
class PushSite:
    """A Site that is reached from beside the hub.

    Attributes:
        name: of the site.
        version: uid and generation of the Site that was read.
        secret: namespace and name of the Secret with the kubeconfig; None: the Site names none.
        profile: namespace and name of the ClusterProfile; None: the Site names none.
    """

    name: str
    version: tuple[str, int]
    secret: tuple[str, str] | None
    profile: tuple[str, str] | None = None


@dataclass(slots=True)
class HubReader:
    """The hub, as a push process sees it. It blocks.

    Attributes:
        api: API of the hub.
        profiles: the accesses by ClusterProfiles.
    """

    api: MemberApi
    profiles: ProfileAccesses
    _known: dict[str, tuple[tuple[str, int], PushSite | None]] = field(
        default_factory=dict, init=False
    )
    _accesses: dict[tuple[str, str], tuple[str, Access]] = field(default_factory=dict, init=False)
    _forbidden: set[tuple[str, str]] = field(default_factory=set, init=False)

    def push_sites(self) -> dict[str, PushSite]:
        """The sites with `mode: Push`, by name.

        Raises:
            MemberApiError: the hub does not answer, or forbids it.
        """
        listed = self.api.list_mapped(_SITES_PATH, None, _version_of, accept=_METADATA_LIST)
        known: dict[str, tuple[tuple[str, int], PushSite | None]] = {}
        for name, version in listed:
            before = self._known.get(name)
            if before is not None and before[0] == version:
                known[name] = before
                continue
            tree = self.api.find(f"{_SITES_PATH}/{quote_path_segment(name)}")
            if tree is not None and (read := _version_of(tree)) is not None:
                known[name] = (read[1], push_site_of(tree))
        self._known = known
        found = {name: site for name, (_, site) in known.items() if site is not None}
        wanted = {site.secret for site in found.values()}
        self._accesses = {key: one for key, one in self._accesses.items() if key in wanted}
        self.profiles.keep_only({site.profile for site in found.values()})
        return found

    def close(self) -> None:
        """Closes the connections, and starts no plugin any more."""
        self.profiles.close()
        self.api.close()

    def access_of(self, site: PushSite) -> Access:
        """The access to a member; one that says its problem if there is none.

        The same object is returned as long as the Secret, or what the profile gives, is unchanged.

        Raises:
            MemberApiError: the hub does not answer; nothing is known of the Secret.
        """
        if site.profile is not None:
            return self.profiles.access_of(site.profile)
        if site.secret is None:
            return _unusable(
                "Site.spec.delivery names neither kubeconfigSecretRef nor clusterProfileRef"
            )
        namespace, name = site.secret
        source = f"Secret {namespace}/{name}"
        path = f"/api/v1/namespaces/{quote_path_segment(namespace)}/secrets"
        try:
            tree = self.api.find(f"{path}/{quote_path_segment(name)}")
        except MemberApiError as error:
            if error.code != http.client.FORBIDDEN:
                raise
            return self._on_forbidden(site.secret, source)
        if tree is None:
            text = f"{source}: not found on the hub"
            return self._keep(site.secret, text, lambda: _unusable(text))
        version = text_at(map_at(tree, "metadata"), "resourceVersion")
        return self._keep(site.secret, version, lambda: _access_of(tree, source))

    def _on_forbidden(self, key: tuple[str, str], source: str) -> Access:
        """A right that was lost at the hub ends no access: only a Secret that is gone does."""
        text = f"{source}: the hub forbids the push process to read it"
        kept = self._accesses.get(key)
        if kept is not None and not kept[1].problem:
            if key not in self._forbidden:
                _log.warning("%s; what was read last is used", text)
            self._forbidden.add(key)
            return kept[1]
        return self._keep(key, text, lambda: _unusable(text))

    def _keep(self, key: tuple[str, str], version: str, make: Callable[[], Access]) -> Access:
        self._forbidden.discard(key)
        kept = self._accesses.get(key)
        if kept is None or kept[0] != version:
            kept = self._accesses[key] = (version, make())
        return kept[1]


def push_site_of(tree: Tree) -> PushSite | None:
    """What a Site says of push; None if its orders are fetched by an agent there."""
    delivery = map_at(tree, "spec", "delivery")
    metadata = map_at(tree, "metadata")
    read = _version_of(tree)
    if delivery.get("mode") != "Push" or read is None or metadata.get("deletionTimestamp"):
        return None
    name, version = read
    return PushSite(
        name,
        version,
        _reference_at(delivery, "kubeconfigSecretRef"),
        _reference_at(delivery, "clusterProfileRef"),
    )


def _reference_at(delivery: Mapping[str, Any], field_name: str) -> tuple[str, str] | None:
    reference = map_at(delivery, field_name)
    namespace, name = text_at(reference, "namespace"), text_at(reference, "name")
    return (namespace, name) if namespace and name else None


def _version_of(tree: Tree) -> tuple[str, tuple[str, int]] | None:
    metadata = map_at(tree, "metadata")
    name, generation = text_at(metadata, "name"), metadata.get("generation")
    if not is_site_name(name) or not isinstance(generation, int):
        return None
    return name, (text_at(metadata, "uid"), generation)


def _access_of(secret: Tree, source: str) -> Access:
    data = map_at(secret, "data")
    text = next((data[key] for key in _SECRET_KEYS if data.get(key)), None)
    if not isinstance(text, str):
        return _unusable(f"{source}: it has no key {' or '.join(_SECRET_KEYS)}")
    if len(text) > 2 * MAX_KUBECONFIG_BYTES:
        return _unusable(f"{source}: the kubeconfig has more than {MAX_KUBECONFIG_BYTES} bytes")
    try:
        return access_of_kubeconfig(base64.b64decode(text), source)
    except binascii.Error:
        return _unusable(f"{source}: not base64")
    except AccessError as error:
        return _unusable(str(error))


def _unusable(problem: str) -> Access:
    return Access(host="", port=0, problem=problem)
