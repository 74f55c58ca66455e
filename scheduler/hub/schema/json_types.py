"""What JSON is called in the hub's signatures."""

from typing import Any, TypeAlias

Json: TypeAlias = Any
"""Any JSON value: the walkers look at its type before they touch it."""

JsonObject: TypeAlias = dict[str, Any]
"""A JSON object, such as a Kubernetes object as it travels."""
