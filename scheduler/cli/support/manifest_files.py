"""Reads Kubernetes objects from YAML or JSON files, folders and standard input.

A bad file is refused with the name of the file, line and key: not YAML, a duplicate key, an alias
bomb, a document that is no Kubernetes object. The items of a List count as single objects.
"""

import codecs
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scheduler.hub.schema.yaml_documents import YamlDocumentError, load_documents

_MAX_BYTES = 256 * 2**20
_LARGE_LENGTH = 2**20
"""A longer text is looked over for an object before it is parsed, which costs seconds for each."""
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
            yield from parse_objects(title, text)


def _read_texts(name: str) -> Iterator[tuple[str, str]]:
    if name == "-":
        yield "stdin", _decode("stdin", sys.stdin.buffer.read(_MAX_BYTES + 1))
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
        with path.open("rb") as file:
            return _decode(str(path), file.read(_MAX_BYTES + 1))
    except OSError as error:
        raise ManifestFileError(f"{path}: {error.strerror}") from error


def _decode(title: str, data: bytes) -> str:
    if len(data) > _MAX_BYTES:
        raise ManifestFileError(f"{title}: larger than 256 MiB; split the file")
    # Editors on Windows write UTF-16 with a byte order mark.
    encoding = "utf-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ManifestFileError(
            f"{title}, line {line}: not UTF-8 ({error.reason}); save the file as UTF-8"
        ) from None


def parse_objects(title: str, text: str) -> Iterator[dict[str, Any]]:
    """All objects of a text, in order.

    Args:
        title: where it came from, for errors.
        text: YAML or JSON.

    Raises:
        ManifestFileError: it cannot be read.
    """
    if len(text) > _LARGE_LENGTH and "kind" not in text:
        raise ManifestFileError(
            f"{title}: no Kubernetes object in {len(text):,} characters: none has a kind; name a "
            "YAML or JSON file of objects with apiVersion, kind and metadata"
        )
    try:
        for document in load_documents(text):
            yield from _flatten_lists(document.value, f"{title}, line {document.line}")
    except YamlDocumentError as error:
        raise ManifestFileError(f"{title}, {error}") from None


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
        if isinstance(metadata, dict) and metadata.get("generateName"):
            raise ManifestFileError(
                f"{where}: {kind}: generateName cannot be kept track of; write metadata.name"
            )
        if isinstance(metadata, dict) and metadata.get("name") is not None:
            raise ManifestFileError(
                f"{where}: {kind}: metadata.name is {metadata['name']!r}, which is no text; "
                "write it in quotes"
            )
        raise ManifestFileError(f"{where}: {kind} has no metadata.name")
    yield document
