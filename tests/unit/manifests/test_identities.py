"""Numbered pods stay whole or get names of their own, and completions are a total."""

from typing import Any

from scheduler.model.manifests.identities import (
    MAX_SET_NAME_LENGTH,
    named_for_site,
    numbered_set_in,
    set_name_at,
    total_completions,
    with_completions,
)
from scheduler.model.manifests.manifests import with_replicas


def _job(**spec: object) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "tiles"},
        "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}, **spec},
    }


def _set(name: str = "db") -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": {"replicas": 2, "serviceName": "db", "template": {}},
    }


def test_pods_of_stateful_sets_and_indexed_jobs_have_numbers() -> None:
    assert numbered_set_in([_set()]) == "StatefulSet db"
    assert numbered_set_in([_job(completionMode="Indexed", completions=4)]) == "Job tiles"
    assert numbered_set_in([_job(completions=4)]) == ""


def test_only_a_job_that_is_not_indexed_has_completions_to_divide() -> None:
    assert total_completions([_job(completions=4, parallelism=2)]) == 4
    assert total_completions([_job(completionMode="Indexed", completions=4)]) is None
    assert total_completions([_job(parallelism=2)]) is None
    assert total_completions([_set()]) is None


def test_a_part_of_a_job_runs_no_more_pods_than_it_completes() -> None:
    job = _job(completions=10, parallelism=6, backoffLimit=5)
    (part,) = with_completions(with_replicas([job], 4), 3, 10)
    assert part["spec"]["completions"] == 3
    assert part["spec"]["parallelism"] == 3
    assert part["spec"]["backoffLimit"] == 2
    assert job["spec"]["completions"] == 10


def test_a_set_per_site_is_renamed_with_all_that_refers_to_it() -> None:
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "db"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db"}},
    }
    other = {**scaler, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "db"}}}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "db"},
        "spec": {"selector": {"statefulset.kubernetes.io/pod-name": "db-0"}},
    }
    named = named_for_site([_set(), scaler, other, service], "s1")
    assert named[0]["metadata"]["name"] == "db-s1"
    assert named[0]["spec"]["serviceName"] == "db"
    assert named[1]["metadata"]["name"] == "db"
    assert named[1]["spec"]["scaleTargetRef"]["name"] == "db-s1"
    assert named[2]["spec"]["scaleTargetRef"]["name"] == "db"
    assert named[3]["spec"]["selector"] == {"statefulset.kubernetes.io/pod-name": "db-s1-0"}


def test_names_per_site_stay_within_the_limit_and_apart() -> None:
    sites = ("a" * 60, "a" * 59 + "b", "edge.one", "s")
    names = {set_name_at("n" * 50, site) for site in sites} | {set_name_at("db", "edge.one")}
    assert len(names) == 5
    assert all(len(each) <= MAX_SET_NAME_LENGTH and "." not in each for each in names)


def test_a_deployment_keeps_its_name_at_every_site() -> None:
    deployment = {**_set(), "kind": "Deployment"}
    assert named_for_site([deployment], "s1") == (deployment,)
