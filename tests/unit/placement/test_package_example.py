"""The example in the description of `scheduler.placement` gives the answers that it shows."""

import doctest

from scheduler import placement


def test_the_example_runs() -> None:
    done = doctest.testmod(placement)
    assert done.attempted > 10
    assert done.failed == 0
