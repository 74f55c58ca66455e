"""Generates the CustomResourceDefinitions from the types that decode the objects.

`python -m scheduler.hub.crds.generate FOLDER` writes one file per kind (`make manifests`); a test
compares manifests/crds with the types. `kapok up` applies the same definitions from `make_crds()`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec.inspect as mi
import yaml

from scheduler.hub.crds.from_types import Schema, description_of, field_schema_of
from scheduler.hub.crds.validation_rules import PRINTER_COLUMNS, ROOT_RULES, SCALE_SUBRESOURCES
from scheduler.model.kinds.fields import API_GROUP, API_VERSION
from scheduler.model.kinds.kinds import KINDS, Kind

_VERSION = API_VERSION.rpartition("/")[2]
_HEADER = "# Generated from scheduler/model by `make manifests`; edit the types, not this file.\n"
_TYPE_META_PROPERTIES = {
    "apiVersion": {
        "description": f"Always {API_VERSION}.",
        "type": "string",
        "maxLength": 64,
    },
    "kind": {"description": "The kind of the object.", "type": "string", "maxLength": 63},
    "metadata": {"type": "object"},
}


def make_crds() -> list[dict[str, Any]]:
    """One CustomResourceDefinition per kind, as JSON objects.

    Raises:
        UnboundedError: a type has a list, map or string without a maximum size.
    """
    return [_make_crd(kind) for kind in KINDS.values()]


def write_crds(folder: Path) -> list[Path]:
    """Writes one YAML file per kind into `folder`, `GROUP_PLURAL.yaml`.

    Returns:
        The paths of the written files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for crd in make_crds():
        path = folder / f"{API_GROUP}_{crd['spec']['names']['plural']}.yaml"
        path.write_text(format_yaml(crd), encoding="utf-8")
        files.append(path)
    return files


def format_yaml(crd: dict[str, Any]) -> str:
    """The text of the file of one definition."""
    text: str = yaml.dump(crd, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=96)
    return _HEADER + text


class _PlainDumper(yaml.SafeDumper):
    """Repeats equal parts instead of using YAML anchors, which are hard to read."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def _make_crd(kind: Kind) -> dict[str, Any]:
    names: dict[str, Any] = {
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "plural": kind.plural,
        "singular": kind.singular,
        "categories": ["kapok"],
    }
    if kind.short_names:
        names["shortNames"] = list(kind.short_names)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{API_GROUP}"},
        "spec": {
            "group": API_GROUP,
            "names": names,
            "scope": "Namespaced" if kind.is_namespaced else "Cluster",
            "versions": [_make_version(kind)],
        },
    }


def _make_version(kind: Kind) -> dict[str, Any]:
    schema = _root_schema(kind)
    subresources: dict[str, Any] = {}
    if "status" in schema["properties"]:
        subresources["status"] = {}
    if kind.kind in SCALE_SUBRESOURCES:
        subresources["scale"] = SCALE_SUBRESOURCES[kind.kind]
    version: dict[str, Any] = {"name": _VERSION, "served": True, "storage": True}
    version["additionalPrinterColumns"] = PRINTER_COLUMNS[kind.kind]
    if subresources:
        version["subresources"] = subresources
    version["schema"] = {"openAPIV3Schema": schema}
    return version


def _root_schema(kind: Kind) -> Schema:
    info = mi.type_info(kind.type)
    assert isinstance(info, mi.StructType)  # noqa: S101 - every registered kind is a Struct
    parts = {field.encode_name: field for field in info.fields if field.name in ("spec", "status")}
    root: Schema = {"description": description_of(kind.type), "type": "object"}
    required = [name for name, part in parts.items() if part.required]
    if required:
        root["required"] = required
    root["properties"] = dict(_TYPE_META_PROPERTIES)
    for name, part in parts.items():
        has_defaults = name == "spec"  # a status reports facts, so an absent field has no default
        root["properties"][name] = field_schema_of(
            kind.type, part, f"{kind.kind}.{name}", defaults=has_defaults
        )
    return root | ROOT_RULES.get(kind.kind, {})


def main(argv: Sequence[str]) -> int:
    """Writes the files into the folder named in `argv`; returns the exit code."""
    if len(argv) != 1:
        sys.stderr.write("usage: python -m scheduler.hub.crds.generate FOLDER\n")
        return 2
    for path in write_crds(Path(argv[0])):
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
