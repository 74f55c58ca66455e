"""Kubernetes objects out of YAML or JSON files, folders and standard input; every command reads so.

Bad files are refused by file, document and line: not YAML, a key given twice, an alias bomb,
something that is no object. `kind: List` is taken apart.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

_MAX_NODES = 5_000_000
"""YAML nodes in one file, aliases counted as often as they are used: a bomb is refused early."""
_MAX_BYTES = 256 * 2**20
_SUFFIXES = (".yaml", ".yml", ".json")


class ManifestFileError(ValueError):
    """A file cannot be read as Kubernetes objects; the message says which, where and why."""


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
            raise ManifestFileError(f"{name}: no {', '.join(_SUFFIXES)} file in this folder")
    for file in files:
        yield str(file), _read_text(file)


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ManifestFileError(f"{path}: more than 256 MiB; split it")
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
            raise ManifestFileError(f"{where}: no {field}; every object names apiVersion and kind")
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        raise ManifestFileError(f"{where}: {kind} has no metadata.name")
    yield document


_MERGE_TAG = "tag:yaml.org,2002:merge"


class _Loader(yaml.CSafeLoader):
    """Safe YAML with three more refusals: a key twice, too many nodes, dates made of text.

    Timestamps stay text, as Kubernetes' own reader leaves them.
    """

    def construct_document(self, node: yaml.Node) -> Any:  # noqa: ANN401 - what YAML holds
        """Weighs the document before anything is built of it."""
        if _count_nodes(node, {}) > _MAX_NODES:
            raise yaml.YAMLError("its aliases stand for more than five million nodes")
        return super().construct_document(node)  # type: ignore[no-untyped-call, unused-ignore]


def _count_nodes(node: yaml.Node, known: dict[int, int]) -> int:
    """Nodes of a tree whose aliases are written out; each node is weighed once."""
    found = known.get(id(node))
    if found is not None:
        return found
    known[id(node)] = _MAX_NODES  # a node that contains itself never ends
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
                None, None, "a key is text", key_node.start_mark
            )
        if key in found:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {key!r} is given twice", key_node.start_mark
            )
        found[key] = loader.construct_object(value_node, deep=True)  # type: ignore[no-untyped-call, unused-ignore]
    if len(own) == len(node.value):
        return found
    loader.flatten_mapping(node)
    merged: dict[Any, Any] = yaml.SafeLoader.construct_mapping(loader, node, deep=True)
    return merged


_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)


def _construct_timestamp(loader: _Loader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _construct_timestamp)
# JSON and YAML 1.2 write 1e-05; YAML 1.1 wants a point in it and would read text.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+\Z"),
    list("-+0123456789"),
)
