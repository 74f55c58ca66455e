"""What every write goes through: pruning, defaults, what the kind does, validation.

Source: the order of kube-apiserver's handlers: decode, admit, validate.
"""

from dataclasses import dataclass, field

from scheduler.apiserver.base.errors import Subject, bad_request, invalid
from scheduler.apiserver.kinds.metadata import metadata_problems, refuse
from scheduler.apiserver.kinds.quantities import normalise
from scheduler.apiserver.kinds.resources import Resource
from scheduler.apiserver.kinds.scale import scale_problems
from scheduler.hub.schema.cel import rule_problems
from scheduler.hub.schema.json_types import JsonObject
from scheduler.hub.schema.problems import FieldProblem, invalid_value, quoted
from scheduler.hub.schema.structural import apply_defaults, drop_nulls, prune, validate

_HIDE_RULES = frozenset(
    {
        "FieldValueRequired",
        "FieldValueTypeInvalid",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueDuplicate",
    }
)
_RULES_UNCHECKED = FieldProblem(
    "FieldValueInvalid",
    "<nil>",
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
)
"""Said instead of rules that could stumble over a wrong type or a missing field."""


@dataclass(slots=True)
class WriteOptions:
    """How a write is meant."""

    manager: str = "unknown"
    dry_run: bool = False
    field_validation: str = "Warn"
    force: bool = False
    subresource: str = ""
    applies: bool = False
    patches: bool = False
    """Whether the new object comes from a patch: refusals are worded for that."""
    warnings: list[str] = field(default_factory=list)
    """Filled by the write, for `Warning` headers."""
    duplicates: list[str] = field(default_factory=list)
    """Keys that the body had twice, as the reader of the body found them."""


def checked(
    resource: Resource,
    item: JsonObject,
    old: JsonObject | None,
    options: WriteOptions,
) -> JsonObject:
    """The object, defaulted, pruned and found right, in stored form."""
    if resource.from_view is not None:
        item = resource.from_view(item)
    kept = _unchanged(item, old)
    prune_strictly(resource, item, options)
    if not (options.applies and resource.custom):
        drop_nulls(resource.node, item)
    apply_defaults(resource.node, item)
    normalise(resource.node, item)
    item |= kept
    behaviour = resource.behaviour
    if not resource.custom:  # what a kind does relies on the types
        _refuse_unreadable(
            resource, validate(resource.node, item, old=old, has_old=old is not None)
        )
    behaviour.defaults(item)
    if old is None:
        behaviour.on_create(item)
    else:
        behaviour.on_update(item, old)
        _count_generation(resource, item, old)
    problems = metadata_problems(resource, item, old)
    problems += validate(resource.node, item, old=old, has_old=old is not None)
    problems += behaviour.problems(item, old)
    problems += scale_problems(resource, item)
    if resource.custom and any(one.reason in _HIDE_RULES for one in problems):
        problems.append(_RULES_UNCHECKED)
    elif resource.node.has_rules:
        problems += rule_problems(resource.node, item, old)
    refuse(resource, item, problems)
    return item


def prune_strictly(resource: Resource, item: JsonObject, options: WriteOptions) -> None:
    """Prunes unknown fields, and says so in the way that was asked for."""
    unknown = [
        f'unknown field "{path}"'
        for path in sorted(prune(resource.node, item, root=True), key=_field_order)
    ]
    found = [*unknown, *(f'duplicate field "{path}"' for path in options.duplicates)]
    if not found:
        return
    if options.field_validation == "Strict":
        kind, words = resource.subject.kind, f"strict decoding error: {', '.join(found)}"
        if options.patches:
            raise invalid(_NOTHING, "", [invalid_value("patch", quoted(item)[:512], words)])
        raise bad_request(
            f'{kind} in version "{resource.version}" cannot be handled as a {kind}: {words}'
        )
    if options.field_validation == "Warn":
        options.warnings.extend(line for line in found if line not in options.warnings)


def _count_generation(resource: Resource, item: JsonObject, old: JsonObject) -> None:
    if not resource.behaviour.has_generation:
        return
    keys = (set(item) | set(old)) - {"metadata", "status"}
    if any(item.get(key) != old.get(key) for key in keys):
        item["metadata"]["generation"] = int(old["metadata"].get("generation", 0)) + 1


_NOTHING = Subject("", "", "")


def _field_order(path: str) -> tuple[int, str]:
    """Metadata first, then the other fields, the spec last: the order of the real server."""
    top = path.partition(".")[0]
    return ({"metadata": 0, "spec": 2}.get(top, 1), path)


def _unchanged(item: JsonObject, old: JsonObject | None) -> JsonObject:
    """Takes out what is as it was stored, which needs no pruning and no defaults."""
    if old is None:
        return {}
    same = [
        key
        for key, value in item.items()
        if key not in _ALWAYS_READ and key in old and old[key] == value
    ]
    return {key: item.pop(key) for key in same}


_ALWAYS_READ = frozenset({"apiVersion", "kind", "metadata"})


def _refuse_unreadable(resource: Resource, problems: list[FieldProblem]) -> None:
    """Core kinds answer a wrong type with 400, for they cannot even be decoded."""
    for problem in problems:
        if problem.reason == "FieldValueTypeInvalid":
            kind = resource.subject.kind
            raise bad_request(
                f'{kind} in version "{resource.version}" cannot be handled as a {kind}: '
                f"json: cannot unmarshal: {problem.field}: {problem.message}"
            )
