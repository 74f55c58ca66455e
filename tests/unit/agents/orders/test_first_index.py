"""An agent that knows no index acts on none that may be old: its broker may have rolled back.

The story: a job has run, its site loses its disks, and the broker is back with what it retained
before the job ended. The agent would run the job again.
"""

from pathlib import Path

import pytest

from agents.protocol.keys import SigningKey
from tests.unit.agents.orders import test_deltas as deltas
from tests.unit.agents.orders.test_intake import HUB, Site, order


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_retained_index_is_not_the_first(site: Site) -> None:
    one = order()
    site.hear(HUB.index(1, one), *HUB.orders(one), is_retained=True)
    assert (site.version, site.intake.echo) == (None, None)
    assert site.intake.missing_entries() == (), "no content is fetched for it"
    assert (site.wants, site.bad) == (["held back"], {}), "the hub sees no echo in a status"


def test_what_the_hub_publishes_then_counts(site: Site) -> None:
    old, new = order("old"), order("new")
    site.hear(HUB.index(1, old), is_retained=True)
    site.hear(HUB.index(2, new))
    assert site.version == (1, 2)
    assert not site.intake.is_holding_back
    site.hear(HUB.index(1, old), is_retained=True)
    assert (site.version, site.bad) == ((1, 2), {"stale": 1})


def test_the_same_index_counts_when_it_is_published_again(site: Site) -> None:
    site.hear(HUB.index(4), is_retained=True)
    site.hear(HUB.index(4))
    assert site.version == (1, 4)


def test_an_agent_that_knows_an_index_takes_retained_ones(site: Site) -> None:
    site.hear(HUB.index(1))
    site.hear(HUB.index(2), is_retained=True)
    assert site.version == (1, 2)
    site.restart()
    site.hear(HUB.index(3), is_retained=True)
    assert site.version == (1, 3)


def test_an_index_of_a_key_that_counts_no_more_is_no_floor(tmp_path: Path) -> None:
    Site(tmp_path).hear(HUB.index(9))
    site = Site(tmp_path, SigningKey.generate(), HUB.key)
    site.hear(HUB.index(10), is_retained=True)
    assert site.version == (1, 10), "its own key is trusted still"


def test_an_agent_that_applies_nothing_takes_a_retained_one(site: Site) -> None:
    site.intake.is_reporting_only = True
    site.hear(HUB.index(3), is_retained=True)
    assert site.version == (1, 3)


def test_retained_deltas_make_no_first_index(tmp_path: Path) -> None:
    site = deltas.Site(tmp_path)
    assert site.hear(deltas.BASE, deltas.FIRST, is_retained=True).runs == (0, "")
    assert site.hear(deltas.SECOND).runs == (3, "ac"), "a new delta completes a base of any age"


def test_a_base_that_is_new_makes_the_delta_that_waits_for_it_new(tmp_path: Path) -> None:
    site = deltas.Site(tmp_path).hear(deltas.FIRST, is_retained=True)
    assert site.runs == (0, "")
    assert site.hear(deltas.BASE).runs == (2, "abc")
