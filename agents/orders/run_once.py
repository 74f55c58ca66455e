"""Remembers in the member itself which jobs were begun and how they ended.

The journal remembers too, but a disk can be lost, and a finished Job with a time to live vanishes
from the member. One small ConfigMap per order in `kapok-system`, written before a job is made for
the first time, outlives both; so a job never runs again because a message or a disk was lost.
"""

from dataclasses import dataclass, field
from typing import Final

from agents.member.api import MemberApi, segment
from agents.orders.journal import ObjectKey
from agents.protocol.topics import order_token

NAMESPACE: Final = "kapok-system"
LABEL: Final = "kapok.dev/once"
STARTED: Final = "Started"
UNSEEN: Final = "Unknown"
"""It ended and vanished by its time to live before anybody saw how."""

_COLLECTION: Final = f"/api/v1/namespaces/{NAMESPACE}/configmaps"


@dataclass(slots=True)
class RunOnce:
    """The marks of all orders at one member; read at most once per order and start of the agent.

    Attributes:
        api: the member's.
    """

    api: MemberApi
    _known: dict[str, dict[str, str]] = field(default_factory=dict, init=False)

    def state(self, order_id: str, key: ObjectKey) -> str | None:
        """`Started`, an outcome, or None: never begun by anybody. Raises ApiError."""
        return self._marks(order_id).get(_entry(key))

    def begin(self, order_id: str, key: ObjectKey) -> None:
        """The job is about to be made. Raises ApiError: then it must not be made."""
        self._put(order_id, key, STARTED)

    def end(self, order_id: str, key: ObjectKey, outcome: str) -> None:
        """The job has ended. Raises ApiError."""
        if self._marks(order_id).get(_entry(key)) in (None, STARTED):
            self._put(order_id, key, outcome)

    def forget(self, order_id: str) -> None:
        """The order is withdrawn and gone. Raises ApiError."""
        self.api.delete(_path(order_id))
        self._known.pop(order_id, None)

    def _marks(self, order_id: str) -> dict[str, str]:
        if order_id not in self._known:
            tree = self.api.find(_path(order_id)) or {}
            self._known[order_id] = {str(k): str(v) for k, v in (tree.get("data") or {}).items()}
        return self._known[order_id]

    def _put(self, order_id: str, key: ObjectKey, word: str) -> None:
        marks = {**self._marks(order_id), _entry(key): word}
        tree = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": _name(order_id),
                "namespace": NAMESPACE,
                "labels": {LABEL: order_token(order_id)},
                "annotations": {"kapok.dev/order-id": order_id},
            },
            "data": marks,
        }
        self.api.apply(_path(order_id), tree, force=True)
        self._known[order_id] = marks


def _name(order_id: str) -> str:
    return f"kapok-once-{order_token(order_id)}"


def _path(order_id: str) -> str:
    return f"{_COLLECTION}/{segment(_name(order_id))}"


def _entry(key: ObjectKey) -> str:
    """A key of the ConfigMap: letters, digits, `-`, `_` and `.` only, at most 253 of them."""
    text = f"{key.kind}.{key.namespace}.{key.name}"
    return text if len(text) <= 253 else order_token(text)  # noqa: PLR2004 - Kubernetes' limit
