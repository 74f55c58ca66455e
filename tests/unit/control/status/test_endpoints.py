"""`status.endpoints`: what sites report, sorted, bounded, and not ready where a site is silent."""

from agents.member.addresses import Address, addresses_of
from scheduler.control.ports.agents import OrderEndpoint, OrderState
from scheduler.control.status.migration import SiteView
from scheduler.control.status.phase import with_endpoints
from scheduler.model.kinds.workload import Endpoint, WorkloadStatus


def view(*endpoints: OrderEndpoint, is_silent: bool = False) -> SiteView:
    state = OrderState(id="o", generation=1, phase="Ready", endpoints=endpoints)
    return SiteView(state=state, is_silent=is_silent)


def test_endpoints_are_sorted_by_site_and_address() -> None:
    views = {
        "m2": view(OrderEndpoint("10.0.0.2", 443, ready=True, host="a.example.org")),
        "m1": view(
            OrderEndpoint("10.0.0.9", 80, ready=True), OrderEndpoint("10.0.0.1", 80, ready=False)
        ),
    }
    found = with_endpoints(WorkloadStatus(), views, views).endpoints
    assert [(one.site, one.address, one.ready) for one in found] == [
        ("m1", "10.0.0.1", False),
        ("m1", "10.0.0.9", True),
        ("m2", "10.0.0.2", True),
    ]
    assert found[2].host == "a.example.org"


def test_a_silent_site_keeps_its_endpoint_which_is_not_ready() -> None:
    views = {"m1": view(OrderEndpoint("10.0.0.1", 80, ready=True), is_silent=True)}
    assert not with_endpoints(WorkloadStatus(), views, views).endpoints[0].ready


def test_what_is_too_many_is_counted() -> None:
    many = [OrderEndpoint("10.0.0.1", port, ready=True) for port in range(1, 71)]
    after = with_endpoints(WorkloadStatus(), ["m1"], {"m1": view(*many)})
    assert (len(after.endpoints), after.endpoints_left_out) == (64, 6)


def test_endpoints_of_a_site_that_was_left_go() -> None:
    before = WorkloadStatus(endpoints=(Endpoint(site="m1", address="10.0.0.1", port=80),))
    assert with_endpoints(before, (), {}).endpoints == ()
    empty = WorkloadStatus()
    assert with_endpoints(empty, ["m1"], {"m1": view()}) is empty


def test_only_what_the_cluster_has_given_is_an_address() -> None:
    service = {
        "kind": "Service",
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}, {"port": 0}, {"port": "x"}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.7"}, {"hostname": "lb.x"}, 7]}},
    }
    assert addresses_of(service) == (Address("198.51.100.7", 80), Address("lb.x", 80))
    assert addresses_of({**service, "spec": {"type": "ClusterIP", "ports": [{"port": 80}]}}) == ()
    assert addresses_of({**service, "status": {"loadBalancer": None}}) == ()


def test_an_ingress_serves_its_hosts_with_and_without_tls() -> None:
    ingress = {
        "kind": "Ingress",
        "spec": {
            "rules": [{"host": "a.example.org"}, {"host": "b.example.org"}],
            "tls": [{"hosts": ["a.example.org", 3]}, {"hosts": None}],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.7"}]}},
    }
    assert addresses_of(ingress) == (
        Address("198.51.100.7", 80, "b.example.org"),
        Address("198.51.100.7", 443, "a.example.org"),
    )
