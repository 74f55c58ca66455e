"""A migration is never finished before its replacement is ready, in any order of events.

The status is the only state between two events, so a kill and a restart at any moment change
nothing: every state goes through the JSON that the hub would keep.
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
class WorkloadAndSites:
    """The status of one workload, and what its sites run.

    Attributes:
        status: as the hub keeps it.
        runs: replicas that are ready, by site.
        orders: (generation, replicas) that each site works by; it may lag behind the status.
        silent: sites that do not report.
        asked: number of replicas that the workload requests.
    """

    status: WorkloadStatus = field(default_factory=WorkloadStatus)
    runs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SITES, 0))
    orders: dict[str, tuple[int, int]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    asked: int = 0

    @property
    def shares(self) -> dict[str, SiteShare]:
        """Replicas by site, by the status."""
        return dict(shares_of(self.status))

    def views(self) -> dict[str, SiteView]:
        """The facts of each site."""
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

    def write_status(self, status: WorkloadStatus) -> None:
        """Writes the status, and reads it again as a new process would."""
        raw = {"metadata": {"name": "w", "namespace": "ns"}, "status": to_plain_json(status)}
        self.status = decode_as(raw, Workload).status

    def apply_order(self, site: str, ready: int) -> None:
        """A site applies its newest order; at most `ready` of its replicas are ready."""
        share = self.shares.get(site)
        if share is None:
            self.orders.pop(site, None)
            self.runs[site] = 0
        else:
            self.orders[site] = (share.generation, share.ordered)
            self.runs[site] = min(ready, share.ordered)

    def replicas_left(self, shares: dict[str, SiteShare]) -> int:
        """Replicas that still run once these shares are applied, before any new one is ready."""
        return sum(min(self.runs[s], shares[s].ordered) for s in SITES if s in shares)


counts = st.integers(0, 4)
events = st.one_of(
    st.tuples(
        st.just("decide"), st.tuples(counts, counts, counts), st.sets(st.sampled_from(SITES))
    ),
    st.tuples(st.just("apply"), st.sampled_from(SITES), st.integers(0, 12)),
    st.tuples(st.just("update"), st.none(), st.none()),
    st.tuples(st.just("silent"), st.sampled_from(SITES), st.booleans()),
    st.tuples(st.just("edit"), st.tuples(counts, counts, counts), st.none()),
)


def decide(model: WorkloadAndSites, counts: tuple[int, ...], ended: set[str], *, new: bool) -> None:
    before, views = model.shares, model.views()
    targets = {site: n for site, n in zip(SITES, counts, strict=True) if n and site not in ended}
    decision = Decision(
        workload="ns/w",
        phase="Placed",
        assignment=tuple(SiteAssignment(site=s, replicas=n) for s, n in targets.items()),
        ended=tuple(sorted(ended)),
        decided_at=START,
    )
    model.write_status(
        with_decision(
            model.status,
            decision,
            REFERENCE,
            is_new_content=new,
            known_sites=SITES,
            now=START,
            views=views,
        )
    )
    model.asked = sum(targets.values())
    after = model.shares
    assert {s: one.replicas for s, one in after.items() if one.replicas} == targets
    assert not after.keys() & ended - targets.keys(), "a share that ends at once is not kept"
    staying = {s: one for s, one in before.items() if s not in ended and s not in model.silent}
    awaited = {s for one in before.values() for s in one.replaced_by}
    of_old = sum(
        n if s in model.silent else max(0, n - min(model.runs[s], before[s].ordered))
        for s, n in targets.items()
        if s in before and n <= before[s].ordered and s not in awaited
    )
    wanted = min(model.replicas_left(staying), model.asked - of_old)
    assert model.replicas_left({s: one for s, one in after.items() if s in staying}) >= wanted


def update_health(model: WorkloadAndSites) -> None:
    before, views = model.shares, model.views()
    model.write_status(
        with_health(model.status, views, START + timedelta(seconds=1), wanted=model.asked)
    )
    for site, share in before.items():
        now = model.shares.get(site)
        if now is None or now.ordered < share.ordered:
            assert share.replaced_by, "a share without a replacement stays"
            for other in share.replaced_by:
                assert health_of(before[other], views[other]) == "running"
        assert now is None or now.replicas == share.replicas
    total = sum(one.replicas for one in model.shares.values())
    assert model.status.replicas == total
    if any(one.leaving for one in model.shares.values()):
        assert model.status.ready <= total


@given(st.lists(events, max_size=14))
@example(
    [
        ("decide", (4, 0, 0), set()),
        ("apply", "m1", 4),
        ("decide", (0, 4, 0), set()),
        ("update", None, None),
        ("decide", (0, 0, 4), {"m2"}),
        ("apply", "m3", 3),
        ("update", None, None),
        ("apply", "m3", 4),
        ("update", None, None),
    ]
)
@example(
    [
        ("decide", (1, 1, 0), set()),
        ("apply", "m2", 1),
        ("edit", (0, 1, 1), None),
        ("decide", (0, 0, 1), {"m1"}),
    ]
)
def test_a_migration_is_never_finished_before_its_replacement_runs(
    steps: list[tuple[str, object, object]],
) -> None:
    model = WorkloadAndSites()
    for what, first, second in steps:
        if what in ("decide", "edit"):
            ended = second if isinstance(second, set) else set()
            assert isinstance(first, tuple)
            decide(model, first, ended, new=what == "edit")
        elif what == "apply":
            assert isinstance(second, int)
            model.apply_order(str(first), second)
        elif what == "silent":
            (model.silent.add if second else model.silent.discard)(str(first))
        else:
            update_health(model)


def test_every_migration_ends_once_its_replacement_runs() -> None:
    model = WorkloadAndSites()
    for counts in ((4, 0, 0), (2, 2, 0), (0, 0, 4)):
        decide(model, counts, set(), new=False)
        for _ in range(3):
            for site in SITES:
                model.apply_order(site, 12)
            update_health(model)
        ran = {site: one.ordered for site, one in model.shares.items()}
        assert ran == {s: n for s, n in zip(SITES, counts, strict=True) if n}
        assert model.status.phase == "Running"
        assert model.runs == dict(zip(SITES, counts, strict=True))
