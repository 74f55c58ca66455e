"""Which pairs of workload and site a solver looks at.

Where costs differ by site alone, all workloads rank sites alike, and the best few pairs of each are
pairs of the same few sites: a program over these knows nothing of the others. So some pairs of each
workload are spread evenly over all sites.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_WORKLOAD_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_SITE_FACTOR = np.uint64(0xC2B2AE3D27D4EB4F)
_MIX_FACTOR = np.uint64(0xBF58476D1CE4E5B9)
_MANTISSA_SHIFT = np.uint64(11)
_MANTISSA_VALUES = 2.0**53


def spread_numbers(workloads: int, sites: int) -> Floats:
    """A number in [0, 1) for each pair, as evenly spread as random ones; [workloads, sites].

    It follows from the two indices alone (the mixing step of SplitMix64: Steele, Lea, Flood, Fast
    splittable pseudorandom number generators, 2014), so the same batch has the same numbers.
    """
    rows = np.arange(workloads, dtype=np.uint64)[:, None] * _WORKLOAD_FACTOR
    mixed = rows + np.arange(sites, dtype=np.uint64)[None, :] * _SITE_FACTOR
    mixed ^= mixed >> np.uint64(29)
    mixed *= _MIX_FACTOR
    mixed ^= mixed >> np.uint64(32)
    return (mixed >> _MANTISSA_SHIFT).astype(np.float64) / _MANTISSA_VALUES


def best_pairs(score: Floats, count: int) -> Bools:
    """The sites of the highest score of each workload, of those above -inf; [workloads, sites]."""
    kept = min(count, score.shape[1])
    order = np.argpartition(-score, kept - 1, axis=1)[:, :kept]  # the best, in no order
    chosen = np.zeros(score.shape, np.bool_)
    np.put_along_axis(chosen, order, values=True, axis=1)
    return chosen & (score > -np.inf)
