"""What an agent answers to a question about one order.

It goes up on a topic of its own, `kapok/v1/SITE/answer/TOKEN`, never retained and with an expiry.
The token is random, so the signature over the topic proves that the answer was made after the
question.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from agents.protocol.bounds import (
    AgentName,
    AtMost,
    BootId,
    Count,
    NamespaceName,
    ObjectName,
    OrderId,
    PodCount,
    SiteName,
)
from agents.protocol.codec import Codec
from agents.protocol.diagnosis.question import LogCursorText

MAX_POD_LOG_BYTES: Final = 64 * 1024
"""Of one container, the last lines."""

MAX_LOG_BYTES: Final = 256 * 1024
"""Of all containers of an answer."""

MAX_ANSWER_BYTES: Final = 1024 * 1024
"""Twice that, because JSON escapes characters, and the rest."""

MAX_ANSWERED_PODS: Final = 100
MAX_ANSWERED_LOGS: Final = 32
MAX_ANSWERED_EVENTS: Final = 50
MAX_SENTENCE_CHARACTERS: Final = 600

Sentence = Annotated[str, AtMost(MAX_SENTENCE_CHARACTERS)]
ShortWord = Annotated[str, AtMost(128)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PodAnswer:
    """One pod of the order.

    Attributes:
        name: its name.
        phase: its phase, as the member's API says it.
        is_ready: whether it is ready.
        restarts: how often its containers were started again.
        node: its node; absent while it has none.
        reason: why it is not ready in one word, such as CrashLoopBackOff; absent if nothing says.
        message: the same as a sentence.
    """

    name: ObjectName
    phase: ShortWord
    is_ready: bool = False
    restarts: Count = 0
    node: ObjectName | None = None
    reason: ShortWord | None = None
    message: Sentence | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventAnswer:
    """One Event about a pod or an object of the order.

    Attributes:
        about: kind and name of the object, as `Pod/web-1`.
        kind: Normal or Warning.
        reason: its reason.
        message: its message.
        count: how often it was seen.
        last_seen: when it was seen last, by the member's clock; for people.
    """

    about: Annotated[str, AtMost(320)]
    kind: ShortWord
    reason: ShortWord
    message: Sentence = ""
    count: Count = 1
    last_seen: LogCursorText | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogAnswer:
    """What one container has written.

    Attributes:
        pod: name of the pod.
        container: name of the container.
        text: the last lines, each with its line feed, without their times.
        after: the time of the last line, to go on from; absent: no line was read.
        is_truncated: earlier lines were left out.
        problem: why nothing could be read; absent: it could.
    """

    pod: ObjectName
    container: NamespaceName
    text: Annotated[str, AtMost(MAX_POD_LOG_BYTES)] = ""
    after: LogCursorText | None = None
    is_truncated: bool = False
    problem: Sentence | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderAnswer:
    """The answer to one question.

    Attributes:
        site: name of the site; the same as in the topic.
        agent: name of the agent within the site.
        boot_id: boot of the agent.
        order: id of the order that was asked about.
        problem: why it cannot be answered, or a part of it; absent: it is.
        pod_count: number of pods of the order; absent if that is not known.
        ready_count: number of them that are ready.
        pods: the pods, those that are not ready first.
        events: the last events, the newest first.
        logs: one entry per container.
    """

    site: SiteName
    agent: AgentName
    boot_id: BootId
    order: OrderId
    problem: Sentence | None = None
    pod_count: PodCount | None = None
    ready_count: PodCount | None = None
    pods: Annotated[tuple[PodAnswer, ...], AtMost(MAX_ANSWERED_PODS)] = ()
    events: Annotated[tuple[EventAnswer, ...], AtMost(MAX_ANSWERED_EVENTS)] = ()
    logs: Annotated[tuple[LogAnswer, ...], AtMost(MAX_ANSWERED_LOGS)] = ()


ANSWER: Final = Codec(OrderAnswer, max_bytes=MAX_ANSWER_BYTES)
