"""Decisions and placements agree after any sequence of changes, refusals and kills."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.control.ports.hub import NAMESPACE, SITES, ApiResource, Busy, Object
from scheduler.control.standards.names import CLUSTER_PROFILES, PLACEMENT_DECISIONS
from tests.support.counts import examples
from tests.support.fake_hub import FakeHub
from tests.support.standards_rig import StandardsRig

pytestmark = pytest.mark.timeout(120)

SITE_NAMES = ("m1", "m2", "m3")
WORKLOAD_NAMES = ("a", "a-0", "b")


class CuttingHub(FakeHub):
    """Cuts the connection at some of its writes, before or after the object is written."""

    cuts: list[str]

    def __init__(self) -> None:
        super().__init__()
        self.cuts = []

    async def apply(
        self,
        resource: ApiResource,
        body: Object,
        *,
        field_manager: str,
        force: bool = True,
        subresource: str | None = None,
    ) -> Object:
        cut = self.cuts.pop() if self.cuts else "none"
        if cut == "before":
            raise Busy("cut")
        after = await super().apply(
            resource, body, field_manager=field_manager, force=force, subresource=subresource
        )
        if cut == "after":
            raise Busy("cut")
        return after


STEPS = st.one_of(
    st.tuples(
        st.just("place"),
        st.sampled_from(WORKLOAD_NAMES),
        st.sets(st.sampled_from(SITE_NAMES)),
    ),
    st.tuples(st.just("remove"), st.sampled_from(WORKLOAD_NAMES)),
    st.tuples(st.just("add site"), st.sampled_from(SITE_NAMES)),
    st.tuples(st.just("drop site"), st.sampled_from(SITE_NAMES)),
    st.tuples(st.just("deleted by hand"), st.sampled_from(WORKLOAD_NAMES)),
    st.tuples(st.just("cut"), st.lists(st.sampled_from(("before", "after", "none")), max_size=3)),
    st.tuples(st.just("pass")),
    st.tuples(st.just("kill")),
)


@given(st.lists(STEPS, max_size=25))
@settings(max_examples=examples(60), deadline=None)
def test_decisions_and_placements_agree_after_any_changes_and_kills(
    steps: list[tuple[Any, ...]],
) -> None:
    asyncio.run(_check(steps))


async def _check(steps: list[tuple[Any, ...]]) -> None:
    rig = StandardsRig(hub=(hub := CuttingHub()))
    sites: set[str] = set()
    placed: dict[str, set[str]] = {}
    for word, *more in steps:
        if word == "place":
            placed[more[0]] = more[1]
            await rig.place(more[0], *sorted(more[1]))
        elif word == "remove" and placed.pop(more[0], None) is not None:
            await rig.remove_workload(more[0])
        elif word == "add site" and more[0] not in sites:
            sites.add(more[0])
            await rig.add_site(more[0])
        elif word == "drop site":
            sites.discard(more[0])
            await rig.hub.delete(SITES, more[0])
        elif word == "deleted by hand":
            await rig.hub.delete(PLACEMENT_DECISIONS, f"kapok-{more[0]}-0", "ns")
            await rig.hub.delete(CLUSTER_PROFILES, SITE_NAMES[0], NAMESPACE)
        elif word == "cut":
            hub.cuts = list(more[0])
        elif word == "kill":
            await rig.restart()
        elif word == "pass":
            await rig.write_due()
            await rig.clock.advance(3)
    hub.cuts = []
    await rig.clock.advance(700)  # what was cut or deleted by hand is found by then
    await rig.write_all()
    await rig.write_all()
    assert set(await rig.profiles()) == sites
    wanted = {name: sorted(at & sites) for name, at in placed.items()}
    assert await rig.decided() == {name: at for name, at in wanted.items() if at}
    assert rig.log_of_faults == []
