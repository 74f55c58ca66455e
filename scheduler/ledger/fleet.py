"""A fleet state as a hash tree: stored once, and a changed site costs itself and its branch.

Each site's facts are a blob. Its place in the tree is the hash of its name, read nibble by nibble,
so that the same fleet makes the same tree whatever happened before (a Merkle trie, as in R. C.
Merkle, "A digital signature based on a conventional encryption function", 1987). A node is JSON:

    {"leaf": {"gz-core": "sha256:…", …}}        up to 64 sites
    {"branches": {"0": "sha256:…", …, "f": …}}  one per nibble that occurs

With 10,000 sites a change of one costs its facts, a leaf of about 40 names and two branches: some 5
kB.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from scheduler.ledger.blobs import Blob, blob_of
from scheduler.ledger.errors import LedgerCorruptError

_LEAF_SITES = 64
_MAX_DEPTH = 64  # nibbles of a SHA-256


@dataclass(frozen=True, slots=True)
class FleetState:
    """What a record refers to.

    Attributes:
        digest: the root of the tree; goes into the record's `refs`.
        blobs: what this image has not seen stored yet; hand them to `append`, then call `stored`.
    """

    digest: str
    blobs: tuple[Blob, ...]


@dataclass(slots=True)
class _Node:
    """A subtree; `digest` is None while something below it has changed."""

    sites: dict[str, str] = field(default_factory=dict)  # in a leaf: name -> digest of its facts
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
        self._root = _Node()
        self._unstored: dict[str, Blob] = {}

    def put(self, name: str, facts: object) -> None:
        """The newest facts of a site: a JSON value or msgspec Struct that nobody changes."""
        self._changed[name] = facts

    def remove(self, name: str) -> None:
        """The site is gone."""
        self._changed.pop(name, None)
        if self._digests.pop(name, None) is not None:
            self._root = _without(self._root, name, _path_of(name), 0)

    def state(self) -> FleetState:
        """The state now, with every blob that is not known to be stored."""
        for name, facts in self._changed.items():
            blob = blob_of(facts)
            if self._digests.get(name) == blob.digest:
                continue
            self._digests[name] = blob.digest
            self._unstored[blob.digest] = blob
            _insert(self._root, name, blob.digest, _path_of(name), 0)
        self._changed.clear()
        digest = _seal(self._root, self._unstored)
        return FleetState(digest, tuple(self._unstored.values()))

    def stored(self, state: FleetState) -> None:
        """The record with this state's blobs is durable: they need not be handed out again."""
        for blob in state.blobs:
            self._unstored.pop(blob.digest, None)


def read_fleet(digest: str, load: Callable[[str], Any]) -> dict[str, Any]:
    """The facts of every site of a recorded state, by name in order.

    Args:
        digest: the root, as the record names it.
        load: gives the JSON value of a blob, as `LedgerReader.blob`.

    Raises:
        LedgerCorruptError: a blob is missing or is no node.
    """
    sites = dict(_walk(digest, load, 0))
    return {name: load(sites[name]) for name in sorted(sites)}


def children(node: object) -> Iterator[str]:
    """The digests that a blob of a fleet tree refers to; none for the facts of a site."""
    if isinstance(node, Mapping) and len(node) == 1:
        for key in ("leaf", "branches"):
            below = node.get(key)
            if isinstance(below, Mapping):
                yield from (str(digest) for digest in below.values())


def _walk(digest: str, load: Callable[[str], Any], depth: int) -> Iterator[tuple[str, str]]:
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


def _insert(node: _Node, name: str, digest: str, path: str, depth: int) -> None:
    node.digest = None
    if node.branches is None:
        node.sites[name] = digest
        node.count = len(node.sites)
        if node.count > _LEAF_SITES:
            _split(node, depth)
        return
    below = node.branches.setdefault(path[depth], _Node())
    before = below.count
    _insert(below, name, digest, path, depth + 1)
    node.count += below.count - before


def _split(node: _Node, depth: int) -> None:
    sites, node.sites, node.branches, node.count = node.sites, {}, {}, 0
    for name, digest in sites.items():
        _insert(node, name, digest, _path_of(name), depth)


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


def _sites_of(node: _Node) -> Iterator[tuple[str, str]]:
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
