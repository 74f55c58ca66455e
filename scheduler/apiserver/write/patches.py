"""JSON merge patch (RFC 7396) and JSON patch (RFC 6902)."""

import copy
import json

import jsonpatch
import jsonpointer

from scheduler.apiserver.base.errors import ApiError, bad_request
from scheduler.hub.schema.json_types import Json, JsonObject

_MAX_PATCH_OPERATIONS = 10_000
"""The most operations in a JSON patch, as on the real server."""


def apply_merge_patch(target: Json, patch: Json) -> Json:
    """Returns the target with a merge patch applied; changes neither (RFC 7396, section 2)."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = apply_merge_patch(merged.get(key), value)
    return merged


def apply_json_patch(target: JsonObject, operations: Json) -> JsonObject:
    """Returns the target with a JSON patch applied; does not change the target.

    Raises:
        ApiError: 400 (malformed patch), 413 (too many operations), 422 (does not apply).
    """
    if not isinstance(operations, list):
        raise bad_request("a JSON patch is a list of operations")
    if len(operations) > _MAX_PATCH_OPERATIONS:
        raise ApiError(
            413,
            "RequestEntityTooLarge",
            f"The allowed maximum operations in a JSON patch is {_MAX_PATCH_OPERATIONS}, "
            f"got {len(operations)}",
        )
    try:
        patched = jsonpatch.JsonPatch(operations).apply(target)
    except (jsonpatch.InvalidJsonPatch, jsonpointer.JsonPointerException) as error:
        raise _unprocessable_error(error) from None
    except (jsonpatch.JsonPatchException, TypeError, KeyError, IndexError) as error:
        raise _unprocessable_error(error) from None
    if not isinstance(patched, dict):
        raise bad_request("the patched document is not an object")
    return json.loads(json.dumps(patched)) if patched is target else patched


def _unprocessable_error(error: Exception) -> ApiError:
    message = f"the server rejected our request due to an error in our request: {error}"
    return ApiError(422, "Invalid", message, {"causes": [{"message": str(error)}]})
