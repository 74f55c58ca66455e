"""Discovery: the kinds that the member serves, and their paths (KEP-3352, or the older form)."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from agents.member.api import MemberApi, MemberApiError, Tree, quote_path_segment
from agents.protocol.orders import api_group_of
from agents.runtime.clock import AgentClock

_AGGREGATED: Final = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
)
# Controllers create these. Orders hardly contain them, and they are the most expensive to list.
_CONTROLLER_MADE_KINDS: Final = frozenset(
    {"Event", "Endpoints", "EndpointSlice", "ControllerRevision"}
)
_MAX_NAME_CHARACTERS: Final = 253
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
        """The names of the kinds that can be created, for the report."""
        return tuple(sorted(n for n, kind in self.by_name.items() if "create" in kind.verbs))

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

    def invalidate(self) -> None:
        """Discovers the kinds again, at most every ten seconds: a kind may have been installed."""
        with self._lock:
            if self.clock.monotonic() - self._discovered_at > _MIN_REFRESH_SECONDS:
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
            found.setdefault(kind.name, kind)
    version = str(api.get("/version").get("gitVersion") or "")[:64]
    return MemberKinds(found, version or None)


def _parse_aggregated(tree: Tree) -> Iterator[MemberKind]:
    for group in _objects_in(tree.get("items")):
        name = str((group.get("metadata") or {}).get("name") or "")
        for version in _objects_in(group.get("versions")):
            api_version = (
                f"{name}/{version.get('version')}" if name else str(version.get("version"))
            )
            for resource in _objects_in(version.get("resources")):
                served = resource.get("responseKind") or {}
                scope = resource.get("scope") == "Namespaced"
                yield from _member_kinds_of(
                    api_version, served.get("kind"), resource.get("resource"), scope, resource
                )


def _discover_legacy(api: MemberApi, root: str, tree: Tree) -> Iterator[MemberKind]:
    """The older form of discovery: one document per group and version."""
    versions = [f"{root}/{each}" for each in tree.get("versions") or ()]
    for group in _objects_in(tree.get("groups")):
        versions += [
            f"{root}/{each.get('groupVersion')}" for each in _objects_in(group.get("versions"))
        ]
    for path in versions:
        try:
            document = api.get(path)
        except MemberApiError as error:
            if error.code:
                continue
            raise
        api_version = str(document.get("groupVersion") or path.rpartition("/")[2])
        for resource in _objects_in(document.get("resources")):
            scope = bool(resource.get("namespaced"))
            yield from _member_kinds_of(
                api_version, resource.get("kind"), resource.get("name"), scope, resource
            )


def _member_kinds_of(
    api_version: str,
    kind: object,
    plural: object,
    is_namespaced: bool,  # noqa: FBT001 - private
    resource: Tree,
) -> Iterator[MemberKind]:
    """Yields the kind, unless it is a subresource (`deployments/scale`) or a name is invalid."""
    if not isinstance(kind, str) or not isinstance(plural, str) or "/" in plural or not kind:
        return
    if max(len(kind), len(plural), len(api_version)) <= _MAX_NAME_CHARACTERS:
        verbs = frozenset(str(verb) for verb in resource.get("verbs") or ())
        yield MemberKind(api_version, kind, plural, is_namespaced, verbs)


def _objects_in(value: Any) -> Iterable[Tree]:  # noqa: ANN401 - a JSON value of the server's
    return [each for each in value or () if isinstance(each, dict)] if value else []
