"""The table of workloads that is kept from state to state answers as a new one does."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from benchmarks._web_state import WebState
from scheduler.model.kinds.kinds import Tenant, Workload
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.tenant import TenantSpec
from scheduler.model.kinds.workload import (
    PlacementGroup,
    PlacementStatus,
    WorkloadSpec,
    WorkloadStatus,
)
from scheduler.model.words.sentence import json_bytes
from scheduler.web.answers.table import TableQuery, WorkloadTable
from scheduler.web.answers.table_rows import SORTS
from scheduler.web.snapshot import StateSnapshot
from tests.support.fake_clock import FakeClock

_EMPTY = WebState(FakeClock()).take_snapshot()
_KEYS = st.tuples(st.sampled_from(("a", "b")), st.sampled_from("pqrstu"))
_REASONS = st.dictionaries(st.sampled_from(("full", "too-far")), st.integers(1, 3), max_size=2)
_START = datetime(2026, 1, 1, tzinfo=UTC)


@st.composite
def _workloads(draw: st.DrawFn) -> Workload:
    namespace, name = draw(_KEYS)
    sites = tuple(draw(st.lists(st.sampled_from(("s1", "s2")), unique=True, max_size=2)))
    groups = (PlacementGroup(sites=sites, replicas=1, generation=1),) if sites else ()
    created = draw(st.none() | st.integers(0, 3))
    return Workload(
        metadata=Metadata(
            namespace=namespace,
            name=name,
            creation_timestamp=None if created is None else _START + timedelta(created),
        ),
        spec=WorkloadSpec(
            data_class=draw(st.sampled_from(("", "general-1", "general-3"))),
            priority=draw(st.integers(0, 2)),
        ),
        status=WorkloadStatus(
            phase=draw(st.sampled_from(("", "Running", "Waiting"))),
            ready=draw(st.integers(0, 2)),
            placement=PlacementStatus(generation=1, groups=groups),
        ),
    )


@st.composite
def _histories(draw: st.DrawFn) -> list[StateSnapshot]:
    """States in which some workloads are others, new or gone, as the hub's objects are kept."""
    kept: dict[tuple[str, str], Workload] = {}
    reasons: dict[tuple[str, str], dict[str, int]] = {}
    states = []
    for _ in range(draw(st.integers(1, 5))):
        for one in draw(st.lists(_workloads(), max_size=5)):
            kept[one.metadata.namespace, one.metadata.name] = one
        for key in draw(st.lists(_KEYS, max_size=2)):
            kept.pop(key, None)
        reasons |= draw(st.dictionaries(_KEYS, _REASONS, max_size=2))
        owner = draw(st.sampled_from(("police", "bureau")))
        tenant = Tenant(metadata=Metadata(name=owner), spec=TenantSpec(namespaces=("a",)))
        state = replace(
            _EMPTY,
            workloads=list(kept.values()),
            reasons_by_workload=dict(reasons),
            tenants=[tenant],
        )
        states.append(state)
    return states


_QUERIES = st.builds(
    TableQuery,
    words=st.sampled_from(((), ("p",), ("a/", "running"))),
    chosen=st.sampled_from(
        (
            {},
            {"phase": frozenset(("Running", "Pending"))},
            {"site": frozenset(("s1",)), "reason": frozenset(("-",))},
        )
    ),
    sort=st.sampled_from(sorted(SORTS)),
    descending=st.booleans(),
    offset=st.integers(0, 2),
    limit=st.integers(1, 8),
)


@given(
    states=_histories(),
    queries=st.lists(_QUERIES, min_size=1, max_size=3),
    visible=st.sampled_from((None, frozenset(("a",)))),
)
def test_a_kept_table_answers_as_a_new_one(
    states: list[StateSnapshot], queries: list[TableQuery], visible: frozenset[str] | None
) -> None:
    kept = WorkloadTable()
    for state in states:
        for query in queries:
            found = json_bytes(kept.answer(state, query, visible))
            assert found == json_bytes(WorkloadTable().answer(state, query, visible))


@given(states=_histories(), sort=st.sampled_from(sorted(SORTS)), descending=st.booleans())
def test_an_order_is_by_value_then_by_name_and_ends_with_what_is_unknown(
    states: list[StateSnapshot], sort: str, *, descending: bool
) -> None:
    table = WorkloadTable()
    table.answer(states[0], TableQuery(sort=sort), None)
    query = TableQuery(sort=sort, descending=descending)
    rows = table.answer(states[-1], query, None)["workloads"]
    found = [(row["namespace"], row["name"]) for row in map(json.loads, map(bytes, rows))]
    by_key = {(one.metadata.namespace, one.metadata.name): one for one in states[-1].workloads}
    assert sorted(found) == sorted(by_key)
    if sort in ("ready", "created"):
        values = [
            by_key[key].status.ready if sort == "ready" else by_key[key].metadata.creation_timestamp
            for key in found
        ]
        known = [one for one in values if one is not None]
        assert values[: len(known)] == known
        assert known == sorted(known, reverse=descending)
        for value in known:
            equal = [key for key, one in zip(found, values, strict=True) if one == value]
            assert equal == sorted(equal)


def test_an_unchanged_row_is_encoded_once_for_each_language() -> None:
    scene = WebState(FakeClock())
    scene.admit(2)
    scene.report_all()
    scene.place(3)
    table = WorkloadTable()
    first = table.answer(scene.take_snapshot(), TableQuery(), None)["workloads"]
    works = scene.sources.registry.workloads
    key = ("default", "work-00001")
    status = msgspec.structs.replace(works[key].status, phase="Degraded")
    works[key] = msgspec.structs.replace(works[key], status=status)
    second = table.answer(scene.take_snapshot(), TableQuery(), None)["workloads"]
    assert [one is other for one, other in zip(first, second, strict=True)] == [True, False, True]
    assert b'"Degraded"' in bytes(second[1])


def test_pages_and_orders_of_one_question_share_what_was_found() -> None:
    scene = WebState(FakeClock())
    scene.admit(2)
    scene.report_all()
    scene.place(30)
    table, snapshot = WorkloadTable(), scene.take_snapshot()

    def names(sort: str, offset: int, limit: int) -> list[str]:
        query = TableQuery(words=("work-0001",), sort=sort, offset=offset, limit=limit)
        found = table.answer(snapshot, query, None)
        assert found["matching"] == len(whole)
        return [json.loads(bytes(row))["name"] for row in found["workloads"]]

    whole = [f"work-{n:05}" for n in range(10, 20)]
    assert names("name", 0, 100) == names("name", 0, 4) + names("name", 4, 100) == whole
    assert names("name", 2, 3) == whole[2:5]
