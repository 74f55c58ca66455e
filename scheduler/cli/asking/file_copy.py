"""A copy of the fleet from files, such as those of `kapok demo --export`."""

from collections.abc import Sequence
from datetime import datetime

from scheduler.cli.support.offline_input import (
    OfflineInputError,
    fleet_of,
    read_offline_input,
)
from scheduler.runtime.clock import SystemClock
from scheduler.whatif.fleet_copy import CopyObjects, FleetCopy, newest_report_of


def read_fleet_copy(names: Sequence[str], now: datetime | None) -> tuple[FleetCopy, list[str]]:
    """The copy that files describe, and notes on how it was read.

    Args:
        names: files, folders or - for stdin.
        now: the time of the decisions; None: that of the newest report in the files.

    Raises:
        OfflineInputError: a file cannot be read, or there is no Site in the files.
    """
    inputs = read_offline_input(names)
    if not inputs.sites:
        raise OfflineInputError(
            f"{', '.join(names)}: no Site and no WhatIf; name a file with a scenario, or the files "
            "of a fleet, such as those of kapok demo --export DIR"
        )
    facts = tuple(fleet_of(inputs).all_facts())
    notes = list(inputs.notes)
    at = now or newest_report_of(facts) or SystemClock().now()
    objects = CopyObjects(
        now=at,
        scheme=inputs.scheme,
        tenants=tuple(inputs.tenants) if inputs.has_tenancy else None,
        policies=tuple(inputs.policies),
        cluster_policies=tuple(inputs.cluster_policies),
        grants=tuple(inputs.grants),
    )
    return FleetCopy(objects=objects, facts=facts, workloads=tuple(inputs.workloads)), notes
