"""How many examples and seeds a test has: few in the gate, all of them in the soak.

The gate must be short on a slow machine, so it tries each property with some of the examples.
`make soak` runs the same tests with the profile `full` of Hypothesis, and the seeds beyond the
gate's. Machines are shared, so no example has a deadline: a hang is what pytest's timeout ends.
"""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings

GATE, FULL = "gate", "full"
GATE_SHARE = 4
"""One of so many examples is tried in the gate."""
FEWEST = 10
"""A property with so few examples has all of them in the gate."""
DEFAULT_EXAMPLES = 100
UNTIMED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}


def in_the_gate(full: int) -> int:
    """How many of a full count of examples the gate tries."""
    return min(full, max(FEWEST, full // GATE_SHARE))


def load_profiles() -> None:
    """Makes both profiles out of what Hypothesis has chosen for this machine; the gate's holds."""
    settings.register_profile(FULL, settings(), max_examples=DEFAULT_EXAMPLES, **UNTIMED)
    few = in_the_gate(DEFAULT_EXAMPLES)
    settings.register_profile(GATE, settings(), max_examples=few, **UNTIMED)
    settings.load_profile(GATE)


def examples(full: int) -> int:
    """For `max_examples` of a test with a count of its own: the share of the profile in use."""
    return full if settings.get_current_profile_name() == FULL else in_the_gate(full)


def seeds(full: int, *, gate: int) -> list[Any]:
    """For `parametrize`: the first seeds for the gate, the others only for the soak."""
    return [*range(gate), *(pytest.param(n, marks=pytest.mark.soak) for n in range(gate, full))]
