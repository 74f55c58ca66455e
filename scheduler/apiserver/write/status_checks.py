"""Refuses statuses by what another object says, as a ValidatingAdmissionPolicy with a parameter."""

from collections.abc import Callable
from dataclasses import dataclass

from scheduler.apiserver.base.errors import ApiError
from scheduler.apiserver.kinds.resources import ServerResource
from scheduler.hub.schema.json_types import JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusCheck:
    """A check of writes to the status subresource of a kind.

    Attributes:
        name: of the policy that a real API server has for it.
        parameter: group, version and plural of the object that it depends on.
        parameter_namespace: namespace of that object.
        parameter_name: name of that object; without it every status is accepted.
        find_problem: called with the old object, the new one and the parameter; "" accepts.
    """

    name: str
    parameter: tuple[str, str, str]
    parameter_namespace: str
    parameter_name: str
    find_problem: Callable[[JsonObject, JsonObject, JsonObject], str]

    def check(
        self, resource: ServerResource, old: JsonObject, new: JsonObject, parameter: JsonObject
    ) -> None:
        """Refuses a status.

        Raises:
            ApiError: 422, in the words of a real API server.
        """
        problem = self.find_problem(old, new, parameter)
        if problem:
            name = new["metadata"]["name"]
            label = f'{resource.group_resource.qualified_resource} "{name}"'
            denied = f"ValidatingAdmissionPolicy '{self.name}' with binding '{self.name}' denied"
            raise ApiError(422, "Invalid", f"{label} is forbidden: {denied} request: {problem}")
