"""The fleet's state as two hash trees, so that a changed site adds only itself and its branch.

A state is `{"steady": digest, "moving": digest}`. The fields of a site that change with every
report (when it was observed, its power) are in the leaves of the "moving" tree. All other facts are
a blob under its own digest, which the leaves of the "steady" tree name; sites that report no change
add no such blob. A node is JSON:

    {"leaf": {"gz-core": …, …}}                 up to 64 sites
    {"branches": {"0": "sha256:…", …, "f": …}}  one per nibble that occurs

A site's path in the tree is the hash of its name, nibble by nibble, so that equal fleets have equal
trees whatever their history (a Merkle trie, after R. C. Merkle, "A digital signature based on a
conventional encryption function", 1987). With 10,000 sites a change of one adds about 5 kB.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from scheduler.ledger.blobs import Blob, blob_of
from scheduler.ledger.errors import LedgerCorruptError

_MAX_LEAF_SITES = 64
_MAX_DEPTH = 64  # nibbles of a SHA-256
_DIGEST_PREFIX = "sha256:"
_VOLATILE_FIELDS = ("observedAt", "intensity", "power", "reportAge", "freeCpu", "currentIntensity")


@dataclass(frozen=True, slots=True)
class FleetState:
    """A state of the fleet, for a record to refer to.

    Attributes:
        digest: the digest of the state, for the record's `refs`.
        blobs: those of its blobs that are not known to be stored; pass them to `append`, then
            call `mark_stored`.
    """

    digest: str
    blobs: tuple[Blob, ...]


@dataclass(slots=True)
class _Node:
    """A subtree; `digest` is None while something below it has changed."""

    sites: dict[str, object] = field(default_factory=dict)  # of a leaf: value by name
    branches: "dict[str, _Node] | None" = None  # None in a leaf
    count: int = 0  # sites below
    digest: str | None = None


class FleetTree:
    """The fleet's state, updated site by site.

    `current_state()` encodes the facts of the sites that were put since its last call; a site that
    reports ten times between two decisions is encoded once.
    """

    def __init__(self) -> None:
        self._changed_facts: dict[str, object] = {}
        self._stable_digests: dict[str, str] = {}
        self._volatile_values: dict[str, dict[str, Any]] = {}
        self._stable_tree, self._volatile_tree = _Node(), _Node()
        self._root_digest = ""
        self._unstored: dict[str, Blob] = {}

    def put(self, name: str, facts: object) -> None:
        """Sets the facts of a site: a JSON value or msgspec Struct that is not changed later."""
        self._changed_facts[name] = facts

    def remove(self, name: str) -> None:
        """Removes a site."""
        self._changed_facts.pop(name, None)
        if self._stable_digests.pop(name, None) is not None:
            del self._volatile_values[name]
            self._stable_tree = _remove_site(self._stable_tree, name, _hash_path_of(name), 0)
            self._volatile_tree = _remove_site(self._volatile_tree, name, _hash_path_of(name), 0)

    def absorb(self) -> None:
        """Encodes the facts of the sites that were put since the last call."""
        for name, facts in self._changed_facts.items():
            stable, volatile = _split_volatile(facts)
            self._update_site(name, blob_of(stable), volatile)
        self._changed_facts.clear()

    def current_state(self) -> FleetState:
        """The state now, with each of its blobs that is not known to be stored."""
        self.absorb()
        root = blob_of(
            {
                "steady": _store_tree(self._stable_tree, self._unstored),
                "moving": _store_tree(self._volatile_tree, self._unstored),
            }
        )
        if root.digest != self._root_digest:
            self._root_digest = root.digest
            self._unstored[root.digest] = root
        return FleetState(root.digest, tuple(self._unstored.values()))

    def _update_site(self, name: str, stable: Blob, volatile: dict[str, Any]) -> None:
        path = _hash_path_of(name)
        if self._stable_digests.get(name) != stable.digest:
            self._stable_digests[name] = stable.digest
            self._unstored[stable.digest] = stable
            _insert_site(self._stable_tree, name, stable.digest, path, 0)
        if name not in self._volatile_values or self._volatile_values[name] != volatile:
            self._volatile_values[name] = volatile
            _insert_site(self._volatile_tree, name, volatile, path, 0)

    def mark_stored(self, state: FleetState) -> None:
        """Called when the state's blobs are durable: later states leave them out."""
        for blob in state.blobs:
            self._unstored.pop(blob.digest, None)


def read_fleet(digest: str, load: Callable[[str], Any]) -> dict[str, Any]:
    """The facts of every site of a recorded state, by name in order.

    Args:
        digest: the digest of the state, as the record names it.
        load: returns the JSON value of a blob, as `LedgerReader.blob` does.

    Raises:
        LedgerCorruptError: a blob is missing or is not a node.
    """
    root = load(digest)
    if not isinstance(root, Mapping) or set(root) != {"steady", "moving"}:
        raise LedgerCorruptError(f"blob {digest}: not a fleet state")
    stable = dict(_walk(str(root["steady"]), load, 0))
    volatile = dict(_walk(str(root["moving"]), load, 0))
    return {
        name: _join_volatile(load(str(stable[name])), volatile.get(name) or {})
        for name in sorted(stable)
    }


def _split_volatile(facts: object) -> tuple[object, dict[str, Any]]:
    """The facts without, and only, the fields of `status` that change with every report."""
    value = msgspec.to_builtins(facts)
    status = value.get("status") if isinstance(value, dict) else None
    if not isinstance(status, dict):
        return value, {}
    volatile = {key: status[key] for key in _VOLATILE_FIELDS if key in status}
    stable = {key: item for key, item in status.items() if key not in _VOLATILE_FIELDS}
    return {**value, "status": stable}, volatile


def _join_volatile(stable: Any, volatile: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
    if not volatile:
        return stable
    return {**stable, "status": {**stable["status"], **volatile}}


def child_digests(node: object) -> Iterator[str]:
    """The digests that a blob of a fleet state refers to; none for the facts of a site."""
    if not isinstance(node, Mapping):
        return
    if set(node) == {"steady", "moving"}:
        yield from (str(node["steady"]), str(node["moving"]))
    for key in ("leaf", "branches"):
        entries = node.get(key) if len(node) == 1 else None
        if isinstance(entries, Mapping):
            yield from (
                v for v in entries.values() if isinstance(v, str) and v.startswith(_DIGEST_PREFIX)
            )


def _walk(digest: str, load: Callable[[str], Any], depth: int) -> Iterator[tuple[str, Any]]:
    node = load(digest)
    if depth > _MAX_DEPTH or not isinstance(node, Mapping) or not {"leaf", "branches"} & set(node):
        raise LedgerCorruptError(f"blob {digest}: not a node of a fleet state")
    if "leaf" in node:
        yield from node["leaf"].items()
    else:
        for below in node["branches"].values():
            yield from _walk(below, load, depth + 1)


def _hash_path_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _insert_site(node: _Node, name: str, value: object, path: str, depth: int) -> None:
    node.digest = None
    if node.branches is None:
        node.sites[name] = value
        node.count = len(node.sites)
        if node.count > _MAX_LEAF_SITES:
            _split_leaf(node, depth)
        return
    child = node.branches.setdefault(path[depth], _Node())
    before = child.count
    _insert_site(child, name, value, path, depth + 1)
    node.count += child.count - before


def _split_leaf(node: _Node, depth: int) -> None:
    sites, node.sites, node.branches, node.count = node.sites, {}, {}, 0
    for name, value in sites.items():
        _insert_site(node, name, value, _hash_path_of(name), depth)


def _remove_site(node: _Node, name: str, path: str, depth: int) -> _Node:
    """The tree that would exist had the site never been inserted."""
    node.digest = None
    if node.branches is None:
        del node.sites[name]
        node.count = len(node.sites)
        return node
    child = _remove_site(node.branches[path[depth]], name, path, depth + 1)
    node.branches[path[depth]] = child
    if child.count == 0:
        del node.branches[path[depth]]
    node.count -= 1
    if node.count > _MAX_LEAF_SITES:
        return node
    return _Node(sites=dict(_sites_below(node)), count=node.count)


def _sites_below(node: _Node) -> Iterator[tuple[str, object]]:
    if node.branches is None:
        yield from node.sites.items()
        return
    for below in node.branches.values():
        yield from _sites_below(below)


def _store_tree(node: _Node, unstored: dict[str, Blob]) -> str:
    if node.digest is not None:
        return node.digest
    if node.branches is None:
        blob = blob_of({"leaf": node.sites})
    else:
        blob = blob_of(
            {"branches": {key: _store_tree(n, unstored) for key, n in node.branches.items()}}
        )
    node.digest = blob.digest
    unstored[blob.digest] = blob
    return blob.digest
