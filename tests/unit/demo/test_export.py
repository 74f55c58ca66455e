"""What an export of the demo holds of the hub's objects."""

import json

from scheduler.demo.export import without_secrets

MARKER = "bWFya2VyLW9mLXNlY3JldC1kYXRh"
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"k": MARKER}}
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "data": {"k": "v"}}


def test_an_export_holds_no_data_of_inline_secrets() -> None:
    applied = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(SECRET), "a": "b"}
    lists = {"apiVersion": "v1", "kind": "List", "items": [SECRET]}
    given = {
        "apiVersion": "kapok.dev/v1alpha1",
        "kind": "Workload",
        "metadata": {"name": "w", "annotations": applied},
        "spec": {"manifests": [SECRET, lists, CONFIG], "priority": 7},
    }
    found = without_secrets(given)
    assert MARKER not in json.dumps(found)
    assert found["metadata"]["annotations"] == {"a": "b"}
    assert found["spec"]["manifests"][2] == CONFIG
    assert found["spec"]["priority"] == 7
    assert MARKER in json.dumps(given), "the object itself stays as it is"


def test_other_objects_are_exported_as_they_are() -> None:
    site = {"apiVersion": "kapok.dev/v1alpha1", "kind": "Site", "metadata": {"name": "m1"}}
    assert without_secrets(site) is site
