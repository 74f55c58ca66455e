"""What the hub's process gets at its start, and what it says, one object a line."""

from typing import Literal, TypeAlias

import msgspec

ErrorKind: TypeAlias = Literal["in-use", "damaged", "system", "other"]


class HubPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How the hub is to run.

    Attributes:
        data_dir: the directory of its files.
        socket_path: the Unix socket for the scheduler; empty: none.
        port: the port for everybody; 0: the recorded one, else a free one.
        max_objects: objects that the holder of a token may keep.
        max_bytes: bytes of these objects.
        log_level: the least level of its log.
        lock_seconds: how long it waits for the lock of its directory, which the process before
            holds for a moment after a signal has ended it.
    """

    data_dir: str
    socket_path: str
    port: int
    max_objects: int
    max_bytes: int
    log_level: int
    lock_seconds: float = 5.0


class HubReady(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """The hub serves.

    Attributes:
        port: where it listens on 127.0.0.1.
    """

    port: int


class HubFault(msgspec.Struct, frozen=True, kw_only=True, tag="fault"):
    """A fault of the server, which goes on.

    Attributes:
        where: its place, a value of `scheduler.apiserver.base.faults.FAULT_PLACES`.
    """

    where: str


class HubLogLine(msgspec.Struct, frozen=True, kw_only=True, tag="log"):
    """A line for the log of the scheduler.

    Attributes:
        logger: name of the logger.
        level: its level, as a number.
        text: the message.
        error: the traceback; empty: none.
    """

    logger: str
    level: int
    text: str
    error: str = ""


class HubFailed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """The hub cannot run; the process ends.

    Attributes:
        kind: what kind of error it is.
        text: what is wrong and what to do.
    """

    kind: ErrorKind
    text: str


HubMessage: TypeAlias = HubReady | HubFault | HubLogLine | HubFailed

DECODE_MESSAGE = msgspec.json.Decoder(HubMessage).decode
"""Decodes one line."""
