"""A move is never finished before its replacement runs, in any order of events.

The status is all that is remembered between two events, so that a kill and a restart at any moment
are the same as none: every state goes through the JSON that the hub would keep.
"""

from dataclasses import dataclass, field
from datetime import timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from scheduler.control.ports.agents import OrderState
from scheduler.control.status.migration import SiteShare, SiteView, health_of
from scheduler.control.status.workload import shares_of, with_decision, with_health
from scheduler.model.canonical import to_plain_json
from scheduler.model.decision import Decision, SiteAssignment
from scheduler.model.decode import decode_as
from scheduler.model.kinds.kinds import Workload
from scheduler.model.kinds.workload import DecisionReference, WorkloadStatus
from tests.support.fake_clock import START

SITES = ("m1", "m2", "m3")
REFERENCE = DecisionReference(id="1-1", hash="sha256:0", line="-")


@dataclass(slots=True)
class World:
    """One workload, and what its sites do.

    Attributes:
        status: as the hub keeps it.
        runs: replicas that are ready, by site.
        orders: (generation, replicas) that each site works by; it may lag behind the status.
        silent: sites that say nothing.
        asked: replicas.
    """

    status: WorkloadStatus = field(default_factory=WorkloadStatus)
    runs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SITES, 0))
    orders: dict[str, tuple[int, int]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    asked: int = 0

    @property
    def shares(self) -> dict[str, SiteShare]:
        """What the status says."""
        return shares_of(self.status)

    def views(self) -> dict[str, SiteView]:
        """What is known of each site."""
        return {site: self._view(site) for site in SITES}

    def _view(self, site: str) -> SiteView:
        if site not in self.orders:
            return SiteView(None, is_silent=site in self.silent)
        generation, replicas = self.orders[site]
        ready = self.runs[site]
        state = OrderState(
            id="x",
            generation=generation,
            applied_generation=generation,
            phase="Ready" if ready >= replicas else "Applied",
            ready=ready,
            bound=replicas,
        )
        return SiteView(state, is_silent=site in self.silent)

    def take(self, status: WorkloadStatus) -> None:
        """The status is written, and read again by whoever lives then."""
        raw = {"metadata": {"name": "w", "namespace": "ns"}, "status": to_plain_json(status)}
        self.status = decode_as(raw, Workload).status

    def obey(self, site: str, ready: int) -> None:
        """A site takes its newest order, and so many of it are ready."""
        share = self.shares.get(site)
        if share is None:
            self.orders.pop(site, None)
            self.runs[site] = 0
        else:
            self.orders[site] = (share.generation, share.ordered)
            self.runs[site] = min(ready, share.ordered)

    def left(self, shares: dict[str, SiteShare]) -> int:
        """What still runs once these shares are obeyed and nothing new is up."""
        return sum(min(self.runs[s], shares[s].ordered) for s in SITES if s in shares)


counts = st.integers(0, 4)
events = st.one_of(
    st.tuples(
        st.just("decide"), st.tuples(counts, counts, counts), st.sets(st.sampled_from(SITES))
    ),
    st.tuples(st.just("obey"), st.sampled_from(SITES), st.integers(0, 12)),
    st.tuples(st.just("look"), st.none(), st.none()),
    st.tuples(st.just("silent"), st.sampled_from(SITES), st.booleans()),
    st.tuples(st.just("edit"), st.tuples(counts, counts, counts), st.none()),
)


def decide(world: World, counts: tuple[int, ...], ended: set[str], *, new: bool) -> None:
    before, views = world.shares, world.views()
    targets = {site: n for site, n in zip(SITES, counts, strict=True) if n and site not in ended}
    decision = Decision(
        workload="ns/w",
        phase="Placed",
        assignment=tuple(SiteAssignment(site=s, replicas=n) for s, n in targets.items()),
        ended=tuple(sorted(ended)),
        decided_at=START,
    )
    world.take(
        with_decision(
            world.status,
            decision,
            REFERENCE,
            is_new_content=new,
            known_sites=SITES,
            now=START,
            views=views,
        )
    )
    world.asked = sum(targets.values())
    after = world.shares
    assert {s: one.replicas for s, one in after.items() if one.replicas} == targets
    assert not after.keys() & ended - targets.keys(), "what ends at once is not kept"
    staying = {s: one for s, one in before.items() if s not in ended and s not in world.silent}
    awaited = {s for one in before.values() for s in one.replaced_by}
    of_old = sum(
        n if s in world.silent else max(0, n - min(world.runs[s], before[s].ordered))
        for s, n in targets.items()
        if s in before and n <= before[s].ordered and s not in awaited
    )
    wanted = min(world.left(staying), world.asked - of_old)
    assert world.left({s: one for s, one in after.items() if s in staying}) >= wanted


def look(world: World) -> None:
    before, views = world.shares, world.views()
    world.take(with_health(world.status, views, START + timedelta(seconds=1), wanted=world.asked))
    for site, share in before.items():
        now = world.shares.get(site)
        if now is None or now.ordered < share.ordered:
            assert share.replaced_by, "what nothing replaces stays"
            for other in share.replaced_by:
                assert health_of(before[other], views[other]) == "running"
        assert now is None or now.replicas == share.replicas
    total = sum(one.replicas for one in world.shares.values())
    assert world.status.replicas == total
    if any(one.leaving for one in world.shares.values()):
        assert world.status.ready <= total


@given(st.lists(events, max_size=14))
@example(
    [
        ("decide", (4, 0, 0), set()),
        ("obey", "m1", 4),
        ("decide", (0, 4, 0), set()),
        ("look", None, None),
        ("decide", (0, 0, 4), {"m2"}),
        ("obey", "m3", 3),
        ("look", None, None),
        ("obey", "m3", 4),
        ("look", None, None),
    ]
)
@example(
    [
        ("decide", (1, 1, 0), set()),
        ("obey", "m2", 1),
        ("edit", (0, 1, 1), None),
        ("decide", (0, 0, 1), {"m1"}),
    ]
)
def test_a_move_is_never_finished_before_its_replacement_runs(
    story: list[tuple[str, object, object]],
) -> None:
    world = World()
    for what, first, second in story:
        if what in ("decide", "edit"):
            ended = second if isinstance(second, set) else set()
            assert isinstance(first, tuple)
            decide(world, first, ended, new=what == "edit")
        elif what == "obey":
            assert isinstance(second, int)
            world.obey(str(first), second)
        elif what == "silent":
            (world.silent.add if second else world.silent.discard)(str(first))
        else:
            look(world)


def test_every_move_ends_once_its_replacement_runs() -> None:
    world = World()
    for counts in ((4, 0, 0), (2, 2, 0), (0, 0, 4)):
        decide(world, counts, set(), new=False)
        for _ in range(3):
            for site in SITES:
                world.obey(site, 12)
            look(world)
        ran = {site: one.ordered for site, one in world.shares.items()}
        assert ran == {s: n for s, n in zip(SITES, counts, strict=True) if n}
        assert world.status.phase == "Running"
        assert world.runs == dict(zip(SITES, counts, strict=True))
