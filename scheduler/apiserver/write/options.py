"""The options of a request: dry run, field manager, field validation, force.

Source: CreateOptions, UpdateOptions, PatchOptions of meta.k8s.io/v1; the refusals are those of
kube-apiserver 1.36, which says 422 for options and not 400.
"""

from collections.abc import Mapping

from scheduler.apiserver.base.errors import options_invalid
from scheduler.apiserver.base.requests import flag
from scheduler.hub.schema.problems import FieldProblem, quoted, required_value

_VALIDATIONS = ("Ignore", "Strict", "Warn")
_MANAGER_LIMIT = 128
KINDS = {"POST": "CreateOptions", "PUT": "UpdateOptions", "PATCH": "PatchOptions"}


def is_dry_run(kind: str, query: Mapping[str, str]) -> bool:
    """Whether nothing shall be written.

    Raises:
        ApiError: 422, another value than `All`.
    """
    if "dryRun" not in query:
        return False
    value = query["dryRun"]
    if value != "All":
        why = f'Unsupported value: {quoted([value])}: supported values: "All"'
        raise options_invalid(kind, [FieldProblem("FieldValueNotSupported", "dryRun", why)])
    return True


def field_validation(kind: str, query: Mapping[str, str]) -> str:
    """What happens with unknown and duplicate fields: Strict, Warn (default) or Ignore.

    Raises:
        ApiError: 422, another value.
    """
    value = query.get("fieldValidation") or "Warn"
    if value not in _VALIDATIONS:
        shown = ", ".join(quoted(one) for one in ("", *_VALIDATIONS))
        why = f"Unsupported value: {quoted(value)}: supported values: {shown}"
        raise options_invalid(
            kind, [FieldProblem("FieldValueNotSupported", "fieldValidation", why)]
        )
    return value


def field_manager(kind: str, query: Mapping[str, str], user_agent: str) -> str:
    """Who owns what is written: as given, else the first word of the user agent.

    Raises:
        ApiError: 422, longer than 128 characters or unprintable.
    """
    given = query.get("fieldManager", "")
    if len(given) > _MANAGER_LIMIT:
        why = f"Too long: may not be more than {_MANAGER_LIMIT} bytes"
        raise options_invalid(kind, [FieldProblem("FieldValueTooLong", "fieldManager", why)])
    if not given.isprintable():
        why = f"Invalid value: {quoted(given)}: should only contain printable characters"
        raise options_invalid(kind, [FieldProblem("FieldValueInvalid", "fieldManager", why)])
    return given or user_agent.partition("/")[0][:_MANAGER_LIMIT] or "unknown"


def check_patch_options(query: Mapping[str, str], *, applies: bool) -> None:
    """Refuses an apply without a manager, and force without an apply.

    Raises:
        ApiError: 422.
    """
    if applies and not query.get("fieldManager"):
        problem = required_value("fieldManager", "is required for apply patch")
        raise options_invalid("PatchOptions", [problem])
    if not applies and flag(query, "force"):
        why = "Forbidden: may not be specified for non-apply patch"
        raise options_invalid("PatchOptions", [FieldProblem("FieldValueForbidden", "force", why)])
