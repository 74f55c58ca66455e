"""Discovery: the kinds that the member serves, and their paths (KEP-3352, or the older form)."""

import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from agents.member.api import MemberApi, MemberApiError, Tree, quote_path_segment
from agents.member.trees import map_at, objects_at, text_at
from agents.protocol.bounds import MAX_API_KINDS
from agents.protocol.orders import api_group_of
from agents.runtime.clock import AgentClock

_AGGREGATED: Final = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
)
# Controllers create these. Orders hardly contain them, and they are the most expensive to list.
_CONTROLLER_MADE_KINDS: Final = frozenset(
    {"Event", "Endpoints", "EndpointSlice", "ControllerRevision"}
)
# A name that is no name would otherwise become a path that HTTP cannot hold.
_API_VERSION_PATTERN: Final = re.compile(r"([a-z0-9][a-z0-9.-]{0,252}/)?[a-z0-9]{1,63}")
_PLURAL_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,252}")
_KIND_PATTERN: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,252}")
_MAX_KINDS: Final = 10_000
_MAX_LEGACY_VERSIONS: Final = 1_000
_REFRESH_SECONDS: Final = 300.0
_MIN_REFRESH_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class MemberKind:
    """One kind as the server serves it.

    Attributes:
        api_version: such as `apps/v1`, or `v1` for the core group.
        kind: such as `Deployment`.
        plural: path segment, such as `deployments`.
        is_namespaced: False for cluster-scoped kinds.
        verbs: verbs that the server supports for it.
    """

    api_version: str
    kind: str
    plural: str
    is_namespaced: bool
    verbs: frozenset[str]

    @property
    def name(self) -> str:
        """The name in `Site.status.apiKinds`, such as `apps/v1/Deployment`."""
        return f"{self.api_version}/{self.kind}"

    @property
    def group(self) -> str:
        """The API group, such as `apps`; empty for the core group."""
        return api_group_of(self.api_version)

    def collection_path(self, namespace: str | None = None) -> str:
        """The path of all objects of this kind, in one namespace or in all."""
        root = "apis" if "/" in self.api_version else "api"
        where = (
            f"namespaces/{quote_path_segment(namespace)}/"
            if namespace and self.is_namespaced
            else ""
        )
        return f"/{root}/{self.api_version}/{where}{self.plural}"

    def object_path(self, namespace: str | None, name: str) -> str:
        """The path of one object."""
        return f"{self.collection_path(namespace)}/{quote_path_segment(name)}"


@dataclass(frozen=True, slots=True)
class MemberKinds:
    """The kinds of one server.

    Attributes:
        by_name: kinds by `MemberKind.name`.
        version: version of the server; None if unknown.
    """

    by_name: Mapping[str, MemberKind]
    version: str | None = None

    def find(self, api_version: str, kind: str) -> MemberKind | None:
        """The kind; None if the server does not serve it."""
        return self.by_name.get(f"{api_version}/{kind}")

    def creatable_names(self) -> tuple[str, ...]:
        """The names of the kinds that can be created, for the report, as many as it may hold."""
        names = sorted(n for n, kind in self.by_name.items() if "create" in kind.verbs)
        return tuple(names[:MAX_API_KINDS])

    def cluster_scoped_names(self) -> tuple[str, ...]:
        """Of `creatable_names` those whose objects belong to no namespace."""
        names = self.creatable_names()
        return tuple(name for name in names if not self.by_name[name].is_namespaced)

    def prunable(self) -> tuple[MemberKind, ...]:
        """The kinds that can be listed, patched and deleted, each in the server's first version."""
        chosen: dict[tuple[str, str], MemberKind] = {}
        for kind in self.by_name.values():
            if (
                kind.kind not in _CONTROLLER_MADE_KINDS
                and {"list", "patch", "delete"} <= kind.verbs
            ):
                chosen.setdefault((kind.group, kind.kind), kind)
        return tuple(chosen.values())

    def holdable(self) -> tuple[MemberKind, ...]:
        """The kinds whose objects are in namespaces, each in one version; without Events.

        What can be listed and not created is no object of its own, such as the metrics of pods.
        """
        chosen: dict[tuple[str, str], MemberKind] = {}
        for kind in self.by_name.values():
            if kind.is_namespaced and {"list", "create"} <= kind.verbs and kind.kind != "Event":
                chosen.setdefault((kind.group, kind.kind), kind)
        return tuple(chosen.values())


@dataclass(slots=True)
class Discovery:
    """The member's kinds, discovered again every five minutes. Safe to use from several threads.

    Attributes:
        api: API of the member.
        clock: monotonic time.
    """

    api: MemberApi
    clock: AgentClock
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _kinds: MemberKinds | None = field(default=None, init=False)
    _discovered_at: float = field(default=0.0, init=False)

    def kinds(self) -> MemberKinds:
        """The kinds, at most five minutes old.

        Raises:
            MemberApiError: the member does not answer.
        """
        with self._lock:
            now = self.clock.monotonic()
            if self._kinds is None or now - self._discovered_at > _REFRESH_SECONDS:
                self._kinds, self._discovered_at = discover(self.api), now
            return self._kinds

    def invalidate(self, *, is_urgent: bool = False) -> None:
        """Discovers the kinds again, at most every ten seconds: a kind may have been installed.

        Args:
            is_urgent: do not wait for the ten seconds; for what happens once for each order.
        """
        with self._lock:
            age_seconds = self.clock.monotonic() - self._discovered_at
            if is_urgent or age_seconds > _MIN_REFRESH_SECONDS:
                self._kinds = None


def discover(api: MemberApi) -> MemberKinds:
    """Discovers the kinds of a server.

    A group that the server cannot serve, such as an aggregated API that is down, is left out.

    Raises:
        MemberApiError: the server does not answer.
    """
    found: dict[str, MemberKind] = {}
    for root in ("/api", "/apis"):
        tree = api.get(root, accept=_AGGREGATED)
        kinds = _parse_aggregated(tree) if "items" in tree else _discover_legacy(api, root, tree)
        for kind in kinds:
            if len(found) < _MAX_KINDS:
                found.setdefault(kind.name, kind)
    version = text_at(api.get("/version"), "gitVersion")[:64]
    return MemberKinds(found, version or None)


def _parse_aggregated(tree: Tree) -> Iterator[MemberKind]:
    for group in objects_at(tree, "items"):
        name = text_at(map_at(group, "metadata"), "name")
        for version in objects_at(group, "versions"):
            word = text_at(version, "version")
            api_version = f"{name}/{word}" if name else word
            for resource in objects_at(version, "resources"):
                yield from _member_kinds_of(
                    api_version,
                    text_at(map_at(resource, "responseKind"), "kind"),
                    text_at(resource, "resource"),
                    resource.get("scope") == "Namespaced",
                    resource,
                )


def _discover_legacy(api: MemberApi, root: str, tree: Tree) -> Iterator[MemberKind]:
    """The older form of discovery: one document per group and version."""
    words = tree.get("versions")
    versions = [each for each in words if isinstance(each, str)] if isinstance(words, list) else []
    for group in objects_at(tree, "groups"):
        versions += [text_at(each, "groupVersion") for each in objects_at(group, "versions")]
    for version in versions[:_MAX_LEGACY_VERSIONS]:
        if not _API_VERSION_PATTERN.fullmatch(version):
            continue
        try:
            document = api.get(f"{root}/{version}")
        except MemberApiError as error:
            if error.code:
                continue
            raise
        api_version = text_at(document, "groupVersion") or version
        for resource in objects_at(document, "resources"):
            yield from _member_kinds_of(
                api_version,
                text_at(resource, "kind"),
                text_at(resource, "name"),
                bool(resource.get("namespaced")),
                resource,
            )


def _member_kinds_of(
    api_version: str,
    kind: str,
    plural: str,
    is_namespaced: bool,  # noqa: FBT001 - private
    resource: Tree,
) -> Iterator[MemberKind]:
    """Yields the kind, unless it is a subresource (`deployments/scale`) or a name is invalid."""
    if (
        _API_VERSION_PATTERN.fullmatch(api_version)
        and _KIND_PATTERN.fullmatch(kind)
        and _PLURAL_PATTERN.fullmatch(plural)
    ):
        verbs = resource.get("verbs")
        known = [each for each in verbs if isinstance(each, str)] if isinstance(verbs, list) else []
        yield MemberKind(api_version, kind, plural, is_namespaced, frozenset(known))
