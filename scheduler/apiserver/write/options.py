"""The options of a write request: dry run, field manager, field validation, force.

Source: CreateOptions, UpdateOptions, PatchOptions of meta.k8s.io/v1. The errors are those of
kube-apiserver 1.36, which refuses invalid options with 422 instead of 400.
"""

from collections.abc import Mapping

from scheduler.apiserver.base.errors import invalid_options
from scheduler.apiserver.base.requests import parse_flag
from scheduler.hub.schema.problems import FieldProblem, quote_value, required_value

_FIELD_VALIDATIONS = ("Ignore", "Strict", "Warn")
_MAX_MANAGER_LENGTH = 128
OPTIONS_KINDS = {"POST": "CreateOptions", "PUT": "UpdateOptions", "PATCH": "PatchOptions"}


def parse_dry_run(options_kind: str, query: Mapping[str, str]) -> bool:
    """Whether the request is a dry run, which writes nothing.

    Raises:
        ApiError: 422, the value is not `All`.
    """
    if "dryRun" not in query:
        return False
    value = query["dryRun"]
    if value != "All":
        why = f'Unsupported value: {quote_value([value])}: supported values: "All"'
        raise invalid_options(options_kind, [FieldProblem("FieldValueNotSupported", "dryRun", why)])
    return True


def parse_field_validation(options_kind: str, query: Mapping[str, str]) -> str:
    """The treatment of unknown and duplicate fields: Strict, Warn (default) or Ignore.

    Raises:
        ApiError: 422, the value is none of these.
    """
    value = query.get("fieldValidation") or "Warn"
    if value not in _FIELD_VALIDATIONS:
        shown = ", ".join(quote_value(one) for one in ("", *_FIELD_VALIDATIONS))
        why = f"Unsupported value: {quote_value(value)}: supported values: {shown}"
        raise invalid_options(
            options_kind, [FieldProblem("FieldValueNotSupported", "fieldValidation", why)]
        )
    return value


def parse_field_manager(options_kind: str, query: Mapping[str, str], user_agent: str) -> str:
    """The field manager: the given one, else the first part of the user agent.

    Raises:
        ApiError: 422, the name is longer than 128 bytes or has unprintable characters.
    """
    given = query.get("fieldManager", "")
    if len(given) > _MAX_MANAGER_LENGTH:
        why = f"Too long: may not be more than {_MAX_MANAGER_LENGTH} bytes"
        raise invalid_options(
            options_kind, [FieldProblem("FieldValueTooLong", "fieldManager", why)]
        )
    if not given.isprintable():
        why = f"Invalid value: {quote_value(given)}: should only contain printable characters"
        raise invalid_options(
            options_kind, [FieldProblem("FieldValueInvalid", "fieldManager", why)]
        )
    return given or user_agent.partition("/")[0][:_MAX_MANAGER_LENGTH] or "unknown"


def check_patch_options(query: Mapping[str, str], *, is_apply: bool) -> None:
    """Refuses an apply without a field manager, and `force` without an apply.

    Raises:
        ApiError: 422, in these two cases.
    """
    if is_apply and not query.get("fieldManager"):
        problem = required_value("fieldManager", "is required for apply patch")
        raise invalid_options("PatchOptions", [problem])
    if not is_apply and parse_flag(query, "force"):
        why = "Forbidden: may not be specified for non-apply patch"
        raise invalid_options("PatchOptions", [FieldProblem("FieldValueForbidden", "force", why)])
