"""The errors of the server, as `Status` objects with the wording of the real API server.

Clients branch on `reason` and `code`, people read `message`, and kubectl prints `details.causes`.
Source: the API conventions of Kubernetes, section "Response Status Kind".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from scheduler.hub.schema.json_types import JsonObject
from scheduler.hub.schema.problems import FieldProblem

_MAX_PROBLEMS = 100
"""The most problems that one response lists."""


@dataclass(frozen=True, slots=True)
class GroupResource:
    """The group, plural and kind of the resource that an error is about."""

    group: str
    plural: str
    kind: str

    @property
    def qualified_resource(self) -> str:
        """`deployments.apps`, or the plural alone for the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """`Deployment.apps`, or the kind alone for the core group."""
        return f"{self.kind}.{self.group}" if self.group else self.kind


@dataclass(slots=True)
class ApiError(Exception):
    """An error response; its status code is 400 or higher."""

    code: int
    reason: str
    message: str
    details: JsonObject = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message

    def to_status(self) -> JsonObject:
        """The body of the response: kind `Status` of v1."""
        body: JsonObject = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details:
            body["details"] = self.details
        return body | {"code": self.code}


def status_details(group: str, kind: str, name: str, **more: object) -> JsonObject:
    """The `details` of a Status.

    Args:
        group: the API group; left out for the core group.
        kind: the kind, or the plural for errors about a path.
        name: the name of the object; left out if empty.
        more: further entries, such as `causes`.
    """
    details: JsonObject = {"name": name} if name else {}
    if group:
        details["group"] = group
    return details | {"kind": kind} | more


def _path_details(group_resource: GroupResource, name: str) -> JsonObject:
    return status_details(group_resource.group, group_resource.plural, name)


def bad_request(message: str) -> ApiError:
    """400: the request is malformed."""
    return ApiError(400, "BadRequest", message)


def runs_no_containers(subresource: str) -> ApiError:
    """501: the subresource belongs to a kubelet, and this server has none."""
    return ApiError(
        501,
        "NotImplemented",
        f"the embedded hub runs no containers and does not serve {subresource}; "
        "ask the cluster that runs the pod",
    )


def name_undeterminable(name: str) -> ApiError:
    """400: the object of the body has no name; `name` is that of the URL."""
    return bad_request(
        f"the name of the object ({name} based on URL) was undeterminable: name must be provided"
    )


def unauthorized() -> ApiError:
    """401: the token is missing or unknown."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(group_resource: GroupResource, name: str, why: str) -> ApiError:
    """403: the client may not do this, or not in the present state of the object."""
    label = (
        f'{group_resource.qualified_resource} "{name}"'
        if name
        else group_resource.qualified_resource
    )
    return ApiError(
        403, "Forbidden", f"{label} is forbidden: {why}", _path_details(group_resource, name)
    )


def not_found(group_resource: GroupResource, name: str) -> ApiError:
    """404: the object does not exist."""
    message = f'{group_resource.qualified_resource} "{name}" not found'
    return ApiError(404, "NotFound", message, _path_details(group_resource, name))


def resource_not_found() -> ApiError:
    """404: the resource or path does not exist."""
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def method_not_allowed(group_resource: GroupResource | None = None) -> ApiError:
    """405: the resource does not support the verb."""
    message = "the server does not allow this method on the requested resource"
    details = _path_details(group_resource, "") if group_resource else {}
    return ApiError(405, "MethodNotAllowed", message, details)


def already_exists(group_resource: GroupResource, name: str) -> ApiError:
    """409: an object of this name exists."""
    message = f'{group_resource.qualified_resource} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _path_details(group_resource, name))


def conflict(group_resource: GroupResource, name: str, why: str = "") -> ApiError:
    """409: the object has changed since the client read it."""
    why = why or (
        "the object has been modified; "
        "please apply your changes to the latest version and try again"
    )
    message = (
        f'Operation cannot be fulfilled on {group_resource.qualified_resource} "{name}": {why}'
    )
    return ApiError(409, "Conflict", message, _path_details(group_resource, name))


def expired(message: str) -> ApiError:
    """410: the resource version or the continue token is older than the kept history."""
    return ApiError(410, "Expired", message)


class DamagedFile(ValueError):
    """A file of the data directory cannot be used; the message names it and the way out."""


def request_entity_too_large(limit_bytes: int) -> ApiError:
    """413: the body exceeds the limit."""
    message = f"Request entity too large: limit is {limit_bytes}"
    return ApiError(413, "RequestEntityTooLarge", message)


def unsupported_media_type(accepted: Sequence[str]) -> ApiError:
    """415: the resource does not accept the media type of the body."""
    message = (
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(accepted)
    )
    return ApiError(415, "UnsupportedMediaType", message)


def too_many_requests(message: str, *, retry_after_seconds: int = 1) -> ApiError:
    """429: the client must retry later."""
    return ApiError(
        429,
        "TooManyRequests",
        message,
        {"retryAfterSeconds": retry_after_seconds},
        {"Retry-After": str(retry_after_seconds)},
    )


def internal_error(message: str) -> ApiError:
    """500: the server failed; the message says at what."""
    return ApiError(500, "InternalError", f"Internal error occurred: {message}")


def service_unavailable(message: str, *, retry_after_seconds: int = 1) -> ApiError:
    """503: the server cannot do this now, for example because its disk is full."""
    return ApiError(
        503,
        "ServiceUnavailable",
        message,
        {"retryAfterSeconds": retry_after_seconds},
        {"Retry-After": str(retry_after_seconds)},
    )


def invalid_options(kind: str, problems: Sequence[FieldProblem]) -> ApiError:
    """422: the options of a request, such as `PatchOptions`, are invalid."""
    return invalid(GroupResource("meta.k8s.io", "", kind), "", problems)


_MEDIA_TYPES = "only the following media types are accepted: application/json, application/yaml"


def not_acceptable(message: str = _MEDIA_TYPES) -> ApiError:
    """406: the server supports no media type that the client accepts."""
    return ApiError(406, "NotAcceptable", message)


def invalid(group_resource: GroupResource, name: str, problems: Sequence[FieldProblem]) -> ApiError:
    """422: the object is well-formed but invalid; `details.causes` has one entry per problem."""
    if len(problems) > _MAX_PROBLEMS:
        more = f"{len(problems) - _MAX_PROBLEMS} more problems"
        problems = [*problems[:_MAX_PROBLEMS], FieldProblem("FieldValueInvalid", "<nil>", more)]
    sentences = [problem.full_message for problem in problems]
    text = sentences[0] if len(sentences) == 1 else f"[{', '.join(sentences)}]"
    causes = [
        {"reason": problem.reason, "message": problem.message, "field": problem.field}
        for problem in problems
    ]
    details = status_details(group_resource.group, group_resource.kind, name, causes=causes)
    return ApiError(
        422, "Invalid", f'{group_resource.qualified_kind} "{name}" is invalid: {text}', details
    )
