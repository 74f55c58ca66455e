"""Remembers in the member itself which jobs were begun and how they ended.

The journal remembers too, but a disk can be lost, and a finished Job with a time to live vanishes
from the member. One small ConfigMap per order in `kapok-system`, written before a job is made for
the first time, outlives both; so a job never runs again because a message or a disk was lost.
"""

from dataclasses import dataclass, field
from typing import Final

from agents.member.api import MemberApi, quote_path_segment
from agents.orders.journal import ObjectKey
from agents.orders.labels import SYSTEM_NAMESPACE
from agents.protocol.orders import ORDER_ID_ANNOTATION
from agents.protocol.topics import order_token

RUN_ONCE_LABEL: Final = "kapok.dev/once"
STARTED: Final = "Started"
UNKNOWN_OUTCOME: Final = "Unknown"
"""It ended and vanished by its time to live before anybody saw how."""

_COLLECTION: Final = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps"


@dataclass(slots=True)
class JobRecords:
    """The marks of all orders at one member; read at most once per order and start of the agent.

    Attributes:
        api: the member's.
    """

    api: MemberApi
    _states_by_order: dict[str, dict[str, str]] = field(default_factory=dict, init=False)

    def state_of(self, order_id: str, key: ObjectKey) -> str | None:
        """`Started`, an outcome, or None: never begun by anybody. Raises ApiError."""
        return self._load_states(order_id).get(_configmap_key(key))

    def record_start(self, order_id: str, key: ObjectKey) -> None:
        """The job is about to be made. Raises ApiError: then it must not be made."""
        self._save_state(order_id, key, STARTED)

    def record_finish(self, order_id: str, key: ObjectKey, outcome: str) -> None:
        """The job has ended. Raises ApiError."""
        if self._load_states(order_id).get(_configmap_key(key)) in (None, STARTED):
            self._save_state(order_id, key, outcome)

    def forget_order(self, order_id: str) -> None:
        """The order is withdrawn and gone. Raises ApiError."""
        self.api.delete(_configmap_path(order_id))
        self._states_by_order.pop(order_id, None)

    def _load_states(self, order_id: str) -> dict[str, str]:
        if order_id not in self._states_by_order:
            tree = self.api.find(_configmap_path(order_id)) or {}
            self._states_by_order[order_id] = {
                str(k): str(v) for k, v in (tree.get("data") or {}).items()
            }
        return self._states_by_order[order_id]

    def _save_state(self, order_id: str, key: ObjectKey, state: str) -> None:
        marks = {**self._load_states(order_id), _configmap_key(key): state}
        tree = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": _configmap_name(order_id),
                "namespace": SYSTEM_NAMESPACE,
                "labels": {RUN_ONCE_LABEL: order_token(order_id)},
                "annotations": {ORDER_ID_ANNOTATION: order_id},
            },
            "data": marks,
        }
        self.api.apply(_configmap_path(order_id), tree, force=True)
        self._states_by_order[order_id] = marks


def _configmap_name(order_id: str) -> str:
    return f"kapok-once-{order_token(order_id)}"


def _configmap_path(order_id: str) -> str:
    return f"{_COLLECTION}/{quote_path_segment(_configmap_name(order_id))}"


def _configmap_key(key: ObjectKey) -> str:
    """A key of the ConfigMap: letters, digits, `-`, `_` and `.` only, at most 253 of them."""
    text = f"{key.kind}.{key.namespace}.{key.name}"
    return text if len(text) <= 253 else order_token(text)  # noqa: PLR2004 - Kubernetes' limit
