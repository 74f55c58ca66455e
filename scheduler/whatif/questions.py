"""What can be asked of a copy of the fleet, as values that can be sent to another process."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from scheduler.model.drills.drill import DEFAULT_DRILL_SECONDS, MAX_DRILL_SECONDS
from scheduler.whatif.answer import ask
from scheduler.whatif.capacity import ask_capacity
from scheduler.whatif.demands import Progress
from scheduler.whatif.fleet_copy import FleetCopy
from scheduler.whatif.scenario.changes import Changes, LoseSites
from scheduler.whatif.shape import AskedShape
from scheduler.whatif.survival.answer import ask_survival
from scheduler.whatif.survival.drill import ask_drill
from scheduler.whatif.survival.losses import MAX_NAMED_LOSSES
from scheduler.whatif.survival.touched import MAX_KNOWN, KnownLoss


class WhatIfQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="whatif"):
    """What a scenario would do."""

    changes: Changes


class CapacityQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="capacity"):
    """What still fits where of a shape, and what to buy next."""

    shape: AskedShape = AskedShape()


class SurvivalQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="survive"):
    """Which losses can be survived.

    Attributes:
        losses: each alone; empty: every site.
        with_plans: the answer holds the plan of each loss that is survived, and its sites.
        known: losses that were survived, with digests; those that nothing has touched since are
            not proved again.
    """

    losses: Annotated[tuple[LoseSites, ...], Meta(max_length=MAX_NAMED_LOSSES)] = ()
    with_plans: bool = False
    known: Annotated[tuple[KnownLoss, ...], Meta(max_length=MAX_KNOWN)] = ()


class DrillQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="drill"):
    """What a drill would do.

    Attributes:
        site: what would be treated as lost.
        seconds: for how long.
    """

    site: Annotated[str, Meta(max_length=253)]
    seconds: Annotated[float, Meta(gt=0, le=MAX_DRILL_SECONDS)] = DEFAULT_DRILL_SECONDS


Question = WhatIfQuestion | CapacityQuestion | SurvivalQuestion | DrillQuestion


def answer_question(question: Question, copy: FleetCopy, progress: Progress) -> dict[str, Any]:
    """The answer, in the JSON form of the command.

    Args:
        question: what is asked.
        copy: the fleet; it stays as it is.
        progress: shows how far the answer is.

    Raises:
        ScenarioError: the question names what does not exist.
        NotAQuantity: an amount cannot be read.
    """
    if isinstance(question, CapacityQuestion):
        return ask_capacity(copy, question.shape, progress)
    if isinstance(question, SurvivalQuestion):
        return ask_survival(
            copy,
            question.losses,
            progress,
            with_plans=question.with_plans,
            known=question.known,
        )
    if isinstance(question, DrillQuestion):
        return ask_drill(copy, question.site, question.seconds, progress)
    return ask(copy, question.changes, progress)
