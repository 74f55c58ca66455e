"""What a write asks for before it is computed: its name, its version, and the change of a patch."""

import copy

from scheduler.apiserver.base.bodies import JSON_PATCH, STRATEGIC_PATCH
from scheduler.apiserver.base.errors import ApiError, name_undeterminable
from scheduler.apiserver.kinds.resources import ServerResource
from scheduler.apiserver.write.json_patch import apply_json_patch
from scheduler.apiserver.write.merge_patch import apply_merge_patch
from scheduler.apiserver.write.strategic_merge import apply_strategic_merge_patch
from scheduler.apiserver.write.writer import TransformFunc
from scheduler.hub.schema.json_types import Json, JsonObject


def check_applied_name(config: Json, name: str) -> None:
    """Refuses an applied configuration without a name.

    Raises:
        ApiError: 400, it has no name.
    """
    metadata = config.get("metadata") if isinstance(config, dict) else None
    if not isinstance(metadata, dict) or not metadata.get("name"):
        raise name_undeterminable(name)


def require_resource_version(resource: ServerResource, value: JsonObject) -> None:
    """Refuses updates of custom resources without a resource version.

    Raises:
        ApiError: 422, it is missing.
    """
    metadata = value.get("metadata")
    if resource.is_custom and isinstance(metadata, dict) and not metadata.get("resourceVersion"):
        name = metadata.get("name", "")
        raise ApiError(
            422,
            "Invalid",
            f'{resource.group_resource.qualified_resource} "{name}" is invalid: '
            "metadata.resourceVersion: Invalid value: 0: must be specified for an update",
            {
                "name": name,
                "group": resource.group_resource.group,
                "kind": resource.group_resource.plural,
                "causes": [
                    {
                        "reason": "FieldValueInvalid",
                        "message": "Invalid value: 0: must be specified for an update",
                        "field": "metadata.resourceVersion",
                    }
                ],
            },
        )


def patch_transform(resource: ServerResource, patch_type: str, patch: Json) -> TransformFunc:
    """The change that a patch describes."""
    if patch_type == JSON_PATCH:
        return lambda old: apply_json_patch(old, copy.deepcopy(patch))
    if patch_type == STRATEGIC_PATCH:
        return lambda old: apply_strategic_merge_patch(
            resource.schema_node, old, copy.deepcopy(patch)
        )
    return lambda old: apply_merge_patch(old, patch)
