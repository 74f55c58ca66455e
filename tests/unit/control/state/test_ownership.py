"""Claims on names of objects: whose they are, and from when to when."""

from datetime import datetime
from typing import Any

from msgspec.structs import replace

from scheduler.control.state.ownership import ObjectOwnership
from scheduler.model.decode import decode_as
from scheduler.model.kinds.kinds import Workload
from tests.support.sites import Raw, workload


def of(name: str, *manifests: Raw, namespace: str = "ns", **rest: Any) -> Workload:  # noqa: ANN401
    raw = workload(name=name, manifests=list(manifests), **rest)
    raw["metadata"]["namespace"] = namespace
    return decode_as(raw, Workload)


def item(api_version: str, kind: str, namespace: str | None = None) -> Raw:
    metadata = {"name": "shared"} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


CONFIG = item("v1", "ConfigMap")


def test_the_first_workload_that_claims_a_name_owns_it() -> None:
    ownership = ObjectOwnership()
    assert ownership.claim(of("a", CONFIG)) is None
    assert ownership.claim(of("b", CONFIG)) == (("ns", "a"), "ConfigMap shared")
    assert ownership.claim(of("b", CONFIG, namespace="other")) is None


def test_a_workload_that_runs_nowhere_gives_its_names_up() -> None:
    ownership = ObjectOwnership()
    ownership.claim(of("a", CONFIG))
    ownership.claim(of("b", CONFIG))
    assert ownership.release_unplaced(("ns", "a")), "b waits for the name"
    assert not ownership.release_unplaced(("ns", "a"))
    assert ownership.claim(of("b", CONFIG)) is None
    assert ownership.claim(of("a", CONFIG)) == (("ns", "b"), "ConfigMap shared")


def test_a_cluster_scoped_object_is_one_object_in_all_namespaces() -> None:
    ownership = ObjectOwnership()
    role = item("rbac.authorization.k8s.io/v1", "ClusterRole")
    ownership.claim(of("a", role))
    assert ownership.claim(of("b", role, namespace="other")) is not None


def test_an_object_is_the_same_in_every_version_of_its_group() -> None:
    ownership = ObjectOwnership()
    ownership.claim(of("a", item("apps/v1", "Deployment")))
    assert ownership.claim(of("b", item("apps/v1beta1", "Deployment"))) is not None
    assert ownership.claim(of("b", item("a.example/v1", "Deployment"))) is None


def test_after_a_start_the_older_one_owns_a_name_though_workloads_change_meanwhile() -> None:
    ownership = ObjectOwnership()
    ages = {"c": "2026-01-03", "a": "2026-01-01", "b": "2026-01-02"}
    workloads = {("ns", name): of(name, CONFIG) for name in ages}
    for name, day in ages.items():
        metadata = replace(
            workloads["ns", name].metadata,
            creation_timestamp=datetime.fromisoformat(f"{day}T00:00:00+00:00"),
        )
        workloads["ns", name] = replace(workloads["ns", name], metadata=metadata)
    claims = ownership.claim_all(workloads, slice_size=1)
    next(claims)
    del workloads["ns", "a"]  # it is gone before its turn
    assert list(claims) == [None, None]
    assert ownership.claim(workloads["ns", "c"]) == (("ns", "b"), "ConfigMap shared")
