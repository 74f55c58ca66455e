"""What the process of a what-if reads and writes: one JSON value a line.

It reads a `WhatIfPlan`, then `plan.sites` lines of `SiteFacts`, then `plan.workloads` lines of
`Workload`. It writes lines of progress and, last, one with `answer`, `refused` or `failed`.
"""

import msgspec

from scheduler.whatif.fleet_copy import CopyObjects
from scheduler.whatif.questions import Question


class WhatIfPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A question, and what it is asked of besides sites and workloads.

    Attributes:
        question: what is asked.
        objects: the time, the terms and the smaller objects.
        sites: how many lines with facts follow.
        workloads: how many lines with workloads follow these.
        budget_seconds: the process ends itself after this time.
        memory_mebibytes: the most memory that it may have.
    """

    question: Question
    objects: CopyObjects
    sites: int
    workloads: int
    budget_seconds: float
    memory_mebibytes: int


class ProgressMessage(msgspec.Struct, frozen=True, kw_only=True):
    """How far the answer is.

    Attributes:
        what: what is done.
        done: how many of it.
        total: of how many.
    """

    what: str
    done: int
    total: int


def refused_line(text: str) -> bytes:
    """The last line of a question that makes no sense."""
    return msgspec.json.encode({"refused": text}) + b"\n"


def failed_line(text: str) -> bytes:
    """The last line of a question that could not be answered."""
    return msgspec.json.encode({"failed": text}) + b"\n"
