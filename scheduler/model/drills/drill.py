"""A drill: which site is treated as lost, for how long, what is measured, and what is refused.

Times are seconds since the drill began, so that no clock is compared with another one.
"""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from math import isfinite
from typing import Annotated, Final, Literal, NamedTuple

from msgspec import Meta

from scheduler.model.formatters import format_rfc3339
from scheduler.model.kinds.fields import Count, Instant, Name, Part, ShortText

RUNS_HUB_LABEL: Final = "kapok.dev/runs-hub"
"""Label of a Site on which the hub, its broker or a scheduler runs: no drill takes it."""

DEFAULT_DRILL_SECONDS: Final = 300.0
MAX_DRILL_SECONDS: Final = 86_400.0
MAX_MEASURED: Final = 1000
"""So many workloads are measured in a drill, those of the highest priority; others are counted."""
MAX_TARGETS: Final = 64

_Seconds = Annotated[float, Meta(ge=0, le=1e9)]

Verdict = Literal["met", "missed", "unknown"]
"""Whether a recovery time is met; unknown: the drill was shorter than that time."""

RefusalReason = Literal[
    "UnknownSite",
    "DrillRuns",
    "EvictionsFrozen",
    "SiteSilent",
    "OwnSite",
    "BadLength",
    "TooShort",
    "NotRecorded",
    "WordTooOld",
    "NotReadable",
    "NoDrill",
]


class DrillRefusal(NamedTuple):
    """Why a drill does not begin.

    Attributes:
        reason: one word.
        message: the sentence, with what to do instead.
    """

    reason: RefusalReason
    message: str


class MeasuredWork(Part, frozen=True, kw_only=True):
    """What a drill shows of one workload.

    Attributes:
        workload: NAMESPACE/NAME.
        replicas: those that stayed at the site when the drill began.
        rto_seconds: the recovery time that is asked of it; None: none is.
        rpo_seconds: the data that it may lose, in seconds; no drill measures it.
        to: the sites that got replicas, the first ones.
        order_seconds: when all its replicas were ordered elsewhere.
        ready_seconds: when these were ready.
        kept: why it needs no other place; empty: it does.
    """

    workload: str
    replicas: Count
    rto_seconds: int | None = None
    rpo_seconds: int | None = None
    to: Annotated[tuple[Name, ...], Meta(max_length=MAX_TARGETS)] = ()
    order_seconds: _Seconds | None = None
    ready_seconds: _Seconds | None = None
    kept: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is to be measured of it."""
        return bool(self.kept) or self.ready_seconds is not None

    def recovery(self, elapsed_seconds: float) -> Verdict | None:
        """Whether its recovery time is met; None: none is asked.

        Args:
            elapsed_seconds: for how long the drill has run.
        """
        if self.rto_seconds is None:
            return None
        if self.kept:
            return "met"
        if self.ready_seconds is not None:
            return "met" if self.ready_seconds <= self.rto_seconds else "missed"
        return "missed" if elapsed_seconds > self.rto_seconds else "unknown"


class Drill(Part, frozen=True, kw_only=True):
    """A drill that runs, as it is kept in the hub: a leader that takes over goes on with it.

    Attributes:
        id: of the operator's word.
        site: what is treated as lost.
        by: who asked.
        why: the reason, for people.
        for_seconds: its length.
        started_at: when it began.
        detection_seconds: when the site counted as silent.
        work: the workloads that are measured.
        unmeasured: so many more ran there.
    """

    id: ShortText
    site: Name
    by: Annotated[str, Meta(max_length=256)] = ""
    why: Annotated[str, Meta(max_length=512)] = ""
    for_seconds: _Seconds = DEFAULT_DRILL_SECONDS
    started_at: Instant
    detection_seconds: _Seconds | None = None
    work: Annotated[tuple[MeasuredWork, ...], Meta(max_length=MAX_MEASURED)] = ()
    unmeasured: Count = 0


class SiteToLose(NamedTuple):
    """What decides whether a site may be treated as lost.

    Attributes:
        labels: of its Site.
        is_reporting: it reports, and its cluster answers its agent.
        silent_after_seconds: it counts as silent after this time.
    """

    labels: Mapping[str, str]
    is_reporting: bool
    silent_after_seconds: float


def runs_hub(labels: Mapping[str, str]) -> bool:
    """Whether the hub, its broker or a scheduler runs at the site with these labels."""
    return labels.get(RUNS_HUB_LABEL, "false").lower() not in ("", "false", "no", "0")


def why_no_drill(
    name: str,
    seconds: float,
    *,
    site: SiteToLose | None,
    known: Iterable[str],
    held_because: str,
    running: Drill | None = None,
) -> DrillRefusal | None:
    """Why a site may not be treated as lost now; None: it may.

    Args:
        name: the site.
        seconds: for how long.
        site: what is known of it; None: there is no such Site.
        known: the names of all sites.
        held_because: why nothing is evicted from it now; empty: evictions are allowed.
        running: a drill that runs.
    """
    if site is None:
        near = get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]}?" if near else "; kapok get sites lists them"
        return DrillRefusal("UnknownSite", f"there is no Site {name[:80]!r}{hint}")
    if running is not None:
        return DrillRefusal("DrillRuns", _runs_text(running))
    return next(_refusals_at(name, seconds, site, held_because), None)


def _refusals_at(
    name: str, seconds: float, site: SiteToLose, held_because: str
) -> Iterator[DrillRefusal]:
    if not (isfinite(seconds) and 0 < seconds <= MAX_DRILL_SECONDS):
        text = f"a drill lasts at most {MAX_DRILL_SECONDS:g} s; write --for 5m, or another time"
        yield DrillRefusal("BadLength", text)
    if runs_hub(site.labels):
        yield DrillRefusal(
            "OwnSite",
            f"the hub, its broker or a scheduler runs at {name} (label {RUNS_HUB_LABEL}): its loss"
            " would end the drill's own reports; move them first, or take another site",
        )
    if held_because:
        text = f"nothing would be replaced: {held_because}; see kapok freeze"
        yield DrillRefusal("EvictionsFrozen", text)
    if not site.is_reporting:
        text = f"{name} does not report already, so its loss is no drill"
        yield DrillRefusal("SiteSilent", text)
    if seconds <= site.silent_after_seconds:
        yield DrillRefusal(
            "TooShort",
            f"{name} counts as silent after {site.silent_after_seconds:g} s, and a drill of "
            f"{seconds:g} s is over before; write a longer --for",
        )


def _runs_text(running: Drill) -> str:
    by = f" by {running.by}" if running.by else ""
    return (
        f"a drill of {running.site}{by} runs since {format_rfc3339(running.started_at)} for "
        f"{running.for_seconds:g} s; one runs at a time: wait, or end it with kapok drill end"
    )
