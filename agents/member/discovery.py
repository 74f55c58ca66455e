"""Which kinds the member serves, under which paths: aggregated discovery (KEP-3352) or old."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from agents.member.api import ApiError, MemberApi, Tree, segment
from agents.runtime.clock import Clock

_AGGREGATED: Final = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
)
# Controllers make these; an order that holds one is odd, and listing them costs the most.
_MADE_BY_OTHERS: Final = frozenset({"Event", "Endpoints", "EndpointSlice", "ControllerRevision"})
_LONGEST_NAME: Final = 253
_REFRESH_SECONDS: Final = 300.0
_HASTY_REFRESH_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Kind:
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
        group, slash, _ = self.api_version.partition("/")
        return group if slash else ""

    def collection(self, namespace: str | None = None) -> str:
        """The path of all objects of this kind, of one namespace or everywhere."""
        root = "apis" if "/" in self.api_version else "api"
        where = f"namespaces/{segment(namespace)}/" if namespace and self.is_namespaced else ""
        return f"/{root}/{self.api_version}/{where}{self.plural}"

    def path(self, namespace: str | None, name: str) -> str:
        """The path of one object."""
        return f"{self.collection(namespace)}/{segment(name)}"


@dataclass(frozen=True, slots=True)
class Kinds:
    """All kinds of one server, by their names; and its version."""

    by_name: Mapping[str, Kind]
    version: str | None = None

    def find(self, api_version: str, kind: str) -> Kind | None:
        """The kind, if the server serves it."""
        return self.by_name.get(f"{api_version}/{kind}")

    def placeable(self) -> tuple[str, ...]:
        """Names of kinds that objects can be made of; what a report lists."""
        return tuple(sorted(n for n, kind in self.by_name.items() if "create" in kind.verbs))

    def prunable(self) -> tuple[Kind, ...]:
        """Kinds that can be listed, patched and deleted; of each the server's first version."""
        chosen: dict[tuple[str, str], Kind] = {}
        for kind in self.by_name.values():
            if kind.kind not in _MADE_BY_OTHERS and {"list", "patch", "delete"} <= kind.verbs:
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
    clock: Clock
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _kinds: Kinds | None = field(default=None, init=False)
    _asked_at: float = field(default=0.0, init=False)

    def kinds(self) -> Kinds:
        """The kinds, at most five minutes old. Raises ApiError."""
        with self._lock:
            now = self.clock.monotonic()
            if self._kinds is None or now - self._asked_at > _REFRESH_SECONDS:
                self._kinds, self._asked_at = discover(self.api), now
            return self._kinds

    def forget(self) -> None:
        """A definition may just have been installed: ask again, but not every second."""
        with self._lock:
            if self.clock.monotonic() - self._asked_at > _HASTY_REFRESH_SECONDS:
                self._kinds = None


def discover(api: MemberApi) -> Kinds:
    """Asks the server.

    Raises:
        ApiError: it does not answer. A single broken group (an aggregated API that is down) is left
            out.
    """
    found: dict[str, Kind] = {}
    for root in ("/api", "/apis"):
        tree = api.get(root, accept=_AGGREGATED)
        kinds = _aggregated(tree) if "items" in tree else _one_by_one(api, root, tree)
        for kind in kinds:
            found.setdefault(kind.name, kind)
    version = str(api.get("/version").get("gitVersion") or "")[:64]
    return Kinds(found, version or None)


def _aggregated(tree: Tree) -> Iterator[Kind]:
    for group in _trees(tree.get("items")):
        name = str((group.get("metadata") or {}).get("name") or "")
        for version in _trees(group.get("versions")):
            api_version = (
                f"{name}/{version.get('version')}" if name else str(version.get("version"))
            )
            for resource in _trees(version.get("resources")):
                served = resource.get("responseKind") or {}
                scope = resource.get("scope") == "Namespaced"
                yield from _kind(
                    api_version, served.get("kind"), resource.get("resource"), scope, resource
                )


def _one_by_one(api: MemberApi, root: str, tree: Tree) -> Iterator[Kind]:
    """The old discovery: one document per group and version."""
    versions = [f"{root}/{each}" for each in tree.get("versions") or ()]
    for group in _trees(tree.get("groups")):
        versions += [f"{root}/{each.get('groupVersion')}" for each in _trees(group.get("versions"))]
    for path in versions:
        try:
            document = api.get(path)
        except ApiError as error:
            if error.code:
                continue
            raise
        api_version = str(document.get("groupVersion") or path.rpartition("/")[2])
        for resource in _trees(document.get("resources")):
            scope = bool(resource.get("namespaced"))
            yield from _kind(
                api_version, resource.get("kind"), resource.get("name"), scope, resource
            )


def _kind(
    api_version: str,
    kind: object,
    plural: object,
    is_namespaced: bool,  # noqa: FBT001 - private, one call site per form of discovery
    resource: Tree,
) -> Iterator[Kind]:
    """A kind unless it is a subresource (`deployments/scale`) or not named as it must be."""
    if not isinstance(kind, str) or not isinstance(plural, str) or "/" in plural or not kind:
        return
    if max(len(kind), len(plural), len(api_version)) <= _LONGEST_NAME:
        verbs = frozenset(str(verb) for verb in resource.get("verbs") or ())
        yield Kind(api_version, kind, plural, is_namespaced, verbs)


def _trees(value: Any) -> Iterable[Tree]:  # noqa: ANN401 - a JSON value of the server's
    return [each for each in value or () if isinstance(each, dict)] if value else []
