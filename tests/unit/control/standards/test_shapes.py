"""The standard objects have the names, labels, order and limits of cluster-inventory-api."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from scheduler.control.ports.hub import NAMESPACE, Object
from scheduler.control.standards.cluster_profile import (
    HEALTHY,
    PROPERTIES,
    cluster_profile,
    granted_class,
    urgent_content,
)
from scheduler.control.standards.names import as_label_value
from scheduler.control.standards.placement_decision import (
    chosen_sites,
    decision_content,
    owner_of,
    placement_decisions,
    slice_name,
)
from scheduler.model.decode import decode_as
from scheduler.model.kinds.kinds import Site, SiteGrant, Workload
from tests.support.sites import OBSERVED, Raw, grant, nodes, site, workload

READY = {"type": "Ready", "status": "True", "reason": "Reporting", "lastTransitionTime": OBSERVED}
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def reporting_site(ready: Raw | None = None, **status: Any) -> Site:  # noqa: ANN401 - fields
    figures = {
        "freeCpu": "3.6",
        "currentIntensity": "441.9",
        "intensity": {"gco2PerKwh": 441.9, "observedAt": "2026-11-23T07:00:00Z"},
        "conditions": [{**READY, **(ready or {})}],
        **status,
    }
    spec = {"headroom": {"ratio": 0.1}, "energy": {"pue": 1.45}}
    return decode_as(site("m1", nodes(4), spec=spec, labels={"tier": "edge"}, **figures), Site)


def properties_of(one: Site) -> dict[str, tuple[str, str]]:
    body = cluster_profile(one, manager="kapok", data_class="general-3")
    return {
        each["name"]: (each["value"], each["lastObservedTime"])
        for each in body["status"]["properties"]
    }


def placed(*groups: Raw, name: str = "app", **metadata: object) -> Workload:
    raw = workload(name=name)
    raw["metadata"] |= {"uid": "u1", **metadata}
    raw["status"] = {"placement": {"groups": list(groups)}}
    return decode_as(raw, Workload)


def listed(bodies: list[Object]) -> list[str]:
    return [one["clusterProfileRef"]["name"] for body in bodies for one in body["decisions"]]


# ------------------------------------------------------------------ ClusterProfile


def test_a_profile_follows_the_rules_of_its_label_and_spec() -> None:
    body = cluster_profile(reporting_site(), manager="gz", data_class=None)
    assert (body["apiVersion"], body["kind"]) == (
        "multicluster.x-k8s.io/v1alpha1",
        "ClusterProfile",
    )
    assert body["metadata"]["namespace"] == NAMESPACE
    # The label MUST have the name of the cluster manager.
    assert body["metadata"]["labels"] == {"tier": "edge", "x-k8s.io/cluster-manager": "gz"}
    assert body["spec"] == {"displayName": "m1", "clusterManager": {"name": "gz"}}
    (condition,) = body["status"]["conditions"]
    assert condition["type"] == HEALTHY
    assert set(condition) == {"type", "status", "reason", "message", "lastTransitionTime"}


def test_every_property_is_dated_and_under_our_domain() -> None:
    assert properties_of(reporting_site()) == {
        "nodes.kapok.dev": ("4", OBSERVED),
        "free-cpu.kapok.dev": ("3.6", OBSERVED),
        "free-memory.kapok.dev": (str(4 * int(2 * 2**30 * 0.9)), OBSERVED),
        "pue.kapok.dev": ("1.45", OBSERVED),
        "intensity-gco2-per-kwh.kapok.dev": ("441.9", "2026-11-23T07:00:00Z"),
        "data-class.kapok.dev": ("general-3", OBSERVED),
    }
    assert list(properties_of(reporting_site())) == list(PROPERTIES)


def test_an_unknown_figure_has_no_property() -> None:
    silent = {"status": "False", "reason": "Silent"}
    shown = reporting_site(silent, freeCpu="?", currentIntensity="?")
    assert set(properties_of(shown)) == {"pue.kapok.dev", "data-class.kapok.dev"}
    cut_off = set(properties_of(reporting_site(truncated=True)))
    assert not cut_off & {"nodes.kapok.dev", "free-memory.kapok.dev"}
    bare = cluster_profile(decode_as(site("m1"), Site), manager="kapok", data_class=None)
    assert bare["status"]["properties"] == []


@pytest.mark.parametrize(
    ("ready", "status"),
    [
        ({}, "True"),
        ({"reason": "Late"}, "True"),
        ({"status": "False", "reason": "ClusterUnreachable"}, "False"),
        ({"status": "False", "reason": "Silent"}, "Unknown"),
        ({"status": "False", "reason": "Lost"}, "Unknown"),
    ],
)
def test_a_silent_site_is_not_called_unhealthy(ready: Raw, status: str) -> None:
    body = cluster_profile(reporting_site(ready), manager="kapok", data_class=None)
    assert body["status"]["conditions"][0]["status"] == status


def test_only_grants_in_force_give_a_data_class() -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    grants = [
        decode_as(grant("m1", dataClass="general-2"), SiteGrant),
        decode_as(grant("m1", dataClass="important", validUntil="2026-11-23T00:00:00Z"), SiteGrant),
        decode_as(grant("m1", dataClass="general-4", validFrom="2026-12-01T00:00:00Z"), SiteGrant),
    ]
    assert granted_class(grants, now) == "general-2"
    assert granted_class(grants[1:], now) is None


def test_figures_that_move_all_the_time_are_not_urgent() -> None:
    before, after = reporting_site(), reporting_site(freeCpu="1", observedAt="2026-11-23T09:00:00Z")
    assert urgent_content(before, "general-1") == urgent_content(after, "general-1")
    assert urgent_content(before, "general-1") != urgent_content(before, "general-2")
    silent = reporting_site({"status": "False", "reason": "Silent"})
    assert urgent_content(before, None) != urgent_content(silent, None)


# ------------------------------------------------------------------ PlacementDecision


def test_a_decision_is_sorted_and_cut_into_slices_of_a_hundred() -> None:
    sites = [f"site-{number:04}" for number in range(250)]
    one = placed({"sites": sites[::-1], "replicas": 2})
    bodies = placement_decisions(one, chosen_sites(one), scheduler_name="kapok")
    assert [len(body["decisions"]) for body in bodies] == [100, 100, 50]
    assert listed(bodies) == sites
    for index, body in enumerate(bodies):
        assert body["metadata"]["name"] == f"kapok-app-{index}"
        assert body["metadata"]["labels"] == {
            "multicluster.x-k8s.io/decision-key": "app",
            "multicluster.x-k8s.io/decision-index": str(index),
            "multicluster.x-k8s.io/placement-key": "app",
        }
        assert body["schedulerName"] == "kapok"
        # Data only: the standard has no status, and nothing else at the top.
        assert set(body) == {"apiVersion", "kind", "metadata", "schedulerName", "decisions"}
        assert body["decisions"][0]["clusterProfileRef"]["namespace"] == NAMESPACE
        assert owner_of(body) == ("ns", "app")


def test_a_share_that_is_replaced_stays_listed_until_it_is_gone() -> None:
    groups: list[Raw] = [
        {"sites": ["old"], "replicas": 2, "phase": "Withdrawing", "replacedBy": ["new"]},
        {"sites": ["new"], "replicas": 2, "phase": "Placing"},
        {"sites": ["ending"], "replicas": 1, "phase": "Withdrawing"},
        {"sites": ["empty"], "replicas": 0, "phase": "Running"},
    ]
    assert chosen_sites(placed(*groups)) == ("new", "old")
    assert chosen_sites(placed(*groups, deletionTimestamp=OBSERVED)) == ()
    assert chosen_sites(placed()) == ()


def test_the_placement_key_of_a_workload_is_that_of_its_decisions() -> None:
    labels = {"multicluster.x-k8s.io/placement-key": "shop"}
    one = placed({"sites": ["m1"], "replicas": 1}, labels=labels)
    (body,) = placement_decisions(one, ["m1"], scheduler_name="kapok")
    assert body["metadata"]["labels"]["multicluster.x-k8s.io/placement-key"] == "shop"
    assert body["metadata"]["labels"]["multicluster.x-k8s.io/decision-key"] == "app"


def test_another_workload_of_the_same_name_has_another_decision() -> None:
    first, second = (
        placement_decisions(placed(uid=uid), ["m1"], scheduler_name="kapok") for uid in ("a", "b")
    )
    assert decision_content(first[0]) != decision_content(second[0])


def test_long_names_stay_names_and_labels() -> None:
    long, other = "a" * 252 + "b", "a" * 252 + "c"
    assert len(slice_name(long, 99)) <= 253
    assert slice_name(long, 0) != slice_name(other, 0)
    assert slice_name("a", 0) != slice_name("a-0", 0)
    for text in (long, "控制中心", "x y", "-", "kapok", "a." * 31 + "ab", "___", ""):
        assert LABEL_VALUE.fullmatch(as_label_value(text)), text
    assert as_label_value(long) != as_label_value(other)
    assert as_label_value("kapok") == "kapok"


# ------------------------------------------------------------------ readers


def test_what_argo_cds_cluster_profile_generator_reads_is_there() -> None:
    """applicationset/generators/cluster_profile.go: name, labels and annotations, as strings."""
    body = cluster_profile(reporting_site(), manager="kapok", data_class=None)
    meta = body["metadata"]
    params = {"name": meta["name"]} | {
        f"metadata.labels.{key}": value for key, value in meta["labels"].items()
    }
    assert params["metadata.labels.x-k8s.io/cluster-manager"] == "kapok"
    assert all(type(value) is str for value in params.values())


def test_argo_cds_decision_resource_generator_finds_no_status_to_read() -> None:
    """applicationset/generators/duck_type.go reads `status.<statusListKey>` alone.

    An object without a status is passed over with a warning; the standard form has none.
    """
    one = placed({"sites": ["m1"], "replicas": 1})
    (body,) = placement_decisions(one, ["m1"], scheduler_name="kapok")
    assert body.get("status") is None
