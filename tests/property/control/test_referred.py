"""Whatever comes in whatever order, a site has an object exactly while an order there needs it."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from scheduler.control.orders.referred import ReferredContent
from scheduler.control.orders.referred_ids import ReferredObject, pack_referred, referred_order_id
from scheduler.control.ports.agents import OrderForSite
from tests.support.control_loops import ControlLoops
from tests.support.sites import nodes, site

SITES = ("m1", "m2", "m3")
OBJECTS = tuple(ReferredObject("ConfigMap", "ns", f"c{n}") for n in range(3))
WORKLOADS = tuple(("ns", f"w{n}") for n in range(3))

needs = st.frozensets(st.sampled_from(OBJECTS))
orders = st.dictionaries(st.sampled_from(SITES), needs)
events = st.lists(
    st.one_of(
        st.tuples(st.just("orders"), st.sampled_from(WORKLOADS), orders),
        st.tuples(st.just("found"), st.sampled_from(OBJECTS), st.integers(0, 3)),
        st.tuples(st.just("gone"), st.sampled_from(OBJECTS), st.just(0)),
    ),
    max_size=24,
)


def order_of(key: tuple[str, str], needed: frozenset[ReferredObject]) -> OrderForSite:
    ids = tuple(sorted(referred_order_id("hub", one) for one in needed))
    return OrderForSite(
        id=f"hub/ns/{key[1]}/1", generation=1, namespace="ns", name=key[1], manifests=(), needs=ids
    )


@given(events)
def test_an_object_is_at_a_site_exactly_while_an_order_there_needs_it(
    steps: list[tuple[str, object, object]],
) -> None:
    loops = ControlLoops()
    for name in SITES:
        loops.dispatcher.admit(name, str(site(name, nodes(1))["metadata"]["name"]))
    planned: dict[tuple[str, str], Mapping[str, frozenset[ReferredObject]]] = {}
    present: set[tuple[str, ReferredObject]] = set()
    contents: dict[ReferredObject, int | None] = {}
    referred = loops.term.referred
    for what, subject, detail in steps:
        if what == "orders":
            assert isinstance(subject, tuple)
            assert isinstance(detail, dict)
            planned[subject] = detail
            made = {name: order_of(subject, needed) for name, needed in detail.items()}
            loops.dispatcher.set_orders(subject, made)
        else:
            assert isinstance(subject, ReferredObject)
            value = int(str(detail)) if what == "found" else None
            referred._take(subject, _content(subject, value))  # noqa: SLF001 - a read has ended
            contents[subject] = value
        users = {
            (name, one)
            for sites in planned.values()
            for name, needed in sites.items()
            for one in needed
        }
        # What nothing needs is forgotten; what is gone at the hub stays where it is and needed.
        contents = {one: value for one, value in contents.items() if one in {o for _, o in users}}
        present = {each for each in users if contents.get(each[1]) is not None or each in present}
        for name in SITES:
            for one in OBJECTS:
                order = loops.dispatcher.order_at(name, referred_order_id("hub", one))
                assert (order is not None) is ((name, one) in present)
                value = contents.get(one)
                if order is not None and value is not None:
                    assert order.manifests[0]["data"] == {"v": str(value)}


def _content(one: ReferredObject, value: int | None) -> ReferredContent:
    if value is None:
        return ReferredContent()
    metadata = {"name": one.name}
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {"v": str(value)},
    }
    return ReferredContent(packed=pack_referred(body))
