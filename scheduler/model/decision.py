"""`Decision`: where a workload goes, or why it goes nowhere. A value; others act on it."""

from typing import Literal

import msgspec

from scheduler.model.canonical import canonical_json
from scheduler.model.kinds.fields import Instant, Origin, Part
from scheduler.model.reasons import Reason

ENGINE_VERSION = "3"
"""Raised with every change that can change a decision; records replay by their own version."""

DecisionPhase = Literal["Placed", "Waiting", "Refused"]


class SiteAssignment(Part, frozen=True, kw_only=True):
    """A site's share of the replicas."""

    site: str
    replicas: int


class Cost(Part, frozen=True, kw_only=True):
    """What a placement costs per hour. None: some figure is unknown, so the sum is."""

    cny_per_hour: float | None = None
    gco2_per_hour: float | None = None


def _current_engine_version() -> str:
    return ENGINE_VERSION


class Decision(Part, frozen=True, kw_only=True):
    """The answer for one workload.

    Placed: `assignment` is the whole placement, kept and new replicas together. Waiting and
    Refused: the assignment is what runs already and stays; nothing is taken away because nothing
    fits now.
    """

    workload: str
    uid: str = ""
    phase: DecisionPhase
    assignment: tuple[SiteAssignment, ...] = ()
    lost: tuple[str, ...] = ()
    """Sites that held replicas and hold none any more: gone, evicted, or given up."""
    ended: tuple[str, ...] = ()
    """Of these, the sites where the replicas end at once, replaced or not: gone, driven out by a
    NoExecute taint, or stopped by the authority. At the others they run until replaced."""
    ended_by: dict[str, str] = msgspec.field(default_factory=dict)
    """What ended them, by site."""
    violations: dict[str, Reason] = msgspec.field(default_factory=dict)
    """Sites where what runs breaks a right, with the rule; treated by the class's `onViolation`."""
    reasons: dict[Reason, int] = msgspec.field(default_factory=dict)
    """How many sites said no, by their first reason; empty when placed."""
    line: str = ""
    group: str = ""
    """The site group that was used last."""
    cost: Cost = Cost()
    start_at: Instant | None = None
    """Work that can wait: when it is planned to start, at `planned`. It is decided again then."""
    planned: tuple[SiteAssignment, ...] = ()
    optimal: bool = True
    """Whether nothing better exists by the stated costs; False: see `gap`."""
    gap: float = 0.0
    """How much dearer than the best possible this may be, as a ratio."""
    notes: tuple[str, ...] = ()
    """What the answer does not model."""
    decided_at: Instant
    engine: str = msgspec.field(default_factory=_current_engine_version)
    """Always written: what a record leaves out would be read as the engine of whoever reads it."""

    @property
    def replicas(self) -> int:
        """Replicas in all."""
        return sum(each.replicas for each in self.assignment)


class Verdict(Part, frozen=True, kw_only=True):
    """What one rule says of one site."""

    rule: str
    reason: Reason
    passed: bool
    sentence: str = ""


class CostTerm(Part, frozen=True, kw_only=True):
    """One part of what a replica costs at one site."""

    term: str
    cny_per_replica_hour: float | None
    origin: Origin
    age_seconds: float | None = None


class SiteExplanation(Part, frozen=True, kw_only=True):
    """All that a decision thought of one site."""

    name: str
    admitted: bool
    verdicts: tuple[Verdict, ...]
    room: int
    costs: tuple[CostTerm, ...]
    total_cny_per_replica_hour: float | None
    replicas: int


class SuggestedChange(Part, frozen=True, kw_only=True):
    """One change that would make a workload fit. Verified: the engine ran it, and it fits."""

    kind: str
    target: str
    from_: str = ""
    to: str = ""
    verified: bool = False


class Explanation(Part, frozen=True, kw_only=True):
    """A decision with all its reasons, site by site."""

    decision: Decision
    sites: tuple[SiteExplanation, ...]


def decision_bytes(decision: Decision) -> bytes:
    """The decision as canonical JSON: equal inputs give equal bytes."""
    return canonical_json(decision)
