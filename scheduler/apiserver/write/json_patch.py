"""JSON patch (RFC 6902), within limits on the number of operations and on what they copy.

A `copy` can double the object with a few bytes. Therefore the copied bytes are counted before each
copy, as kube-apiserver does (`AccumulatedCopySizeLimit`). `jsonpatch` applies other operations.
"""

import jsonpatch
import jsonpointer
import msgspec

from scheduler.apiserver.base.errors import ApiError, bad_request
from scheduler.apiserver.base.value_bounds import check_bounds
from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.runtime.clock import yield_thread

_MAX_OPERATIONS = 10_000
"""The most operations in a JSON patch, as on the real server."""
_MAX_COPIED_BYTES = 1_572_864
"""The most bytes that all `copy` operations of a patch add: the largest object. Real servers allow
3 MiB."""
_OPERATIONS_PER_YIELD = 200
_MALFORMED = (
    *(jsonpatch.JsonPatchException, jsonpatch.InvalidJsonPatch, jsonpointer.JsonPointerException),
    *(AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError),
)
"""What the library raises for patches that are malformed or do not fit the object."""


def apply_json_patch(target: JsonObject, operations: Json) -> JsonObject:
    """Returns the target with a JSON patch applied; may change the target.

    Raises:
        ApiError: 400 (malformed patch), 413 (too many operations or copied bytes), 422 (does not
            apply).
    """
    if not isinstance(operations, list):
        raise bad_request("a JSON patch is a list of operations")
    if len(operations) > _MAX_OPERATIONS:
        raise ApiError(
            413,
            "RequestEntityTooLarge",
            f"The allowed maximum operations in a JSON patch is {_MAX_OPERATIONS}, "
            f"got {len(operations)}",
        )
    if not all(isinstance(one, dict) for one in operations):
        raise bad_request("a JSON patch is a list of operations")
    try:
        patched = _apply_all(target, operations)
    except _MALFORMED:  # the library words its reasons for programmers
        raise _unprocessable_error() from None
    check_bounds(patched)
    if not isinstance(patched, dict):
        raise _unprocessable_error()
    return patched


def _apply_all(document: Json, operations: list[JsonObject]) -> Json:
    copied_bytes = 0
    for number, operation in enumerate(operations):
        if number % _OPERATIONS_PER_YIELD == 0:
            yield_thread()
        if operation.get("op") == "copy":
            text = _encode_source(document, operation)
            copied_bytes += len(text)
            if copied_bytes > _MAX_COPIED_BYTES:
                raise _too_much_copied()
            document = _add(document, operation["path"], msgspec.json.decode(text))
        elif operation.get("op") == "replace":
            document = _replace(document, operation["path"], operation["value"])
        else:
            document = jsonpatch.JsonPatch([operation]).apply(document, in_place=True)
    return document


def _encode_source(document: Json, operation: JsonObject) -> bytes:
    """The JSON of the value that a `copy` adds."""
    return msgspec.json.encode(jsonpointer.JsonPointer(operation["from"]).resolve(document))


def _add(document: Json, path: str, value: Json) -> Json:
    """Adds a value; the library would copy it once more, ten times as slowly."""
    container, part = jsonpointer.JsonPointer(path).to_last(document)
    if part is None:
        return value
    if isinstance(container, list):
        position = len(container) if part == "-" else int(part)
        if position > len(container):
            raise IndexError("can't insert outside of list")
        container.insert(position, value)
    elif isinstance(container, dict):
        container[part] = value
    else:
        raise TypeError(f"unable to add to a value at {path[:80]}")
    return document


def _replace(document: Json, path: str, value: Json) -> Json:
    """Replaces a value; a member of an object may be missing, as on the real server."""
    container, part = jsonpointer.JsonPointer(path).to_last(document)
    if part is None:
        return value
    if isinstance(container, dict):
        container[part] = value
    else:
        container[part if isinstance(part, int) else int(part)] = value
    return document


def _too_much_copied() -> ApiError:
    why = f"the copy operations of the JSON patch add more than {_MAX_COPIED_BYTES} bytes"
    return ApiError(413, "RequestEntityTooLarge", why)


def _unprocessable_error() -> ApiError:
    message = "the server rejected our request due to an error in our request"
    return ApiError(422, "Invalid", message, {})
