"""Records in the member which jobs were started and how they ended, so that none runs twice.

The journal records it too, but a disk can be lost, and the cluster deletes a finished Job that has
a time to live. One small ConfigMap per order in `kapok-system`, written before a job is created for
the first time, outlives both.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from agents.member.api import MemberApi, quote_path_segment
from agents.member.trees import map_at
from agents.orders.journal import ObjectKey
from agents.orders.labels import SYSTEM_NAMESPACE
from agents.protocol.orders import ORDER_ID_ANNOTATION
from agents.protocol.topics import order_token

RUN_ONCE_LABEL: Final = "kapok.dev/once"
STARTED: Final = "Started"
UNKNOWN_OUTCOME: Final = "Unknown"
"""The cluster deleted the finished job before the agent saw its outcome."""

_COLLECTION: Final = f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps"


@dataclass(slots=True)
class JobRecords:
    """The job records of all orders at one member; read once per order and pass.

    Attributes:
        api: API of the member.
    """

    api: MemberApi
    _states_by_order: dict[str, dict[str, str]] = field(default_factory=dict, init=False)

    def state_of(self, order_id: str, key: ObjectKey) -> str | None:
        """`Started`, an outcome, or None if the job was never started.

        Raises:
            MemberApiError: the record cannot be read.
        """
        return self._load_states(order_id).get(_configmap_key(key))

    def record_start(self, order_id: str, key: ObjectKey, content: str = "") -> None:
        """Records a job before it is created, with the digest of what it runs.

        Raises:
            MemberApiError: the record cannot be written; the job must not be created.
        """
        self._save_states(order_id, {_configmap_key(key): STARTED, _content_key(key): content})

    def has_run_another(self, order_id: str, key: ObjectKey, content: str) -> bool:
        """Whether another content than this one ran; False if it is not known what ran.

        Raises:
            MemberApiError: the record cannot be read.
        """
        known = self._load_states(order_id).get(_content_key(key), "")
        return bool(known) and known != content

    def withdraw_start(self, order_id: str, key: ObjectKey) -> None:
        """Takes back the record of a job that the member has refused to create.

        Raises:
            MemberApiError: it cannot be taken back; the job counts as started.
        """
        states = dict(self._load_states(order_id))
        states.pop(_configmap_key(key), None)
        states.pop(_content_key(key), None)
        self._write_states(order_id, states)

    def forget_read(self) -> None:
        """Makes the next use read the records again: another agent may have changed them."""
        self._states_by_order.clear()

    def record_finish(self, order_id: str, key: ObjectKey, outcome: str) -> None:
        """Records the outcome of a job; keeps the first one.

        Raises:
            MemberApiError: the record cannot be written.
        """
        if self._load_states(order_id).get(_configmap_key(key)) in (None, STARTED):
            self._save_states(order_id, {_configmap_key(key): outcome})

    def forget_order(self, order_id: str) -> None:
        """Deletes the records of an order of which nothing is left.

        Raises:
            MemberApiError: they cannot be deleted.
        """
        self.api.delete(_configmap_path(order_id))
        self._states_by_order.pop(order_id, None)

    def _load_states(self, order_id: str) -> dict[str, str]:
        if order_id not in self._states_by_order:
            tree = self.api.find(_configmap_path(order_id)) or {}
            self._states_by_order[order_id] = {
                name: state
                for name, state in map_at(tree, "data").items()
                if isinstance(state, str)
            }
        return self._states_by_order[order_id]

    def _save_states(self, order_id: str, new: dict[str, str]) -> None:
        self._write_states(order_id, {**self._load_states(order_id), **new})

    def _write_states(self, order_id: str, states: dict[str, str]) -> None:
        tree = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": _configmap_name(order_id),
                "namespace": SYSTEM_NAMESPACE,
                "labels": {RUN_ONCE_LABEL: order_token(order_id)},
                "annotations": {ORDER_ID_ANNOTATION: order_id},
            },
            "data": states,
        }
        self.api.apply(_configmap_path(order_id), tree, force=True)
        self._states_by_order[order_id] = states


def content_digest(tree: Mapping[str, Any]) -> str:
    """The digest of what a job runs; what says how many run at a time is left out."""
    spec = map_at(tree, "spec")
    ran = map_at(spec, "template", "spec") or spec
    text = json.dumps(ran, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32]


def _content_key(key: ObjectKey) -> str:
    """The key of the digest; kinds begin with a capital, so that it is no job's."""
    text = f"content.{_configmap_key(key)}"
    return text if len(text) <= 253 else f"content.{order_token(text)}"  # noqa: PLR2004 - as below


def _configmap_name(order_id: str) -> str:
    return f"kapok-once-{order_token(order_id)}"


def _configmap_path(order_id: str) -> str:
    return f"{_COLLECTION}/{quote_path_segment(_configmap_name(order_id))}"


def _configmap_key(key: ObjectKey) -> str:
    """The key of a job in the ConfigMap: letters, digits, `-`, `_` and `.`, at most 253."""
    text = f"{key.kind}.{key.namespace}.{key.name}"
    return text if len(text) <= 253 else order_token(text)  # noqa: PLR2004 - Kubernetes' limit
