"""The port to what a site answers about one workload: its pods, events and logs.

`scheduler.mqtt.questions` asks the sites; `scheduler.web.diagnosis` asks it for people. What is
answered passes through and is kept nowhere.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

About = Literal["status", "logs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPosition:
    """Up to where the log of a container is known.

    Attributes:
        site: name of the site.
        pod: name of the pod.
        container: name of the container.
        after: the time of the last known line, as the site's node wrote it.
    """

    site: str
    pod: str
    container: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosisQuery:
    """What is asked about the orders of a workload.

    Attributes:
        about: pods and events, or logs.
        pod: only this pod; None: all.
        container: only containers of this name; None: all.
        tail_lines: the last lines of each container; None: as many as fit.
        positions: of these containers, only what is new.
    """

    about: About
    pod: str | None = None
    container: str | None = None
    tail_lines: int | None = None
    positions: tuple[LogPosition, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosedPod:
    """One pod at a site; `reason` and `message` say why it is not ready, if its cluster does."""

    name: str
    phase: str
    is_ready: bool = False
    restarts: int = 0
    node: str | None = None
    reason: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosedEvent:
    """One Event at a site; `last_seen` is a time of the site's clock."""

    about: str
    kind: str
    reason: str
    message: str = ""
    count: int = 1
    last_seen: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosedLog:
    """The last lines of one container; `problem` says why there are none."""

    pod: str
    container: str
    text: str = ""
    after: str | None = None
    is_truncated: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteDiagnosis:
    """What a site answers.

    Attributes:
        site: name of the site.
        problem: why there is no answer, or a part of it is missing; None: it is complete.
        pod_count: number of pods; None: unknown.
        ready_count: number of ready pods; None: unknown.
        pods: the pods, those that are not ready first.
        events: the last events, the newest first.
        logs: one entry per container.
    """

    site: str
    problem: str | None = None
    pod_count: int | None = None
    ready_count: int | None = None
    pods: tuple[DiagnosedPod, ...] = ()
    events: tuple[DiagnosedEvent, ...] = ()
    logs: tuple[DiagnosedLog, ...] = ()


class DiagnosisPort(Protocol):
    """Asks a site about one order."""

    async def ask(
        self, site: str, site_uid: str, order_id: str, query: DiagnosisQuery
    ) -> SiteDiagnosis:
        """The site's answer, or why there is none; it never takes longer than some seconds."""
        ...
