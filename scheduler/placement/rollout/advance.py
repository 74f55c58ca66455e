"""One step of a rollout: which group has the new content, and what the next one waits for. Pure.

The rules, worst first:

- `undo` gives all sites the former content back; `pause` holds what is, `resume` goes on;
- a change during a rollout replaces the one before it: it starts again from the first group, the
  last good content stays the one to go back to, and sites that the replaced change has reached
  already get the newer one with the first group, because no third content is kept;
- a change back to the former content ends a rollout at once;
- a group is ready when the asked share of the replicas with the new content is ready, at its own
  sites and at those of the groups before it, for as long as it is to soak;
- a group fails when so many replicas failed that the share cannot be reached, or when it is not
  ready by the deadline; if only silent sites are missing then, the rollout pauses, whatever
  `onFailure` says: silence proves nothing about the content;
- a group waits until each of its sites has room for the pods that a change runs beside the old
  ones (surge);
- where the former content is not known in full, only sites that have it keep it, and nothing gives
  it back.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec.structs import replace

from scheduler.model.decision import Decision, RolloutStep
from scheduler.model.formatters import format_list
from scheduler.model.kinds.rollout import RolloutPhase
from scheduler.model.rollout.question import RolloutQuestion, RolloutSite
from scheduler.placement.rollout.groups import Layout, lay_out

_MAX_LISTED = 4
_TOLERANCE = 1e-9
_CANNOT_UNDO = (
    "the former content cannot be given back, as it is not kept in full: apply the former manifests"
)


@dataclass(frozen=True, slots=True)
class _Situation:
    """What a step depends on: the question, the groups, and what is known of each site."""

    question: RolloutQuestion
    layout: Layout
    known: Mapping[str, RolloutSite]
    now: datetime
    lacks_room: Callable[[str, int], bool]

    def to_get_it(self, group: int) -> list[str]:
        """The sites of a group that have the former content."""
        return [
            site
            for site in self.layout.sites_of(group)
            if site not in self.known or self.known[site].former or self.question.starts
        ]

    def without_room(self, sites: Sequence[str]) -> list[str]:
        """Those of some sites that have no room for surge."""
        surges = {site: self.known[site].surge for site in sites if site in self.known}
        return [site for site, pods in surges.items() if pods and self.lacks_room(site, pods)]


@dataclass(frozen=True, slots=True)
class _Progress:
    """How the sites with the new content are: replicas by state, and the sites that lack."""

    total: int
    ready: int
    failed: tuple[str, ...]
    failed_replicas: int
    placing: tuple[str, ...]
    silent: tuple[str, ...]


def advance(
    question: RolloutQuestion,
    labels_by_site: Mapping[str, Mapping[str, str]],
    *,
    now: datetime,
    lacks_room: Callable[[str, int], bool],
) -> RolloutStep:
    """The next step of a rollout.

    Args:
        question: its rules, how far it is, and how its sites are.
        labels_by_site: the sites where the workload has replicas after the decision.
        now: the time of the decision.
        lacks_room: whether a site has no room for so many more pods of one replica each.
    """
    known = {one.site: one for one in question.sites}
    updated = {site for site, one in known.items() if not one.former and site in labels_by_site}
    layout = lay_out(question.rules.groups, labels_by_site, updated)
    count = len(layout.names)
    if question.is_back or not count or not labels_by_site:
        because = "the content is the former one again" if question.is_back else "nothing runs"
        return RolloutStep(phase="Complete", released=count, groups=count, because=because)
    phase, because = _phase_by_word(question)
    if phase == "RolledBack":
        return _rolled_back(layout, sorted(labels_by_site), because)
    released = 0 if question.starts or question.phase == "RolledBack" else question.released
    released = min(released, count)
    situation = _Situation(question, layout, known, now, lacks_room)
    if phase == "Progressing":
        return _go_on(situation, released)
    return _step(situation, phase, released, because=because)


def progress_of(sites: Sequence[RolloutSite]) -> _Progress:
    """How the sites with the new content are."""
    new = [one for one in sites if not one.former and one.replicas]
    names = {
        state: tuple(one.site for one in new if one.progress == state)
        for state in ("failed", "placing", "silent")
    }
    return _Progress(
        total=sum(one.replicas for one in new),
        ready=sum(one.replicas for one in new if one.progress == "ready"),
        failed_replicas=sum(one.replicas for one in new if one.progress == "failed"),
        **names,
    )


def is_ready(question: RolloutQuestion) -> bool:
    """Whether enough of the replicas with the new content are ready."""
    found = progress_of(question.sites)
    return found.ready >= question.rules.success_ready_ratio * found.total - _TOLERANCE


def waiting_for(question: RolloutQuestion, now: datetime) -> str:
    """What the released groups wait for, for people; "" when they are ready and have soaked."""
    if is_ready(question):
        until = soaked_at(question, now)
        return "" if until <= now else f"it soaks {question.rules.soak_seconds} s"
    found = progress_of(question.sites)
    texts = [
        f"{what} at {format_list(list(sites), _MAX_LISTED)}"
        for sites, what in (
            (found.failed, "failed"),
            (found.placing, "not ready"),
            (found.silent, "silence"),
        )
        if sites
    ]
    return "; ".join(texts)


def soaked_at(question: RolloutQuestion, now: datetime) -> datetime:
    """When the released groups have been ready for long enough, if they stay so."""
    since = question.ready_since or now
    return since + timedelta(seconds=question.rules.soak_seconds)


def fails_at(question: RolloutQuestion, now: datetime) -> datetime:
    """When the released groups have failed, if they are not ready by then."""
    since = question.since or now
    return since + timedelta(seconds=question.rules.progress_deadline_seconds)


def _phase_by_word(question: RolloutQuestion) -> tuple[RolloutPhase, str]:
    if question.word == "undo":
        if question.former_is_complete:
            return "RolledBack", "undone by kapok rollout undo"
        return "Paused", _CANNOT_UNDO
    if question.word == "pause":
        return "Paused", "paused by kapok rollout pause"
    if question.starts or question.word == "resume":
        return "Progressing", ""
    return question.phase, ""


def _go_on(situation: _Situation, released: int) -> RolloutStep:
    question, now = situation.question, situation.now
    if question.starts or not released or question.phase == "RolledBack":
        return _release(situation, released)
    if is_ready(question):
        if soaked_at(question, now) > now:
            return _step(situation, "Progressing", released)
        return _release(situation, released)
    found = progress_of(question.sites)
    may_fail = (1.0 - question.rules.success_ready_ratio) * found.total + _TOLERANCE
    has_failed = found.failed_replicas > may_fail
    is_late = fails_at(question, now) <= now and question.word != "resume"
    if not (has_failed or is_late):
        return _step(situation, "Progressing", released)
    seconds = question.rules.progress_deadline_seconds
    what = "failed" if has_failed else f"was not ready after {seconds} s"
    because = f"{situation.layout.names[released - 1]} {what}: {waiting_for(question, now)}"
    only_silent = not found.failed and not found.placing
    if question.rules.on_failure == "Rollback" and not only_silent:
        if question.former_is_complete:
            return _rolled_back(situation.layout, sorted(situation.layout.group_of), because)
        because += f"; {_CANNOT_UNDO}"
    return _step(situation, "Paused", released, because=because)


def _release(situation: _Situation, released: int) -> RolloutStep:
    """The next group that has sites with the former content gets the new one, if it has room."""
    names = situation.layout.names
    while released < len(names):
        sites = situation.to_get_it(released)
        full = format_list(situation.without_room(sites), _MAX_LISTED)
        if full:
            waits = f"{names[released]} waits for room to change its pods at {full}"
            return _step(situation, "Progressing", released, waits_for=waits)
        released += 1
        if sites:
            named = format_list(sites, _MAX_LISTED)
            soak = situation.question.rules.soak_seconds
            waits = f"waits for ready replicas at {named}" + (f" for {soak} s" if soak else "")
            because = f"new content for {named}"
            return _step(situation, "Progressing", released, because=because, waits_for=waits)
    return RolloutStep(
        phase="Complete",
        released=released,
        groups=released,
        group=names[-1],
        because="all sites have it and are ready",
    )


def _step(
    situation: _Situation,
    phase: RolloutPhase,
    released: int,
    *,
    because: str = "",
    waits_for: str = "",
) -> RolloutStep:
    keeps, names = situation.question.former_is_complete, situation.layout.names
    former = tuple(
        site
        for site, group in sorted(situation.layout.group_of.items())
        if group >= released and _may_keep(situation.known.get(site), keeps=keeps)
    )
    return RolloutStep(
        phase=phase,
        released=released,
        groups=len(names),
        group=names[released - 1] if released else "",
        former=former,
        because=because,
        waits_for=waits_for,
    )


def _may_keep(known: RolloutSite | None, *, keeps: bool) -> bool:
    """Whether a site of a later group has the former content: it runs it, or it can be made."""
    if known is None:
        return keeps
    return known.former


def _rolled_back(layout: Layout, sites: Sequence[str], because: str) -> RolloutStep:
    return RolloutStep(
        phase="RolledBack", groups=len(layout.names), former=tuple(sites), because=because
    )


def with_rollout(decision: Decision, step: RolloutStep | None) -> Decision:
    """The decision with the step of a rollout, which its line names."""
    if step is None:
        return decision
    return replace(decision, rollout=step, line=decision.line + format_step(step))


def format_step(step: RolloutStep) -> str:
    """A step of a rollout, to follow the rest of a line."""
    why = f": {step.because}" if step.because else ""
    if step.phase == "Complete":
        return f"; rollout complete{why}"
    if step.phase == "RolledBack":
        return f"; rolled back to the former content{why}"
    waits = f"; {step.waits_for}" if step.waits_for else ""
    if not step.released:  # no group has it: it was held, or there is no room
        return f"; rollout paused{why}" if step.phase == "Paused" else waits
    at = f"at {step.group} ({step.released} of {step.groups})"
    if step.phase == "Paused":
        return f"; rollout paused {at}{why}"
    return f"; rollout {at}{why}{waits}"
