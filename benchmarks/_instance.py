"""Reads an instance of a batch from a file; an error names the entry and what to write."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from scheduler.model.quantities import NotAQuantity, free_amount, requests_of
from scheduler.placement.batch.instance import BatchInstance

Amounts = dict[str, int | float | str]


class BatchSite(msgspec.Struct, frozen=True):
    """A site and its free capacity."""

    name: str
    free: Amounts


class BatchWorkload(msgspec.Struct, frozen=True):
    """A workload: value of a replica in CNY, and its cost by site; null: forbidden there."""

    name: str
    requests: Amounts
    value: float
    cost: list[float | None]
    replicas: Annotated[int, Meta(ge=0, le=1_000_000)] = 1


class BatchFile(msgspec.Struct, frozen=True):
    """The whole file."""

    sites: Annotated[list[BatchSite], Meta(min_length=1)]
    workloads: Annotated[list[BatchWorkload], Meta(min_length=1)]


def read_batch_file(path: Path) -> BatchFile:
    """Reads and checks a file.

    Raises:
        ValueError: the file is invalid; the message names the place.
    """
    try:
        found = msgspec.json.decode(path.read_bytes(), type=BatchFile)
    except (OSError, msgspec.DecodeError) as error:
        raise ValueError(f"{path}: {error}") from error
    _check_unique("sites", [each.name for each in found.sites])
    _check_unique("workloads", [each.name for each in found.workloads])
    for each in found.workloads:
        if len(each.cost) != len(found.sites):
            raise ValueError(
                f"workload {each.name}: cost has {len(each.cost)} entries for "
                f"{len(found.sites)} sites; write one for each, null where it is forbidden"
            )
        if not all(isfinite(figure) for figure in (each.value, *_known(each.cost))):
            raise ValueError(f"workload {each.name}: value and cost must be finite numbers")
    return found


def _known(costs: Iterable[float | None]) -> list[float]:
    return [cost for cost in costs if cost is not None]


def _check_unique(what: str, names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{what}: duplicate name {twice}")


def _parse_amounts(
    reader: Callable[[Mapping[str, float | str]], dict[str, int]], title: str, amounts: Amounts
) -> dict[str, int]:
    try:
        return reader(amounts)
    except NotAQuantity as error:
        raise ValueError(f"{title}: {error}") from error


def _free_of(written: Mapping[str, float | str]) -> dict[str, int]:
    return {name: free_amount(name, value) for name, value in written.items()}


def instance_of(found: BatchFile) -> BatchInstance:
    """The arrays of an instance.

    Raises:
        ValueError: a quantity cannot be read.
    """
    frees = [_parse_amounts(_free_of, f"site {each.name}", each.free) for each in found.sites]
    asked = [
        _parse_amounts(requests_of, f"workload {each.name}", each.requests)
        for each in found.workloads
    ]
    names = sorted({name for each in asked for name in each}) or ["cpu"]
    return BatchInstance(
        free=np.array([[each.get(name, 0) for name in names] for each in frees], np.float64),
        requests=np.array([[each.get(name, 0) for name in names] for each in asked], np.float64),
        replicas=np.array([each.replicas for each in found.workloads], np.int64),
        profit=np.array(
            [
                [-np.inf if cost is None else each.value - cost for cost in each.cost]
                for each in found.workloads
            ],
            np.float64,
        ),
    )
