"""Reads the documents of a YAML or JSON file with kubectl's meaning, and names what is wrong where.

The parser is libyaml's; `yaml_scalars` says what a scalar means. Anchors, aliases and merge keys
(`<<`) work as in kubectl. A file that starts like JSON is read as JSON first: kubectl takes several
JSON values one after the other. Every error names the line and the path of the key.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from scheduler.hub.schema.json_types import Json
from scheduler.hub.schema.yaml_scalars import (
    TAG_PREFIX,
    YamlScalarError,
    key_text,
    resolve_scalar,
)

_MAX_NODES = 5_000_000
"""YAML nodes in one document. Each use of an alias counts: a few lines of nested aliases can stand
for billions of nodes (an alias bomb)."""
_MAX_DEPTH = 200
_CONTAINER_TAGS = frozenset({"!", f"{TAG_PREFIX}map", f"{TAG_PREFIX}seq"})
_MERGE_KEY = "<<"
_PLAIN = "plain"
"""Stands as the tag of a scalar without quotes and without a tag."""
_QUOTED = "!"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # one of two
    """Leaves open what a scalar means, and keeps the tags that the document writes."""

    def resolve(
        self,
        kind: type[yaml.Node],
        value: str,  # noqa: ARG002 - PyYAML's signature
        implicit: tuple[bool, bool],
    ) -> str:
        """The tag of a node that has none."""
        if kind is yaml.ScalarNode:
            return _PLAIN if implicit[0] else _QUOTED
        return f"{TAG_PREFIX}{'seq' if kind is yaml.SequenceNode else 'map'}"


class YamlDocumentError(ValueError):
    """A document cannot be read; the message names line and key."""


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """One document of a file.

    Attributes:
        line: the line, from 1, on which it starts.
        value: its value; None for an empty document.
    """

    line: int
    value: Json


def load_documents(text: str) -> Iterator[YamlDocument]:
    """The documents of a file, in order; those that are empty are left out.

    Raises:
        YamlDocumentError: the text is neither YAML nor JSON, a key is given twice, it is nested too
            deeply, or aliases expand to too much.
    """
    text = text.removeprefix("\ufeff")
    if text.lstrip().startswith("{"):
        # YAML in braces looks like JSON: what is no JSON is read as YAML.
        try:
            documents = list(_load_json(text))
        except json.JSONDecodeError:
            pass
        else:
            yield from documents
            return
    try:
        for node in yaml.compose_all(text, Loader=_Loader):
            value = _Constructor().document(node)
            if value is not None:
                yield YamlDocument(node.start_mark.line + 1, value)
    except yaml.MarkedYAMLError as error:
        raise YamlDocumentError(_syntax_error_text(error)) from None
    except yaml.YAMLError as error:
        raise YamlDocumentError(f"not YAML: {' '.join(str(error).split())[:300]}") from None
    except RecursionError:
        raise YamlDocumentError(f"nested deeper than {_MAX_DEPTH} levels") from None


def _syntax_error_text(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    parts = (part for part in (error.context, error.problem) if part)
    return f"{where}not YAML: {', '.join(parts)}"


@dataclass(slots=True)
class _Constructor:
    """Builds the value of one document from its nodes."""

    built: dict[int, Json] = field(default_factory=dict)
    """Values of maps and lists by the `id` of their node: an alias names one again."""

    def document(self, root: yaml.Node) -> Json:
        if _count_nodes(root, {}) > _MAX_NODES:
            raise YamlDocumentError(
                f"line {root.start_mark.line + 1}: its aliases expand to more than"
                f" {_MAX_NODES:,} nodes"
            )
        return self._value(root, "", 0)

    def _value(self, node: yaml.Node, path: str, depth: int) -> Json:
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node, path)
        if id(node) in self.built:
            return self.built[id(node)]
        if depth >= _MAX_DEPTH:
            raise _error(node, path, f"nested deeper than {_MAX_DEPTH} levels")
        if node.tag not in _CONTAINER_TAGS:
            raise _error(node, path, f"the tag {node.tag[:80]!r} is not supported")
        value: Json
        if isinstance(node, yaml.SequenceNode):
            value = [
                self._value(one, f"{path}[{index}]", depth + 1)
                for index, one in enumerate(node.value)
            ]
        elif isinstance(node, yaml.MappingNode):
            value = self._map(node, path, depth)
        else:
            raise _error(node, path, "not YAML")
        self.built[id(node)] = value
        return value

    def _map(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Json]:
        own: dict[str, Json] = {}
        merged: dict[str, Json] = {}
        for key_node, value_node in node.value:
            if _is_merge_key(key_node):
                for source in self._merge_sources(value_node, path, depth):
                    merged = source | merged  # the first of several wins
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise _error(key_node, path, "a key must be text")
            try:
                key = key_text(_scalar(key_node, path))
            except YamlScalarError as error:
                raise _error(key_node, path, str(error)) from None
            if key in own:
                raise _error(key_node, path, f"key {key!r} is given twice")
            own[key] = self._value(value_node, f"{path}.{key}" if path else key, depth + 1)
        return merged | own if merged else own

    def _merge_sources(self, node: yaml.Node, path: str, depth: int) -> list[dict[str, Json]]:
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        values = [self._value(one, path, depth + 1) for one in nodes]
        sources = [value for value in values if isinstance(value, dict)]
        if len(sources) != len(values):
            raise _error(node, path, "a merge key (<<) takes a map or a list of maps")
        return sources


def _is_merge_key(node: yaml.Node) -> bool:
    return (
        isinstance(node, yaml.ScalarNode)
        and node.value == _MERGE_KEY
        and node.tag in (_PLAIN, f"{TAG_PREFIX}merge")
    )


def _scalar(node: yaml.ScalarNode, path: str) -> Json:
    is_plain = node.tag == _PLAIN
    try:
        return resolve_scalar(node.value, None if is_plain else node.tag, is_plain=is_plain)
    except YamlScalarError as error:
        raise _error(node, path, str(error)) from None


def _error(node: yaml.Node, path: str, why: str) -> YamlDocumentError:
    where = f"line {node.start_mark.line + 1}, column {node.start_mark.column + 1}"
    return YamlDocumentError(f"{where}: {path}: {why}" if path else f"{where}: {why}")


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


def _load_json(text: str) -> Iterator[YamlDocument]:
    """Raises `json.JSONDecodeError` if the text is no sequence of JSON values."""
    decoder = json.JSONDecoder(
        object_pairs_hook=_unique_pairs,
        parse_float=_json_number,
        parse_int=_json_number,
        parse_constant=_refuse_constant,
    )
    position, end = 0, len(text)
    while True:
        while position < end and text[position].isspace():
            position += 1
        if position == end:
            return
        line = text.count("\n", 0, position) + 1
        try:
            value, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError:
            raise
        except (YamlDocumentError, YamlScalarError) as error:
            raise YamlDocumentError(f"the JSON that starts on line {line}: {error}") from None
        except RecursionError:
            raise YamlDocumentError(
                f"line {line}: nested deeper than {_MAX_DEPTH} levels"
            ) from None
        yield YamlDocument(line, value)


def _unique_pairs(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key, value in pairs:
        if key in found:
            raise YamlDocumentError(f"key {key!r} is given twice")
        found[key] = value
    return found


def _json_number(text: str) -> Json:
    value = resolve_scalar(text, None, is_plain=True)
    if isinstance(value, str):
        raise YamlDocumentError(f"the number {text[:80]} is out of range")
    return value


def _refuse_constant(text: str) -> Json:
    raise YamlDocumentError(f"{text} is no JSON value")
