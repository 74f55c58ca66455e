"""The most replicas that pods in flight may cost at one site: the worst of all assignments.

A pod in flight is bound to one node, any on which it fits. The adversary chooses nodes for all of
them, or for some, so that least remains for the pods of one shape. With few pods and nodes the
search below tries every assignment: node by node, the most that can be lost with each number of
pods of each kind. It is exact. Beyond a limit of steps the least of three bounds counts. None is
ever too low, so what a site is said to take is never too much:

- by pods: a pod costs at most `max over r of ceil(q_r / asked_r)`, wherever it runs;
- by nodes: n pods are on at most n nodes, and cost no more than these take;
- by amounts: a node loses t replicas only if what runs there exceeds what it has beyond
  `cap - t + 1` replicas in some resource, and the amounts of all pods are shared by the nodes.

A pod that fits no node now, or for which room is reserved, may be bound to any node once something
ends there: it counts as if it takes what is left of one node.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_STATES = 32
"""The most combinations of pods in flight that are searched, with any number of each kind."""
MAX_STEPS = 2000
"""The most steps of the search; a step lets one node take one combination of pods."""


class ReplicaLoss(NamedTuple):
    """What pods in flight may cost.

    Attributes:
        replicas: the most replicas that lose their place.
        is_exact: whether some assignment costs as many.
    """

    replicas: int
    is_exact: bool


@dataclass(frozen=True, slots=True)
class NodeRow:
    """Equal nodes that a shape may run on.

    Attributes:
        count: how many.
        cap: how many replicas of the shape one takes now.
        free: free amounts, by resource.
        bindable: the amounts that the cluster's scheduler sees free there, by resource: with
            what Kapok keeps free as headroom.
    """

    count: int
    cap: int
    free: Floats
    bindable: Floats


@dataclass(frozen=True, slots=True)
class FlightRow:
    """Equal pods in flight.

    Attributes:
        count: how many.
        asked: what one asks, by resource.
        fits_anywhere: whether it counts on every node, see above.
        card_loss: the replicas that it may cost by its shares of GPU cards.
    """

    count: int
    asked: Floats
    fits_anywhere: bool
    card_loss: int = 0


def worst_loss(nodes: Sequence[NodeRow], flight: Sequence[FlightRow], shape: Floats) -> ReplicaLoss:
    """The most replicas of a shape that pods in flight may cost.

    Args:
        nodes: the nodes that take a replica.
        flight: the pods in flight.
        shape: what a replica asks, by resource; 0: nothing.
    """
    usable = [row for row in nodes if row.cap > 0 and row.count > 0]
    if not usable or not flight:
        return ReplicaLoss(0, is_exact=True)
    if is_beyond_search(flight):
        return ReplicaLoss(_bound(usable, flight, shape), is_exact=False)
    costly = _merged(
        replace(each, count=count)
        for each in flight
        if (count := _bindable_count(usable, each)) > 0 and _pod_loss(each, shape) > 0
    )
    found = _search(usable, costly, shape) if costly else 0
    if found is None:
        return ReplicaLoss(_bound(usable, flight, shape), is_exact=False)
    if any(each.card_loss for each in costly):  # which cards they take is not searched
        return ReplicaLoss(min(found, _bound(usable, flight, shape)), is_exact=False)
    return ReplicaLoss(found, is_exact=True)


def is_beyond_search(flight: Sequence[FlightRow]) -> bool:
    """Whether pods in flight have more combinations than are searched."""
    return prod(each.count + 1 for each in flight) > MAX_STATES


def _merged(flight: Iterable[FlightRow]) -> list[FlightRow]:
    """The rows with equal pods together, in the order in which they first occur."""
    merged: dict[object, FlightRow] = {}
    for each in flight:
        key = (each.asked.tobytes(), each.fits_anywhere, each.card_loss)
        before = merged.get(key)
        merged[key] = replace(each, count=each.count + (before.count if before else 0))
    return list(merged.values())


def _bindable_count(nodes: Sequence[NodeRow], each: FlightRow) -> int:
    """How many of equal pods in flight the nodes can take at most."""
    asks = each.asked > 0
    if each.fits_anywhere or not asks.any():
        return each.count
    most = 0
    for row in nodes:
        most += row.count * max(0, floor((row.bindable[asks] / each.asked[asks]).min()))
        if most >= each.count:
            return each.count
    return most


def _search(nodes: Sequence[NodeRow], flight: Sequence[FlightRow], shape: Floats) -> int | None:
    """The most replicas that any assignment costs; None: there are too many assignments."""
    sizes = tuple(each.count + 1 for each in flight)
    pods = sum(each.count for each in flight)
    numbers = np.indices(sizes, np.float64)  # of each kind of pod, by combination
    steps = 0
    most: Floats = np.zeros(sizes)  # with the nodes so far, by combination
    for row in nodes:
        losses = _losses_on_node(row, flight, shape, numbers)
        useful = _useful_combinations(losses)
        copies = min(row.count, pods)  # more equal nodes than pods stay empty
        steps += copies * len(useful)
        if steps > MAX_STEPS:
            return None
        for _ in range(copies):
            before = most
            most = before.copy()
            for taken, lost in useful:
                with_these = tuple(slice(number, None) for number in taken)
                without = tuple(
                    slice(0, size - number) for size, number in zip(sizes, taken, strict=True)
                )
                np.maximum(most[with_these], before[without] + lost, out=most[with_these])
    return int(most.max())


def _losses_on_node(
    row: NodeRow, flight: Sequence[FlightRow], shape: Floats, numbers: Floats
) -> Floats:
    """What one node loses to each combination of pods; -1: they do not all fit there."""
    asks = shape > 0
    load = _sums(numbers, [each.asked[asks] for each in flight])
    left = np.floor((row.free[asks] - load) / shape[asks])
    remains = left.min(axis=-1, initial=row.cap)
    losses: Floats = row.cap - np.maximum(remains, 0.0)
    by_cards = _sums(numbers, [np.array([float(each.card_loss)]) for each in flight])[..., 0]
    np.maximum(losses, np.minimum(by_cards, row.cap), out=losses)
    binding = _sums(numbers, [each.asked * (not each.fits_anywhere) for each in flight])
    # What no pod asks may be overcommitted.
    fits = ((binding <= row.bindable + _ROUNDING) | (binding == 0)).all(axis=-1)
    return np.where(fits, losses, -1.0)


def _sums(numbers: Floats, of_each: Sequence[Floats]) -> Floats:
    """What the pods of each combination ask for together, added in order as the kernel adds it."""
    total: Floats = np.zeros((*numbers.shape[1:], len(of_each[0])))
    for number, much in zip(numbers, of_each, strict=True):
        total += number[..., None] * much
    return total


_ROUNDING = 1e-6
"""What a sum of requests may exceed free amounts by: less than any unit, more than rounding."""


def _useful_combinations(losses: Floats) -> list[tuple[tuple[int, ...], float]]:
    """The combinations that cost more than each with one pod less, with their losses."""
    is_useful = losses > 0
    for axis in range(losses.ndim):
        begin = [slice(None)] * losses.ndim
        end = list(begin)
        begin[axis], end[axis] = slice(0, -1), slice(1, None)
        is_useful[tuple(end)] &= losses[tuple(end)] > losses[tuple(begin)]
    return [
        (tuple(int(number) for number in taken), float(losses[tuple(taken)]))
        for taken in np.argwhere(is_useful)
    ]


def _bound(nodes: Sequence[NodeRow], flight: Sequence[FlightRow], shape: Floats) -> int:
    """The least of the bounds that the module names."""
    largest = max(row.cap for row in nodes)
    by_pods = sum(each.count * min(_pod_loss(each, shape), largest) for each in flight)
    pods = left = sum(each.count for each in flight)
    by_nodes = 0
    for row in sorted(nodes, key=lambda each: -each.cap):
        by_nodes += min(row.count, left) * row.cap
        left -= min(row.count, left)
    return min(by_pods, by_nodes, _bound_by_amounts(nodes, flight, shape, pods))


def _pod_loss(each: FlightRow, shape: Floats) -> int:
    """The most replicas that one pod in flight costs, whatever node it runs on."""
    asks = shape > 0
    by_requests = max((each.asked[asks] / shape[asks]).tolist(), default=0.0)
    return max(ceil(by_requests), each.card_loss)


def _bound_by_amounts(
    nodes: Sequence[NodeRow], flight: Sequence[FlightRow], shape: Floats, pods: int
) -> int:
    """The most replicas lost if the pods' amounts could be divided among the nodes at will.

    With `u = max over r of q_r / asked_r` summed over the pods of a node, its first lost replica
    needs u of at least `min over r of (slack_r + 1) / asked_r`, each further one 1 more.
    """
    asks = shape > 0
    if not asks.any():
        return sum(each.count * each.card_loss for each in flight)
    asked = shape[asks]
    budget = 0.0
    for each in flight:  # not `sum`, which rounds otherwise in newer versions of Python
        budget += each.count * max(float((each.asked[asks] / asked).max()), each.card_loss)
    most_first = 1.0 if any(each.card_loss for each in flight) else 1e300
    firsts = sorted(
        (
            min(float(((row.free[asks] - row.cap * asked + 1.0) / asked).min()), most_first),
            row.count,
        )
        for row in nodes
    )
    touched = 0
    for first, count in firsts:
        if first > 1.0 and touched:  # a further replica of a node that lost some costs less
            break
        some = min(count, pods - touched, floor(budget / first + _ROUNDING))
        touched += some
        budget = max(0.0, budget - some * first)
    return touched + floor(budget + _ROUNDING)
