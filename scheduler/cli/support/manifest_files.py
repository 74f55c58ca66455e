"""Reads Kubernetes objects from YAML or JSON files, folders and standard input.

A bad file is refused with the name of the file, document and line: not YAML, a duplicate key, an
alias bomb, a document that is no Kubernetes object. The items of a List count as single objects.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

_MAX_NODES = 5_000_000
"""YAML nodes in one file. Each use of an alias counts: a few lines of nested aliases can stand for
billions of nodes (an alias bomb)."""
_MAX_BYTES = 256 * 2**20
_SUFFIXES = (".yaml", ".yml", ".json")


class ManifestFileError(ValueError):
    """A file cannot be read as Kubernetes objects; the message names file and place."""


def read_objects(names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """All objects of the named files, in order.

    Args:
        names: files, folders (their .yaml, .yml and .json files by name), or "-" for stdin.

    Raises:
        ManifestFileError: a file cannot be read.
    """
    for name in names:
        for title, text in _read_texts(name):
            yield from _parse_objects(title, text)


def _read_texts(name: str) -> Iterator[tuple[str, str]]:
    if name == "-":
        yield "stdin", sys.stdin.read()
        return
    path = Path(name)
    files = [path]
    if path.is_dir():
        files = sorted(one for one in path.iterdir() if one.suffix in _SUFFIXES)
        if not files:
            raise ManifestFileError(f"{name}: the folder holds no {', '.join(_SUFFIXES)} file")
    for file in files:
        yield str(file), _read_text(file)


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ManifestFileError(f"{path}: larger than 256 MiB; split the file")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ManifestFileError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ManifestFileError(f"{path}: not UTF-8: {error}") from error


def _parse_objects(title: str, text: str) -> Iterator[dict[str, Any]]:
    try:
        for number, document in enumerate(yaml.load_all(text, Loader=_Loader), start=1):
            if document is not None:
                yield from _flatten_lists(document, f"{title}, document {number}")
    except yaml.YAMLError as error:
        raise ManifestFileError(f"{title}: not YAML: {error}") from error
    except RecursionError as error:
        raise ManifestFileError(f"{title}: nested too deeply") from error


def _flatten_lists(document: object, where: str) -> Iterator[dict[str, Any]]:
    if not isinstance(document, dict):
        raise ManifestFileError(f"{where}: expected an object with apiVersion, kind and metadata")
    kind = document.get("kind")
    if isinstance(kind, str) and kind.endswith("List") and isinstance(document.get("items"), list):
        for index, item in enumerate(document["items"]):
            yield from _flatten_lists(item, f"{where}, items[{index}]")
        return
    for field in ("apiVersion", "kind"):
        if not isinstance(document.get(field), str) or not document[field]:
            raise ManifestFileError(f"{where}: {field} is missing; every object needs it")
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise ManifestFileError(f"{where}: {kind} has no metadata.name")
    yield document


_MERGE_TAG = "tag:yaml.org,2002:merge"


class _Loader(yaml.CSafeLoader):
    """PyYAML's safe loader, closer to what Kubernetes reads.

    It refuses duplicate keys and alias bombs, leaves timestamps as text, and reads `1e-05` as a
    number.
    """

    def construct_document(self, node: yaml.Node) -> Any:  # noqa: ANN401 - what YAML holds
        """Counts the nodes before it builds anything from them."""
        if _count_nodes(node, {}) > _MAX_NODES:
            raise yaml.YAMLError("its aliases expand to more than five million nodes")
        return super().construct_document(node)  # type: ignore[no-untyped-call, unused-ignore]


def _count_nodes(node: yaml.Node, known: dict[int, int]) -> int:
    """Nodes of a tree after expansion of its aliases.

    Args:
        node: the root of the tree.
        known: counts of nodes by `id`, so that a node is counted once however often it is used.
    """
    found = known.get(id(node))
    if found is not None:
        return found
    known[id(node)] = _MAX_NODES  # a node that contains itself has no finite expansion
    total = 1
    if isinstance(node, yaml.SequenceNode):
        total += sum(_count_nodes(one, known) for one in node.value)
    elif isinstance(node, yaml.MappingNode):
        total += sum(
            _count_nodes(key, known) + _count_nodes(value, known) for key, value in node.value
        )
    known[id(node)] = total
    return total


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    own = [pair for pair in node.value if pair[0].tag != _MERGE_TAG]
    found = {}
    for key_node, value_node in own:
        key = loader.construct_object(key_node, deep=True)  # type: ignore[no-untyped-call, unused-ignore]
        if isinstance(key, list | dict):
            raise yaml.constructor.ConstructorError(
                None, None, "a key must be text", key_node.start_mark
            )
        if key in found:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {key!r} is given twice", key_node.start_mark
            )
        found[key] = loader.construct_object(value_node, deep=True)  # type: ignore[no-untyped-call, unused-ignore]
    if len(own) == len(node.value):  # no merge key ("<<")
        return found
    loader.flatten_mapping(node)
    merged: dict[Any, Any] = yaml.SafeLoader.construct_mapping(loader, node, deep=True)
    return merged


_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)


def _construct_timestamp(loader: _Loader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _construct_timestamp)
# JSON and YAML 1.2 allow 1e-05. YAML 1.1, which PyYAML follows, needs a point in a float and would
# read text.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+\Z"),
    list("-+0123456789"),
)
