"""Reads what a question about one order asks for, from the member's API.

Only what this agent applied for the order is read: pods with the order's label and its whole id, in
the namespaces where the journal has objects of it. It blocks, so a worker thread calls it.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from agents.diagnosis.events import EventObject, read_events
from agents.diagnosis.logs import LogWish, read_log
from agents.diagnosis.pod_view import PodView, pod_view_of
from agents.member.api import MemberApi, MemberApiError, Tree, quote_path_segment
from agents.member.trees import map_at, text_at
from agents.orders.journal import Journal, ObjectKey
from agents.protocol.diagnosis.answer import (
    MAX_ANSWERED_LOGS,
    MAX_ANSWERED_PODS,
    MAX_LOG_BYTES,
    MAX_POD_LOG_BYTES,
    MAX_SENTENCE_CHARACTERS,
    LogAnswer,
    OrderAnswer,
)
from agents.protocol.diagnosis.question import ABOUT_LOGS, ABOUT_STATUS, Question
from agents.protocol.orders import ORDER_ID_ANNOTATION, ORDER_LABEL
from agents.protocol.topics import order_token
from agents.runtime.clock import AgentClock

_MAX_NAMESPACES: Final = 8
_MAX_POD_SUBJECTS: Final = 16
_MAX_OBJECT_SUBJECTS: Final = 16
_READ_SECONDS: Final = 6.0
"""For the logs of all containers; the hub waits longer than that."""

_FORBIDDEN: Final = 403


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReader:
    """Reads pods, events and logs of orders.

    Attributes:
        api: API of the member.
        journal: knows which objects were created for each order.
        clock: bounds the time of reading.
    """

    api: MemberApi
    journal: Journal
    clock: AgentClock

    def read(self, question: Question, empty: OrderAnswer) -> OrderAnswer:
        """The answer to a question; what cannot be read is said in it.

        Args:
            question: the question.
            empty: the answer without content.

        Raises:
            JournalError: the journal cannot be read.
        """
        objects = sorted(
            self.journal.created_objects().get(question.order, ()),
            key=lambda key: (key.namespace, key.kind, key.name),
        )
        namespaces = sorted({key.namespace for key in objects if key.namespace})[:_MAX_NAMESPACES]
        if question.about not in (ABOUT_STATUS, ABOUT_LOGS):
            return replace(empty, problem=f"this agent cannot answer about {question.about}")
        if not namespaces:
            return replace(empty, problem="nothing of it is applied here yet")
        try:
            pods = [pod for where in namespaces for pod in self._list_pods(question, where)]
            pods.sort(key=lambda pod: (pod.answer.is_ready, pod.answer.name))
            if question.about == ABOUT_LOGS:
                return self._with_logs(empty, question, pods)
            return self._with_status(empty, objects, namespaces, question, pods)
        except MemberApiError as error:
            return replace(empty, problem=_problem_of(error))

    # ------------------------------------------------------------ status

    def _with_status(
        self,
        empty: OrderAnswer,
        objects: list[ObjectKey],
        namespaces: list[str],
        question: Question,
        pods: list[PodView],
    ) -> OrderAnswer:
        answer = replace(
            empty,
            pod_count=len(pods),
            ready_count=sum(pod.answer.is_ready for pod in pods),
            pods=tuple(pod.answer for pod in pods[:MAX_ANSWERED_PODS]),
        )
        try:
            subjects = [
                *(
                    EventObject("Pod", pod.namespace, pod.answer.name, pod.uid)
                    for pod in pods[:_MAX_POD_SUBJECTS]
                ),
                *(each for where in namespaces for each in self._replica_sets(question, where)),
                *(
                    EventObject(key.kind, key.namespace, key.name)
                    for key in objects
                    if key.namespace and key.kind != "Pod"
                ),
            ][: _MAX_POD_SUBJECTS + _MAX_OBJECT_SUBJECTS]
            return replace(answer, events=read_events(self.api, subjects))
        except MemberApiError as error:
            return replace(answer, problem=_problem_of(error))

    def _replica_sets(self, question: Question, namespace: str) -> list[EventObject]:
        """The ReplicaSets of the order's Deployments: their events say why a pod is not created."""
        path = f"/apis/apps/v1/namespaces/{quote_path_segment(namespace)}/replicasets"

        def subject(tree: Tree) -> EventObject | None:
            metadata = map_at(tree, "metadata")
            named = text_at(map_at(metadata, "annotations"), ORDER_ID_ANNOTATION)
            template = map_at(tree, "spec", "template", "metadata", "annotations")
            if question.order not in (named, text_at(template, ORDER_ID_ANNOTATION)):
                return None
            name, uid = text_at(metadata, "name"), text_at(metadata, "uid")
            return EventObject("ReplicaSet", namespace, name, uid)

        return self.api.list_mapped(path, _selector(question), subject)

    def _list_pods(self, question: Question, namespace: str) -> list[PodView]:
        path = f"/api/v1/namespaces/{quote_path_segment(namespace)}/pods"
        view = partial(pod_view_of, order_id=question.order, namespace=namespace)
        return self.api.list_mapped(path, _selector(question), view)

    # ------------------------------------------------------------ logs

    def _with_logs(
        self, empty: OrderAnswer, question: Question, pods: list[PodView]
    ) -> OrderAnswer:
        wanted = [
            (pod, container)
            for pod in pods
            if question.pod in (None, pod.answer.name)
            for container in pod.containers
            if question.container in (None, container)
        ]
        if not wanted:
            return replace(empty, pod_count=len(pods), problem=_no_container(question, pods))
        after = {(one.pod, one.container): one.after for one in question.cursors}
        chosen = wanted[:MAX_ANSWERED_LOGS]
        max_bytes = min(MAX_POD_LOG_BYTES, MAX_LOG_BYTES // len(chosen))
        logs: list[LogAnswer] = []
        deadline = self.clock.monotonic() + _READ_SECONDS
        for pod, container in chosen:
            if self.clock.monotonic() > deadline:
                break
            wish = LogWish(
                namespace=pod.namespace,
                pod=pod.answer.name,
                container=container,
                tail_lines=question.tail_lines,
                after=after.get((pod.answer.name, container)),
                max_bytes=max_bytes,
            )
            logs.append(read_log(self.api, wish))
        problem = None
        if len(logs) < len(wanted):
            problem = (
                f"{len(wanted) - len(logs)} of {len(wanted)} containers are left out; name one"
                " with --pod or --container"
            )
        return replace(empty, pod_count=len(pods), logs=tuple(logs), problem=problem)


def _selector(question: Question) -> dict[str, str]:
    return {"labelSelector": f"{ORDER_LABEL}={order_token(question.order)}"}


def _no_container(question: Question, pods: list[PodView]) -> str:
    if not pods:
        return "it has no pod here"
    if question.pod is not None and all(question.pod != pod.answer.name for pod in pods):
        return f"it has no pod {question.pod} here"
    return f"no pod of it has a container {question.container}"


def _problem_of(error: MemberApiError) -> str:
    text = str(error)
    if error.code == _FORBIDDEN:
        text = f"the site's API refuses the agent's account: {text}"
    return text[:MAX_SENTENCE_CHARACTERS]
