"""A fleet state as hash trees: stored once, and a changed site costs itself and its branch.

A state is `{"steady": digest, "moving": digest}`. What of a site's facts is new with every report
(when it was observed, its power) stands in the leaves of the one tree; all else is a blob under its
own digest, and the leaves of the other tree name it. So a fleet that only says "still the same"
costs no facts again. A node is JSON:

    {"leaf": {"gz-core": …, …}}                 up to 64 sites
    {"branches": {"0": "sha256:…", …, "f": …}}  one per nibble that occurs

A site's place is the hash of its name, read nibble by nibble, so that the same fleet makes the same
tree whatever happened before (a Merkle trie, as in R. C. Merkle, "A digital signature based on a
conventional encryption function", 1987). With 10,000 sites a change of one costs some 5 kB.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from scheduler.ledger.blobs import Blob, blob_of
from scheduler.ledger.errors import LedgerCorruptError

_LEAF_SITES = 64
_MAX_DEPTH = 64  # nibbles of a SHA-256
_DIGEST = "sha256:"
_MOVING = ("observedAt", "intensity", "power", "reportAge", "freeCpu")


@dataclass(frozen=True, slots=True)
class FleetState:
    """What a record refers to.

    Attributes:
        digest: of the state; goes into the record's `refs`.
        blobs: what this image has not seen stored yet; hand them to `append`, then call `stored`.
    """

    digest: str
    blobs: tuple[Blob, ...]


@dataclass(slots=True)
class _Node:
    """A subtree; `digest` is None while something below it has changed."""

    sites: dict[str, object] = field(default_factory=dict)  # in a leaf: name -> value
    branches: "dict[str, _Node] | None" = None
    count: int = 0
    digest: str | None = None


class FleetImage:
    """The fleet as the ledger keeps it, brought up to date site by site.

    Facts are encoded in `state()`, and only those of sites that were put since the last call; so a
    site that reports ten times between two decisions is stored once.
    """

    def __init__(self) -> None:
        self._changed: dict[str, object] = {}
        self._digests: dict[str, str] = {}
        self._moving_values: dict[str, dict[str, Any]] = {}
        self._steady, self._moving = _Node(), _Node()
        self._root = ""
        self._unstored: dict[str, Blob] = {}

    def put(self, name: str, facts: object) -> None:
        """The newest facts of a site: a JSON value or msgspec Struct that nobody changes."""
        self._changed[name] = facts

    def remove(self, name: str) -> None:
        """The site is gone."""
        self._changed.pop(name, None)
        if self._digests.pop(name, None) is not None:
            del self._moving_values[name]
            self._steady = _without(self._steady, name, _path_of(name), 0)
            self._moving = _without(self._moving, name, _path_of(name), 0)

    def state(self) -> FleetState:
        """The state now, with every blob that is not known to be stored."""
        for name, facts in self._changed.items():
            steady, moving = _parted(facts)
            self._take(name, blob_of(steady), moving)
        self._changed.clear()
        root = blob_of(
            {
                "steady": _seal(self._steady, self._unstored),
                "moving": _seal(self._moving, self._unstored),
            }
        )
        if root.digest != self._root:
            self._root = root.digest
            self._unstored[root.digest] = root
        return FleetState(root.digest, tuple(self._unstored.values()))

    def _take(self, name: str, steady: Blob, moving: dict[str, Any]) -> None:
        path = _path_of(name)
        if self._digests.get(name) != steady.digest:
            self._digests[name] = steady.digest
            self._unstored[steady.digest] = steady
            _insert(self._steady, name, steady.digest, path, 0)
        if name not in self._moving_values or self._moving_values[name] != moving:
            self._moving_values[name] = moving
            _insert(self._moving, name, moving, path, 0)

    def stored(self, state: FleetState) -> None:
        """The record with this state's blobs is durable: they need not be handed out again."""
        for blob in state.blobs:
            self._unstored.pop(blob.digest, None)


def read_fleet(digest: str, load: Callable[[str], Any]) -> dict[str, Any]:
    """The facts of every site of a recorded state, by name in order.

    Args:
        digest: of the state, as the record names it.
        load: gives the JSON value of a blob, as `LedgerReader.blob`.

    Raises:
        LedgerCorruptError: a blob is missing or is no node.
    """
    root = load(digest)
    if not isinstance(root, Mapping) or set(root) != {"steady", "moving"}:
        raise LedgerCorruptError(f"blob {digest}: not a fleet state")
    steady = dict(_walk(str(root["steady"]), load, 0))
    moving = dict(_walk(str(root["moving"]), load, 0))
    return {
        name: _joined(load(str(steady[name])), moving.get(name) or {}) for name in sorted(steady)
    }


def _parted(facts: object) -> tuple[object, dict[str, Any]]:
    """What stays, and what of `status` is new with every report."""
    value = msgspec.to_builtins(facts)
    status = value.get("status") if isinstance(value, dict) else None
    if not isinstance(status, dict):
        return value, {}
    moving = {key: status[key] for key in _MOVING if key in status}
    steady = {key: item for key, item in status.items() if key not in _MOVING}
    return {**value, "status": steady}, moving


def _joined(steady: Any, moving: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
    if not moving:
        return steady
    return {**steady, "status": {**steady["status"], **moving}}


def children(node: object) -> Iterator[str]:
    """The digests that a blob of a fleet state refers to; none for the facts of a site."""
    if not isinstance(node, Mapping):
        return
    if set(node) == {"steady", "moving"}:
        yield from (str(node["steady"]), str(node["moving"]))
    for key in ("leaf", "branches"):
        below = node.get(key) if len(node) == 1 else None
        if isinstance(below, Mapping):
            yield from (v for v in below.values() if isinstance(v, str) and v.startswith(_DIGEST))


def _walk(digest: str, load: Callable[[str], Any], depth: int) -> Iterator[tuple[str, Any]]:
    node = load(digest)
    if depth > _MAX_DEPTH or not isinstance(node, Mapping) or not {"leaf", "branches"} & set(node):
        raise LedgerCorruptError(f"blob {digest}: not a node of a fleet state")
    if "leaf" in node:
        yield from node["leaf"].items()
    else:
        for below in node["branches"].values():
            yield from _walk(below, load, depth + 1)


def _path_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _insert(node: _Node, name: str, value: object, path: str, depth: int) -> None:
    node.digest = None
    if node.branches is None:
        node.sites[name] = value
        node.count = len(node.sites)
        if node.count > _LEAF_SITES:
            _split(node, depth)
        return
    below = node.branches.setdefault(path[depth], _Node())
    before = below.count
    _insert(below, name, value, path, depth + 1)
    node.count += below.count - before


def _split(node: _Node, depth: int) -> None:
    sites, node.sites, node.branches, node.count = node.sites, {}, {}, 0
    for name, value in sites.items():
        _insert(node, name, value, _path_of(name), depth)


def _without(node: _Node, name: str, path: str, depth: int) -> _Node:
    """The same tree that would have grown without this site."""
    node.digest = None
    if node.branches is None:
        del node.sites[name]
        node.count = len(node.sites)
        return node
    below = _without(node.branches[path[depth]], name, path, depth + 1)
    node.branches[path[depth]] = below
    if below.count == 0:
        del node.branches[path[depth]]
    node.count -= 1
    if node.count > _LEAF_SITES:
        return node
    return _Node(sites=dict(_sites_of(node)), count=node.count)


def _sites_of(node: _Node) -> Iterator[tuple[str, object]]:
    if node.branches is None:
        yield from node.sites.items()
        return
    for below in node.branches.values():
        yield from _sites_of(below)


def _seal(node: _Node, unstored: dict[str, Blob]) -> str:
    if node.digest is not None:
        return node.digest
    if node.branches is None:
        blob = blob_of({"leaf": node.sites})
    else:
        blob = blob_of({"branches": {key: _seal(n, unstored) for key, n in node.branches.items()}})
    node.digest = blob.digest
    unstored[blob.digest] = blob
    return blob.digest
