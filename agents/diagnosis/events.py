"""The last Events about the pods and the objects of an order."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from agents.member.api import MemberApi, quote_path_segment
from agents.member.trees import integer_at, map_at, message_at, objects_at, text_at
from agents.protocol.diagnosis.answer import (
    MAX_ANSWERED_EVENTS,
    MAX_SENTENCE_CHARACTERS,
    EventAnswer,
)

Tree = Mapping[str, Any]

_MAX_WORD, _MAX_ABOUT, _MAX_INSTANT = 128, 320, 40
_READ_PER_OBJECT: Final = 100
_TIMES: Final = ("lastTimestamp", "eventTime", "firstTimestamp")


@dataclass(frozen=True, slots=True)
class EventObject:
    """An object of which the events are wanted.

    Attributes:
        kind: its kind.
        namespace: its namespace.
        name: its name.
        uid: its uid; empty: unknown, so that events about one before of that name count too.
    """

    kind: str
    namespace: str
    name: str
    uid: str = ""


def read_events(api: MemberApi, subjects: Iterable[EventObject]) -> tuple[EventAnswer, ...]:
    """The last events about these objects, the newest first.

    Raises:
        MemberApiError: they cannot be listed.
    """
    found: list[EventAnswer] = []
    for subject in subjects:
        fields = f"involvedObject.kind={subject.kind},involvedObject.name={subject.name}"
        query = urlencode({"fieldSelector": fields, "limit": str(_READ_PER_OBJECT)})
        where = quote_path_segment(subject.namespace)
        tree = api.get(f"/api/v1/namespaces/{where}/events?{query}")
        found += [
            event_answer_of(each, subject)
            for each in objects_at(tree, "items")
            if not subject.uid or text_at(map_at(each, "involvedObject"), "uid") == subject.uid
        ]
    found.sort(key=lambda one: one.last_seen or "", reverse=True)
    return tuple(found[:MAX_ANSWERED_EVENTS])


def event_answer_of(event: Tree, subject: EventObject) -> EventAnswer:
    """One event, reduced to what an answer says."""
    series = map_at(event, "series")
    times = [text_at(series, "lastObservedTime"), *(text_at(event, name) for name in _TIMES)]
    count = max(integer_at(event, "count", 1), integer_at(series, "count", 1), 1)
    return EventAnswer(
        about=f"{subject.kind}/{subject.name}"[:_MAX_ABOUT],
        kind=message_at(event, "type", _MAX_WORD) or "Normal",
        reason=message_at(event, "reason", _MAX_WORD),
        message=message_at(event, "message", MAX_SENTENCE_CHARACTERS),
        count=count,
        last_seen=next((one[:_MAX_INSTANT] for one in times if one), None),
    )
