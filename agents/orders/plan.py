"""From what is desired and what is seen to what must be done. Pure.

Nothing is ever withdrawn because something was *not* heard: only the signed index withdraws, and
only objects that carry both our label and our annotation, and that no controller made.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agents.orders.applier import Applied
from agents.orders.inventory import Identity, Seen, View, identity
from agents.orders.readiness import Standing
from agents.protocol.index import IndexEntry
from agents.protocol.status import Finish, OrderStatus

_LONGEST_MESSAGE = 900


@dataclass(slots=True)
class Held:
    """What the agent holds of one order since its start.

    Attributes:
        digest: of the content that was applied last.
        generation: of that content.
        objects: that the content has.
        applied: what became of it.
        refusals: why it is not applied at all.
        retry_at: monotonic seconds; an order that failed is tried again then.
    """

    digest: str
    generation: int
    objects: int
    applied: Applied = field(default_factory=Applied)
    refusals: tuple[str, ...] = ()
    retry_at: float | None = None

    @property
    def identities(self) -> frozenset[Identity]:
        """Objects that belong to the order now."""
        return frozenset(self.applied.marks) | self.applied.ended


def must_apply(held: Held | None, entry: IndexEntry, view: View, now: float) -> bool:
    """Whether an order is to be applied now: new, changed, drifted, gone, or to be tried again."""
    if held is None or held.digest != entry.digest:
        return True
    if held.retry_at is not None:
        return now >= held.retry_at
    if held.refusals:
        return False
    return any(
        has_drifted(mark, view.objects.get(name))
        for name, mark in held.applied.marks.items()
        if name[:2] in view.visible
    )


def has_drifted(mark: tuple[str, str], seen: Seen | None) -> bool:
    """Whether an object is gone, another one, or asks for something else than was applied."""
    return seen is None or (not seen.is_leaving and (seen.uid, seen.mark) != mark)


def surplus(view: View, held: Mapping[str, Held], desired: frozenset[str]) -> list[Seen]:
    """Objects that are ours and that no order asks for any more.

    Args:
        view: what the member has.
        held: orders by token, those that were applied by this agent.
        desired: tokens of all orders that the index lists.
    """
    return [
        seen
        for seen in view.objects.values()
        if seen.order_id is not None and not seen.is_leaving and _is_surplus(seen, held, desired)
    ]


def _is_surplus(seen: Seen, held: Mapping[str, Held], desired: frozenset[str]) -> bool:
    if seen.token not in desired:
        return True
    order = held.get(seen.token)
    if order is None or not order.applied.is_whole or order.refusals or order.retry_at is not None:
        return False  # what replaces it is not there yet
    return identity(seen.key) not in order.identities


def refresh(held: Held, view: View) -> None:
    """Takes over how the order's objects stand now."""
    for name in held.applied.marks:
        seen = view.objects.get(name)
        if seen is not None:
            held.applied.standings[name] = seen.standing


def status_of(
    entry: IndexEntry, held: Held | None, *, bound: int | None, applied_generation: int | None
) -> OrderStatus:
    """What is reported of one listed order."""
    if held is None or held.digest != entry.digest:
        return OrderStatus(
            id=entry.id,
            generation=entry.generation,
            phase="Fetching",
            bound=bound,
            applied_generation=applied_generation,
        )
    standings = list(held.applied.standings.values())
    phase, message = _phase(held, standings)
    return OrderStatus(
        id=entry.id,
        generation=entry.generation,
        phase=phase,
        objects=held.objects,
        applied=len(held.identities),
        desired=_sum(each.desired for each in standings),
        ready=_sum(each.ready for each in standings),
        succeeded=_sum(each.succeeded for each in standings),
        bound=bound,
        finished=_finish(standings) if phase == "Finished" else None,
        applied_generation=applied_generation,
        message=message[:_LONGEST_MESSAGE] if message else None,
    )


def _phase(held: Held, standings: list[Standing]) -> tuple[str, str | None]:
    applied = held.applied
    if held.refusals:
        return "Refused", "; ".join(held.refusals)
    if applied.conflicts:
        return "Conflict", "; ".join(applied.conflicts + applied.errors)
    if applied.errors:
        return "Applying" if applied.may_pass else "Failed", "; ".join(applied.errors)
    message = next((each.message for each in standings if each.message), None)
    if _all_ended(applied, standings):
        return "Finished", message
    running = [each for each in standings if each.finished is None]
    return "Ready" if all(each.is_ready for each in running) else "Applied", message


def _all_ended(applied: Applied, standings: list[Standing]) -> bool:
    """Whether there was something that ends, and nothing that runs is left."""
    has_ended = bool(applied.ended) or any(each.finished for each in standings)
    return has_ended and all(
        each.finished is not None for each in standings if each.desired is not None
    )


def _finish(standings: list[Standing]) -> Finish | None:
    """How all jobs together ended; None if none was seen to end."""
    outcomes = {each.finished for each in standings if each.finished}
    if not outcomes:
        return None
    return "Failed" if "Failed" in outcomes else "Succeeded"


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None
