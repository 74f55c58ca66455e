"""What the ledger records of manifests, and that nothing is copied without need."""

from typing import Any

from scheduler.model.manifests.cleaning import clean_manifests
from scheduler.model.manifests.recorded import (
    NOT_RECORDED,
    recorded_manifests,
    without_secret_data,
)

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {"template": {"spec": {"containers": [{"name": "c", "args": ["a", "b"]}]}}},
}
SECRET: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "key"},
    "stringData": {"token": "hidden"},
}


def test_a_manifest_without_the_data_of_secrets_is_not_copied() -> None:
    assert without_secret_data(DEPLOYMENT) is DEPLOYMENT
    assert recorded_manifests((DEPLOYMENT,))[0] is DEPLOYMENT


def test_the_data_of_a_secret_inside_is_left_out_and_all_else_is_kept() -> None:
    holder: dict[str, Any] = {
        "kind": "Bundle",
        "items": [{"a": 1}, {"one": SECRET}],
        "other": [1, "two", None],
    }
    recorded = without_secret_data(holder)
    assert "hidden" not in str(recorded)
    assert recorded["items"][1]["one"]["data"] == NOT_RECORDED
    assert recorded["items"][0] is holder["items"][0]
    assert recorded["other"] is holder["other"]
    assert holder["items"][1]["one"] is SECRET
    assert SECRET["stringData"] == {"token": "hidden"}


def test_equal_manifests_of_other_tuples_are_read_again() -> None:
    exported = {**DEPLOYMENT, "status": {"replicas": 1}}
    first, second = (exported,), (DEPLOYMENT,)
    assert clean_manifests(first) == ((DEPLOYMENT,), ("spec.manifests[0].status",))
    assert clean_manifests(second) == ((DEPLOYMENT,), ())
    assert clean_manifests(first) is clean_manifests(first)
    assert clean_manifests([exported]) == clean_manifests(first)


def test_only_the_last_answers_are_remembered() -> None:
    first = (DEPLOYMENT,)
    answer = clean_manifests(first)
    for number in range(300):
        clean_manifests(({**DEPLOYMENT, "metadata": {"name": f"web-{number}"}},))
    assert clean_manifests(first) is not answer
    assert clean_manifests(first) == answer
