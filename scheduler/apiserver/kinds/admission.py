"""Admission of a written object: pruning, defaults, the strategy of the kind, validation.

The order is that of kube-apiserver's handlers: decode, admit, validate.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from scheduler.apiserver.base.errors import GroupResource, bad_request, invalid
from scheduler.apiserver.base.value_bounds import check_object_bounds
from scheduler.apiserver.kinds.metadata import metadata_problems, raise_if_invalid
from scheduler.apiserver.kinds.quantities import canonicalise_quantities
from scheduler.apiserver.kinds.resources import ServerResource
from scheduler.apiserver.kinds.scale import scale_problems
from scheduler.hub.schema.cel import rule_problems
from scheduler.hub.schema.json_types import JsonObject
from scheduler.hub.schema.problems import FieldProblem, invalid_value, quote_value
from scheduler.hub.schema.quick_check import is_surely_valid
from scheduler.hub.schema.structural import apply_defaults, drop_nulls, prune, validate

AllowsFunc = Callable[[str, str, str, str], bool]
"""Given a verb, a resource, a namespace and a name: whether the writer has this right."""
_MAX_SHOWN_FIELDS = 100
_REASONS_THAT_SKIP_RULES = frozenset(
    {
        "FieldValueRequired",
        "FieldValueTypeInvalid",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueDuplicate",
    }
)
_RULES_UNCHECKED_PROBLEM = FieldProblem(
    "FieldValueInvalid",
    "<nil>",
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
)
"""Reported instead of evaluating rules on an object with wrong types or missing fields."""


def allow_everything(_verb: str, _resource: str, _namespace: str, _name: str) -> bool:
    """The rights of the server itself."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """The options of a write."""

    field_manager: str = "unknown"
    dry_run: bool = False
    field_validation: str = "Warn"
    force: bool = False
    subresource: str = ""
    is_apply: bool = False
    is_patch: bool = False
    """Whether the new object results from a patch; some errors are worded differently then."""
    warnings: list[str] = field(default_factory=list)
    """Texts for `Warning` headers; the write adds to them."""
    size_bytes: int = 0
    """The size of the request body; large ones are processed beside the event loop."""
    duplicate_fields: list[str] = field(default_factory=list)
    """The paths of keys that occur twice in the body."""
    changes_by_field: bool = False
    """Whether it is a merge patch, which gives each field its value and reads no other."""
    allows: AllowsFunc = allow_everything
    """The rights of the writer beyond the verb of the request."""


def admit_object(
    resource: ServerResource,
    item: JsonObject,
    old: JsonObject | None,
    options: WriteOptions,
) -> JsonObject:
    """Prunes, defaults and validates an object; returns it in the storage version.

    Args:
        resource: the resource in the version of the object.
        item: the new object; may be changed.
        old: the stored object; None for a new one.
        options: the options of the write, which collect warnings.

    Raises:
        ApiError: 400 or 422, the object is invalid.
    """
    if resource.to_storage_version is not None:
        item = resource.to_storage_version(item)
    kept = _take_unchanged_fields(item, old)
    valid = _take_valid_fields(resource, item)
    is_settled = _is_settled(resource, item, old)
    if not is_settled or options.duplicate_fields:
        prune_unknown_fields(resource, item, options)
    if not is_settled and not (options.is_apply and resource.is_custom):
        drop_nulls(resource.schema_node, item)
    apply_defaults(resource.schema_node, item)
    canonicalise_quantities(resource.schema_node, item)
    item |= kept | valid
    check_object_bounds(item)
    strategy = resource.strategy
    if not resource.is_custom:  # the strategy relies on correct types
        _refuse_wrong_types(
            resource, validate(resource.schema_node, item, old=old, has_old=old is not None)
        )
    strategy.set_defaults(item)
    if old is None:
        strategy.prepare_for_create(item)
    else:
        strategy.prepare_for_update(item, old)
        _increment_generation(resource, item, old)
    problems = metadata_problems(resource, item, old)
    checked = {**(old or {}), **valid}
    is_same = old is not None and item == old
    problems += validate(resource.schema_node, item, old=checked, has_old=is_same)
    problems += strategy.problems(item, old)
    problems += scale_problems(resource, item)
    if resource.is_custom and any(one.reason in _REASONS_THAT_SKIP_RULES for one in problems):
        problems.append(_RULES_UNCHECKED_PROBLEM)
    elif resource.schema_node.has_rules:
        problems += rule_problems(resource.schema_node, item, old)
    raise_if_invalid(resource, item, problems)
    strategy.on_accepted(item, old)
    return item


def prune_unknown_fields(resource: ServerResource, item: JsonObject, options: WriteOptions) -> None:
    """Prunes unknown fields and reports them as `options.field_validation` requests."""
    unknown = [
        f'unknown field "{path}"'
        for path in sorted(prune(resource.schema_node, item, root=True), key=_field_sort_key)
    ]
    found = [*unknown, *(f'duplicate field "{path}"' for path in options.duplicate_fields)]
    if not found:
        return
    if len(found) > _MAX_SHOWN_FIELDS:
        found = [*found[:_MAX_SHOWN_FIELDS], f"and {len(found) - _MAX_SHOWN_FIELDS} more"]
    if options.field_validation == "Strict":
        kind, words = resource.group_resource.kind, f"strict decoding error: {', '.join(found)}"
        if options.is_patch:
            raise invalid(
                _NO_GROUP_RESOURCE, "", [invalid_value("patch", quote_value(item)[:512], words)]
            )
        raise bad_request(
            f'{kind} in version "{resource.version}" cannot be handled as a {kind}: {words}'
        )
    if options.field_validation == "Warn":
        options.warnings.extend(line for line in found if line not in options.warnings)


def _increment_generation(resource: ServerResource, item: JsonObject, old: JsonObject) -> None:
    if not resource.strategy.has_generation:
        return
    keys = (set(item) | set(old)) - {"metadata", "status"}
    is_changed = any(item.get(key) != old.get(key) for key in keys)
    if resource.strategy.generation_follows_labels:
        is_changed |= item["metadata"].get("labels") != old["metadata"].get("labels")
    if is_changed:
        item["metadata"]["generation"] = int(old["metadata"].get("generation", 0)) + 1


_NO_GROUP_RESOURCE = GroupResource("", "", "")


def _field_sort_key(path: str) -> tuple[int, str]:
    """Sorts paths as the real server does: metadata first, spec last."""
    top = path.partition(".")[0]
    return ({"metadata": 0, "spec": 2}.get(top, 1), path)


def _take_unchanged_fields(item: JsonObject, old: JsonObject | None) -> JsonObject:
    """Removes and returns fields that equal the stored ones, which need no pruning or defaults."""
    if old is None:
        return {}
    same = [
        key
        for key, value in item.items()
        if key not in _ALWAYS_CHECKED_KEYS and key in old and old[key] == value
    ]
    return {key: item.pop(key) for key in same}


def _take_valid_fields(resource: ServerResource, item: JsonObject) -> JsonObject:
    """Removes and returns fields that need no pruning and are valid; their defaults are set."""
    if not resource.is_custom:
        return {}
    nodes = resource.schema_node.properties
    found = {}
    for key in [key for key in item if key in nodes and key not in _ALWAYS_CHECKED_KEYS]:
        node, value = nodes[key], item[key]
        if is_surely_valid(node, value):
            if node.has_defaults:
                apply_defaults(node, value)
                if not is_surely_valid(node, value):
                    continue
            found[key] = item.pop(key)
    return found


def _is_settled(resource: ServerResource, item: JsonObject, old: JsonObject | None) -> bool:
    """Whether nothing is left of an object but metadata that were stored so."""
    return (
        resource.is_custom
        and old is not None
        and item.keys() <= _ALWAYS_CHECKED_KEYS
        and item["metadata"] == old["metadata"]
    )


_ALWAYS_CHECKED_KEYS = frozenset({"apiVersion", "kind", "metadata"})


def _refuse_wrong_types(resource: ServerResource, problems: list[FieldProblem]) -> None:
    """Refuses a wrong type in a core kind with 400, because the real server fails to decode it."""
    for problem in problems:
        if problem.reason == "FieldValueTypeInvalid":
            kind = resource.group_resource.kind
            raise bad_request(
                f'{kind} in version "{resource.version}" cannot be handled as a {kind}: '
                f"json: cannot unmarshal: {problem.field}: {problem.message}"
            )
