"""A question of the hub about one order: how its pods are, or what they have logged.

It goes down in a `HubRequest`, which the hub signs and addresses to one agent. It names the Site by
its uid and the agent by its boot, so that it means nothing elsewhere or later, and it is numbered:
an agent answers each number of a scheduler once.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from agents.protocol.bounds import (
    AtMost,
    Between,
    BootId,
    Counter,
    NamespaceName,
    NotEmpty,
    ObjectName,
    OrderId,
    Uid,
    Word,
)

ABOUT_STATUS: Final = "status"
"""How the pods of the order are, and the last events about them and its objects."""

ABOUT_LOGS: Final = "logs"
"""What the containers of the order's pods have written."""

MAX_TAIL_LINES: Final = 10_000
MAX_CURSORS: Final = 64

LogCursorText = Annotated[str, AtMost(40)]
"""The time of the last line that was read, as the kubelet wrote it (RFC 3339, nanoseconds)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCursor:
    """Up to where the log of a container is known.

    Attributes:
        pod: name of the pod.
        container: name of the container.
        after: only lines after this time are new.
    """

    pod: ObjectName
    container: NamespaceName
    after: LogCursorText


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question about one order.

    Attributes:
        token: 32 random hex digits; the topic of the answer ends in them.
        asker: identity of the scheduler's process.
        number: grows with every question of this scheduler to any site.
        site_uid: uid of the Site; the same as in the index that the agent works by.
        boot_id: the boot of the agent that is asked.
        order: id of the order.
        about: `ABOUT_STATUS` or `ABOUT_LOGS`; an agent says that it does not know another word.
        pod: only this pod; absent: all pods of the order, up to a bound.
        container: only the containers of this name; absent: all.
        tail_lines: the last lines of each container; absent: as many as fit.
        cursors: of these containers, only what is new.
    """

    token: Annotated[str, AtMost(32), NotEmpty()]
    asker: Word
    number: Counter
    site_uid: Uid
    boot_id: BootId
    order: OrderId
    about: Word
    pod: ObjectName | None = None
    container: NamespaceName | None = None
    tail_lines: Annotated[int, Between(1, MAX_TAIL_LINES)] | None = None
    cursors: Annotated[tuple[LogCursor, ...], AtMost(MAX_CURSORS)] = ()
