"""Which kinds the member serves, under which paths: aggregated discovery (KEP-3352) or old."""

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
# Controllers make these; an order that holds one is odd, and listing them costs the most.
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
        api_version: `apps/v1`, or `v1` for the core group.
        kind: `Deployment`.
        plural: path segment, `deployments`.
        is_namespaced: else cluster-scoped.
        verbs: what the server offers for it.
    """

    api_version: str
    kind: str
    plural: str
    is_namespaced: bool
    verbs: frozenset[str]

    @property
    def name(self) -> str:
        """`apps/v1/Deployment`, as in `Site.status.apiKinds`."""
        return f"{self.api_version}/{self.kind}"

    @property
    def group(self) -> str:
        """`apps`; empty for the core group."""
        return api_group_of(self.api_version)

    def collection_path(self, namespace: str | None = None) -> str:
        """The path of all objects of this kind, of one namespace or everywhere."""
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
    """All kinds of one server, by their names; and its version."""

    by_name: Mapping[str, MemberKind]
    version: str | None = None

    def find(self, api_version: str, kind: str) -> MemberKind | None:
        """The kind, if the server serves it."""
        return self.by_name.get(f"{api_version}/{kind}")

    def creatable_names(self) -> tuple[str, ...]:
        """Names of kinds that objects can be made of; what a report lists."""
        return tuple(sorted(n for n, kind in self.by_name.items() if "create" in kind.verbs))

    def prunable(self) -> tuple[MemberKind, ...]:
        """Kinds that can be listed, patched and deleted; of each the server's first version."""
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
    """Asks now and then, for the sensor and the executor together. Safe in several threads.

    Attributes:
        api: the member's.
        clock: its monotonic side.
    """

    api: MemberApi
    clock: AgentClock
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _kinds: MemberKinds | None = field(default=None, init=False)
    _discovered_at: float = field(default=0.0, init=False)

    def kinds(self) -> MemberKinds:
        """The kinds, at most five minutes old. Raises ApiError."""
        with self._lock:
            now = self.clock.monotonic()
            if self._kinds is None or now - self._discovered_at > _REFRESH_SECONDS:
                self._kinds, self._discovered_at = discover(self.api), now
            return self._kinds

    def invalidate(self) -> None:
        """A definition may just have been installed: ask again, but not every second."""
        with self._lock:
            if self.clock.monotonic() - self._discovered_at > _MIN_REFRESH_SECONDS:
                self._kinds = None


def discover(api: MemberApi) -> MemberKinds:
    """Asks the server.

    Raises:
        ApiError: it does not answer. A single broken group (an aggregated API that is down) is left
            out.
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
    """The old discovery: one document per group and version."""
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
    is_namespaced: bool,  # noqa: FBT001 - private, one call site per form of discovery
    resource: Tree,
) -> Iterator[MemberKind]:
    """A kind unless it is a subresource (`deployments/scale`) or not named as it must be."""
    if not isinstance(kind, str) or not isinstance(plural, str) or "/" in plural or not kind:
        return
    if max(len(kind), len(plural), len(api_version)) <= _MAX_NAME_CHARACTERS:
        verbs = frozenset(str(verb) for verb in resource.get("verbs") or ())
        yield MemberKind(api_version, kind, plural, is_namespaced, verbs)


def _objects_in(value: Any) -> Iterable[Tree]:  # noqa: ANN401 - a JSON value of the server's
    return [each for each in value or () if isinstance(each, dict)] if value else []
