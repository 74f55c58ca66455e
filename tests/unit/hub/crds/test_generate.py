"""The CustomResourceDefinitions: generated from the types, with limits and descriptions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
import yaml

from scheduler.hub.crds.descriptions import FIELD_DESCRIPTIONS
from scheduler.hub.crds.from_types import UnboundedError, schema_of
from scheduler.hub.crds.generate import format_yaml, main, make_crds
from scheduler.hub.crds.validation_rules import (
    ITEM_RULES,
    LIST_TYPES,
    PRINTER_COLUMNS,
    ROOT_RULES,
    STRUCT_RULES,
)
from scheduler.hub.schema.structural import compile_schema
from scheduler.model.kinds.kinds import KINDS
from scheduler.runtime.packaged_files import packaged_folder

Schema = dict[str, Any]
SCHEMAS = {
    crd["spec"]["names"]["kind"]: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for crd in make_crds()
}


def walk(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from walk(below, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from walk(schema[key], f"{path}[]")


EVERYWHERE = [place for kind, schema in SCHEMAS.items() for place in walk(schema, kind)]


def test_the_files_match_the_types() -> None:
    folder = packaged_folder("manifests") / "crds"
    written = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.yaml")}
    wanted = {
        f"kapok.dev_{crd['spec']['names']['plural']}.yaml": format_yaml(crd) for crd in make_crds()
    }
    assert written == wanted, "run `make manifests`"


def test_the_command_writes_files_that_read_back_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(KINDS)
    read = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()]
    assert sorted(map(str, read)) == sorted(map(str, make_crds()))
    assert main([]) == 2


def test_every_list_map_and_string_has_a_maximum() -> None:
    limits = {"array": "maxItems", "string": "maxLength"}
    for path, schema in EVERYWHERE:
        limit = limits.get(schema.get("type", ""))
        assert limit is None or limit in schema, path
        assert "additionalProperties" not in schema or "maxProperties" in schema, path
        if schema.get("x-kubernetes-int-or-string"):
            assert "maxLength" in schema, path


class Loose(msgspec.Struct):
    """A Struct without maximum sizes."""

    inner: Any = None


@pytest.mark.parametrize("kind", [str, list[int], dict[str, int], tuple[str, ...]])
def test_a_type_without_a_maximum_is_refused_by_its_path(kind: type) -> None:
    loose = msgspec.defstruct("Loose", [("inner", kind)])
    with pytest.raises(UnboundedError, match=r"Workload\.spec\.inner"):
        schema_of(loose, "Workload.spec", defaults=True)


def test_a_type_without_a_schema_is_refused_by_its_path() -> None:
    loose = msgspec.defstruct("Loose", [("inner", Annotated[int, "x"] | str)])
    with pytest.raises(TypeError, match=r"Workload\.spec\.inner"):
        schema_of(loose, "Workload.spec", defaults=True)


def test_every_field_is_explained() -> None:
    for path, schema in EVERYWHERE:
        if not path.endswith(("[]", ".metadata")):
            assert schema.get("description"), path
            assert not schema["description"].startswith("Tuple"), path


def test_rules_and_columns_refer_to_existing_fields() -> None:
    structs = {struct.__name__: struct for kind in KINDS.values() for struct in parts(kind.type)}
    for name, field in [*FIELD_DESCRIPTIONS, *LIST_TYPES, *ITEM_RULES]:
        assert field in msgspec_fields(structs[name]), f"{name}.{field}"
    assert set(STRUCT_RULES) <= set(structs)
    assert set(ROOT_RULES) <= set(KINDS)
    assert set(PRINTER_COLUMNS) == set(KINDS)


def msgspec_fields(struct: type[msgspec.Struct]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(struct)}


def parts(struct: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    """Every Struct inside a Struct, and the Structs that they are made from."""
    waiting, seen = [msgspec.inspect.type_info(struct)], set[type]()
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, msgspec.inspect.StructType) and kind.cls not in seen:
            seen.add(kind.cls)
            yield from (base for base in kind.cls.__mro__ if issubclass(base, msgspec.Struct))
            waiting += [field.type for field in kind.fields]
        waiting += [
            getattr(kind, name)
            for name in ("type", "item_type", "value_type")
            if hasattr(kind, name)
        ]
        waiting += getattr(kind, "types", ())


def test_every_rule_says_what_to_write_instead() -> None:
    for path, schema in EVERYWHERE:
        for rule in schema.get("x-kubernetes-validations", []):
            assert len(rule["message"]) > 20, path
            for extension in ("quantity(", "isURL(", "format.", "optional", ".orValue("):
                assert extension not in rule["rule"], path


def test_placements_are_an_atomic_list() -> None:
    groups = SCHEMAS["Workload"]["properties"]["status"]["properties"]["placement"]["properties"]
    assert groups["groups"]["x-kubernetes-list-type"] == "atomic"


def test_a_status_has_no_defaults() -> None:
    for kind, schema in SCHEMAS.items():
        status = schema["properties"].get("status", {})
        assert not [path for path, part in walk(status, kind) if "default" in part]


def test_columns_are_those_of_the_contract() -> None:
    columns = {
        crd["spec"]["names"]["kind"]: [
            column["name"].upper()
            for column in crd["spec"]["versions"][0]["additionalPrinterColumns"]
            if not column.get("priority")
        ]
        for crd in make_crds()
    }
    assert columns["Workload"] == ["PHASE", "CLASS", "SITES", "READY", "REASON", "AGE"]
    assert columns["Site"] == ["READY", "TIER", "PROVINCE", "FREE-CPU", "INTENSITY", "REPORT-AGE"]


def test_definitions_have_short_names_category_and_subresources() -> None:
    by_kind = {crd["spec"]["names"]["kind"]: crd["spec"] for crd in make_crds()}
    assert by_kind["Workload"]["names"]["shortNames"] == ["kw"]
    assert all(spec["names"]["categories"] == ["kapok"] for spec in by_kind.values())
    assert by_kind["Workload"]["versions"][0]["subresources"] == {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    }


def test_manifests_are_embedded_resources() -> None:
    items = SCHEMAS["Workload"]["properties"]["spec"]["properties"]["manifests"]["items"]
    assert items["x-kubernetes-embedded-resource"] is True
    assert items["x-kubernetes-preserve-unknown-fields"] is True


def test_writes_of_workloads_need_no_slow_patterns() -> None:
    # A status is written twice for each workload; a slow pattern sends each write to a thread.
    [crd] = [one for one in make_crds() if one["spec"]["names"]["kind"] == "Workload"]
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    assert not compile_schema(schema).has_slow_patterns
