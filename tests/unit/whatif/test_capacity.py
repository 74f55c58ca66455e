"""What still fits where, exact by node, and what to buy next for what waits."""

from typing import Any

import msgspec
import pytest

from scheduler.cli.entry import main
from scheduler.whatif.capacity import MOST_REPLICAS, ask_capacity
from scheduler.whatif.scenario.changes import ScenarioError
from scheduler.whatif.shape import AskedShape
from tests.support.sites import Raw, facts_of, grant, nodes, site, tenant_of_ns, workload
from tests.support.whatifs import copy_of, what_if


def fits(*raw: Raw, **shape: Any) -> dict[str, int]:  # noqa: ANN401 - fields of a shape
    answer = ask_capacity(copy_of(*raw), AskedShape(**shape))
    return {one["name"]: one["replicas"] for one in answer["sites"]}


def refusals(*raw: Raw, **shape: Any) -> dict[str, str]:  # noqa: ANN401 - fields of a shape
    answer = ask_capacity(copy_of(*raw), AskedShape(**shape))
    return {
        one["name"]: one["firstRefusal"]["reason"] for one in answer["sites"] if not one["replicas"]
    }


def test_capacity_is_counted_node_by_node() -> None:
    city = (site("m1", nodes(4, cpu="4", memory="64Gi")), site("m2", nodes(1, cpu="9")))
    assert fits(*city, requests={"cpu": "3"}) == {"m1": 4, "m2": 3}
    assert fits(*city, requests={"cpu": "5"}) == {"m1": 0, "m2": 1}
    assert refusals(*city, requests={"cpu": "5"}) == {"m1": "fragmented"}
    assert refusals(*city, requests={"cpu": "50"}) == {"m1": "full", "m2": "full"}
    answer = ask_capacity(copy_of(*city), AskedShape(requests={"nvidia.com/gpu": "1"}))
    assert answer["sites"][0]["firstRefusal"] == {
        "reason": "full",
        "sentence": "no node of m1 has 1 of nvidia.com/gpu free; the most is 0",
    }
    assert answer["shape"]["requests"] == {"nvidia.com/gpu": "1"}


def test_thousands_of_replicas_are_counted_and_no_more_than_a_million() -> None:
    assert fits(site("m1", nodes(20_000, cpu="4", pods=110)), requests={"cpu": "500m"}) == {
        "m1": 160_000
    }
    many = nodes(1_000_000, cpu="100", pods=110)
    assert fits(site("m1", many), requests={"cpu": "1"}) == {"m1": MOST_REPLICAS}


def test_rules_come_before_capacity_and_are_named() -> None:
    city = (
        site("m1", nodes(4)),
        site("m2", nodes(4), spec={"cordon": True}),
        site("m3", nodes(4)),
        grant("m1", "m2"),
    )
    assert refusals(*city, requests={"cpu": "1"}) == {"m2": "cordoned", "m3": "not-allowed"}
    assert refusals(*city, requests={"cpu": "1"}, data_class="important")["m1"] == "data-class"
    assert (
        refusals(*city, requests={"cpu": "1"}, platforms=("linux/arm64",))["m1"] == "architecture"
    )


def test_a_tenant_limits_what_fits_in_its_namespace() -> None:
    city = (site("m1", nodes(4)), tenant_of_ns(classes=["general-2"]))
    assert fits(*city, requests={"cpu": "1"}) == {"m1": 4}
    assert refusals(*city, requests={"cpu": "1"}, namespace="ns") == {"m1": "data-class"}
    with pytest.raises(ScenarioError, match="no Tenant lists namespace other"):
        fits(*city, requests={"cpu": "1"}, namespace="other")


def test_a_pod_of_a_file_is_a_shape_too() -> None:
    container = {"name": "main", "image": "a:1", "resources": {"requests": {"cpu": "2"}}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [container], "nodeSelector": {"disk": "ssd"}},
    }
    plain, fast = nodes(2, cpu="4"), {**nodes(3, cpu="4"), "labels": {"disk": "ssd"}}
    assert fits(site("m1", plain, fast), manifests=(pod,)) == {"m1": 6}
    with pytest.raises(ScenarioError, match="no pod"):
        fits(
            site("m1", plain),
            manifests=({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}},),
        )


def test_what_to_buy_is_what_the_waiting_work_lacks_and_the_engine_confirms_it() -> None:
    copy = copy_of(
        site("m1", nodes(2)),
        site("m2", nodes(1)),
        grant("m1"),
        workload(2, name="runs", placed={"m1": 1}),
        workload(5, name="waits"),
    )
    answer = ask_capacity(copy, AskedShape(requests={"cpu": "1"}))
    assert [one["workload"] for one in answer["stuck"]] == ["ns/waits"]
    first = answer["buyNext"][0]
    assert (first["site"], first["resource"]) == ("m1", "cpu")
    assert first["cnyPerUnitHour"] > 0
    assert (first["amount"], first["unit"]) == (5.0, "core")
    assert (first["waiting"], first["places"]) == (1, 1)
    # Nothing is bought where the rules refuse the work.
    assert {one["site"] for one in answer["buyNext"]} == {"m1"}


def test_where_no_node_is_large_enough_nodes_are_to_be_bought() -> None:
    copy = copy_of(site("m1", nodes(8, cpu="2")), workload(2, name="big", requests={"cpu": "3"}))
    answer = ask_capacity(copy, AskedShape())
    row = answer["buyNext"][-1]
    assert (row["resource"], row["amount"], row["cnyPerUnitHour"]) == ("node", 2, None)
    assert row["node"]["cpu"] == "3"
    assert row["verified"]


def test_nodes_of_a_kind_that_takes_the_work_are_to_be_bought() -> None:
    kept_off = {**nodes(8, cpu="2"), "taints": [{"key": "own", "effect": "NoSchedule"}]}
    copy = copy_of(
        site("m1", kept_off, nodes(1, cpu="2")), workload(2, name="big", requests={"cpu": "3"})
    )
    answer = ask_capacity(copy, AskedShape())
    assert [one["places"] for one in answer["buyNext"]] == [1]
    assert answer["noPurchase"] is None


def test_a_purchase_that_places_nothing_is_no_advice() -> None:
    rooms = [{**nodes(1, cpu="2"), "labels": {"room": f"r{number}"}} for number in range(9)]
    wanted = {"requests": {"cpu": "2"}, "nodeSelector": {"room": "r8"}}
    copy = copy_of(site("m1", *rooms), workload(2, name="big", demand=wanted))
    answer = ask_capacity(copy, AskedShape())
    assert answer["buyNext"] == []
    # So many kinds of nodes are tried, and none of them has what the pods select.
    left = answer["noPurchase"]
    assert (left["workloads"], left["waiting"]) == (["ns/big"], 1)
    assert left["tried"] >= 4


def test_nothing_is_to_be_bought_when_nothing_waits_for_capacity() -> None:
    copy = copy_of(site("m1", nodes(2)), workload(1, name="no", dataClass="core"))
    answer = ask_capacity(copy, AskedShape())
    assert answer["buyNext"] == []
    assert [one["workload"] for one in answer["stuck"]] == ["ns/no"]


def test_what_is_in_flight_takes_room_and_the_copy_stays_as_it_is() -> None:
    copy = copy_of(site("m1", nodes(4)), workload(3, name="new"))
    assert what_if(copy, "load 1")["starts"] == []
    # The shape is asked before what waits is placed: it says what is free now.
    answer = ask_capacity(copy, AskedShape(requests={"cpu": "1"}))
    assert answer["replicas"] == 4
    assert answer["buyNext"] == []


def test_a_site_that_has_not_reported_is_named() -> None:
    silent = site("m1", nodes(4))
    del silent["status"]["observedAt"]
    copy = copy_of(site("m2", nodes(1))).with_facts([facts_of(silent, grant("m1"))])
    answer = ask_capacity(copy, AskedShape(requests={"cpu": "1"}))
    assert {one["name"]: one["replicas"] for one in answer["sites"]} == {"m1": 0, "m2": 1}
    assert "1 sites have not reported" in answer["notes"][0]


def test_a_site_that_never_reported_is_not_said_to_have_no_nodes() -> None:
    unknown = site("m1", nodes(4))
    del unknown["status"]
    copy = copy_of(site("m2", nodes(1))).with_facts([facts_of(unknown, grant("m1"))])
    answer = ask_capacity(copy, AskedShape(requests={"cpu": "1"}))
    refusals = {one["name"]: one["firstRefusal"] for one in answer["sites"]}
    assert refusals["m1"]["sentence"] == "m1 never reported, so what is there is not known"


@pytest.mark.parametrize(
    "platform", ["windows", "", "/", "linux/", "/arm64", "Linux/ARM64", "中/文"]
)
def test_a_platform_that_is_none_is_refused(
    platform: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(msgspec.ValidationError, match="platforms"):
        msgspec.convert({"platforms": [platform]}, AskedShape)
    for command in ("capacity", "wrap"):
        with pytest.raises(SystemExit) as end:
            main([command, "--platform", platform])
        assert end.value.code == 2
        assert "expected OS/ARCH, such as linux/arm64" in " ".join(capsys.readouterr().err.split())
