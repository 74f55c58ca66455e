"""How long work of a queue runs, from what it ran before: for starts of work of unknown length.

Work that still runs has shown that it is longer than so far. Leaving it out would make lengths look
short, so the distribution is the product-limit estimate (Kaplan and Meier, 1958), which counts it
as long as it ran. A few lengths spread over what the queue admits stand in until there is more.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ASSUMED_LENGTHS = 6


@dataclass(frozen=True, slots=True, eq=False)
class RunLengths:
    """A distribution of lengths.

    Attributes:
        seconds: lengths, ascending; [lengths].
        shares: how likely each is, together 1; [lengths].
    """

    seconds: Floats
    shares: Floats


def run_lengths(
    seconds: Floats, ended: NDArray[np.bool_], *, admits: tuple[float, float]
) -> RunLengths:
    """The distribution of a queue's lengths.

    Args:
        seconds: how long each work ran so far, above 0; [works].
        ended: whether it has ended; [works].
        admits: the shortest and longest length that the queue is for.

    Raises:
        ValueError: a length is not above 0, or the limits are not in order.
    """
    shortest, longest = admits
    if not 0 < shortest < longest or not (seconds > 0).all():
        raise ValueError("lengths are above 0 s, and the shortest is below the longest")
    assumed = np.geomspace(shortest, longest, _ASSUMED_LENGTHS)
    lengths = np.concatenate([seconds, assumed])
    is_end = np.concatenate([ended, np.ones(_ASSUMED_LENGTHS, np.bool_)])
    order = np.lexsort((~is_end, lengths))  # of equal lengths those that ended come first
    lengths, is_end = lengths[order], is_end[order]
    at_risk = np.arange(len(lengths), 0, -1)
    survival = np.concatenate([[1.0], np.cumprod(1.0 - is_end / at_risk)])
    shares = survival[:-1] - survival[1:]
    counted = shares > 0
    return RunLengths(lengths[counted], shares[counted] / shares[counted].sum())


def tempered_cost(costs: Floats, lengths: RunLengths) -> Floats:
    """What each start costs, with few very long lengths not deciding alone; [starts].

    The cost of a length counts by the inverse root of the length. By the plain mean the longest
    lengths, of which least is known, decide; by the mean of the cost per second the shortest do.
    The sum is scaled so that it equals the plain mean where the cost per second is the same.

    Args:
        costs: of each start and length; [starts, lengths].
        lengths: their distribution.
    """
    roots = np.sqrt(lengths.seconds)
    scale = (lengths.shares @ lengths.seconds) / (lengths.shares @ roots)
    tempered: Floats = costs @ (lengths.shares / roots) * scale
    return tempered
