"""Types of JSON values in the signatures of the hub and the API server."""

from typing import Any, TypeAlias

Json: TypeAlias = Any
"""Any JSON value. Functions check its type before they use it."""

JsonObject: TypeAlias = dict[str, Any]
"""A JSON object, such as a decoded Kubernetes object."""
