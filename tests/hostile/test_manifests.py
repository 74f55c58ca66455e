"""Secrets in every form and objects exported from another cluster, by kubectl, on a running hub.

The marker stands for the data of a Secret. It may be in the object that the tenant wrote, and
nowhere else: not in a record, a status, an event, an order, a log or an answer of the page.
"""

import json
import sqlite3
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.up import Up, eventually, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

Json = dict[str, Any]
MARKER = "bWFya2VyLW9mLXNlY3JldC1kYXRh"


def item(api_version: str, kind: Any, **fields: Any) -> Json:  # noqa: ANN401 - any JSON
    metadata = {"name": "a", **fields.pop("metadata", {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def secret(kind: Any = "Secret", **fields: Any) -> Json:  # noqa: ANN401 - any JSON
    return item("v1", kind, **{"data": {"k": MARKER}, **fields})


def deployment(name: str, **fields: Any) -> Json:  # noqa: ANN401 - any JSON
    container = {"name": "web", "image": "a:1", "resources": {"requests": {"cpu": "1"}}}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": {"app": name}}, "template": template}
    made = item("apps/v1", "Deployment", spec=spec, **fields)
    made["metadata"]["name"] = name
    return made


TEXT = json.dumps(secret())
LAST_APPLIED = {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": TEXT}}
REFUSED: dict[str, Json] = {
    "secret": secret(),
    "string-data": secret(stringData={"k": MARKER}),
    "lower-case": secret("secret"),
    "upper-case": secret("SECRET"),
    "space": secret("Secret "),
    "tab": secret("Secret\t"),
    "plural": secret("Secrets"),
    "other-group": {**secret(), "apiVersion": "core/v1"},
    "generated-name": {**secret(), "metadata": {"generateName": "a-"}},
    "list": item("v1", "List", items=[secret()]),
    "secret-list": item("v1", "SecretList", items=[secret()]),
    "any-list": item("a.example/v1", "AnyList", items=[secret()]),
    "list-in-list": item("v1", "List", items=[item("v1", "List", items=[secret()])]),
    "wrapped": item("a.example/v1", "Wrapper", spec={"manifest": secret()}),
    "copy": item("v1", "Secret", metadata={"annotations": {"tool.example/copy": TEXT}}),
    "copy-elsewhere": item("v1", "ConfigMap", metadata={"annotations": {"tool/copy": TEXT}}),
}
ACCEPTED: dict[str, Json] = {
    "last-applied": deployment("last-applied", metadata=LAST_APPLIED),
    "last-applied-secret": item("v1", "Secret", metadata=LAST_APPLIED, type="Opaque"),
}


def workload(name: str, *manifests: Json) -> Json:
    return {
        "apiVersion": "kapok.dev/v1alpha1",
        "kind": "Workload",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "dataClass": "general-2",
            "protectionLevel": 2,
            "networkZones": ["public-network"],
            "manifests": list(manifests),
        },
    }


def phases(up: Up) -> dict[str, str]:
    text = up.kubectl("get", "workloads.kapok.dev", "-o", "json")
    return {
        one["metadata"]["name"]: one.get("status", {}).get("phase", "")
        for one in json.loads(text)["items"]
    }


def status(up: Up, name: str) -> Json:
    found: Json = up.get("workloads.kapok.dev", name).get("status", {})
    return found


def texts_of(path: Path) -> Iterator[bytes]:
    """The plain bytes of a file, and of everything that is packed in it as a database."""
    yield path.read_bytes()
    if path.suffix != ".db":
        return
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type='table'"):
            for row in database.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - a test's table
                for value in row:
                    if isinstance(value, bytes):
                        yield value
                        try:
                            yield zlib.decompress(value)
                        except zlib.error:
                            continue


EXPORTED: Json = {
    "uid": "00000000-0000-0000-0000-000000000002",
    "resourceVersion": "7",
    "generation": 3,
    "managedFields": [{"manager": "kubectl"}],
    "finalizers": ["example.com/never"],
    "ownerReferences": [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": "parent",
            "uid": "00000000-0000-0000-0000-000000000003",
            "controller": True,
        }
    ],
}


def test_secrets_reach_no_record_and_fields_of_another_cluster_no_order(tmp_path: Path) -> None:
    with running_up(tmp_path) as up:
        site = ScriptedSite("m1", up.ready["broker"], up.ready["hubKey"], nodes=100)
        up.apply(site.manifest)
        with running_sites(site):
            _check_exported_fields(up, site)
            given = [workload(name, one) for name, one in (REFUSED | ACCEPTED).items()]
            items = json.dumps({"apiVersion": "v1", "kind": "List", "items": given})
            up.kubectl("create", "-f", "-", text=items)
            eventually(lambda: phases(up).items() >= dict.fromkeys(REFUSED, "Refused").items())
            eventually(lambda: phases(up)["last-applied"] == "Running")
            eventually(lambda: len(site.contents) == len(ACCEPTED) + 1)
            said = up.kubectl("get", "events", "-A", "-o", "json")
            objects_now = json.loads(up.kubectl("get", "workloads.kapok.dev", "-o", "json"))
            statuses = [json.dumps(one["status"]) for one in objects_now["items"]]
            assert len(statuses) > len(REFUSED)
            assert MARKER not in "".join((said, *statuses))
            assert MARKER not in repr(site.contents)
            assert MARKER not in up.log
            for path in ("metrics", "api/state", ""):
                assert MARKER not in _get(f"{up.ready['page']}{path}")
        files = [each for each in up.data_dir.rglob("*") if each.is_file()]
        objects = {each for each in files if each.name.startswith("objects.db")}
        assert objects, "the hub keeps what the tenant wrote"
        for each in set(files) - objects:
            assert not any(MARKER.encode() in text for text in texts_of(each)), each


def _check_exported_fields(up: Up, site: ScriptedSite) -> None:
    service = item(
        "v1",
        "Service",
        metadata=EXPORTED,
        spec={"clusterIP": "10.0.0.7", "ports": [{"port": 80, "nodePort": 30080}]},
        status={"loadBalancer": {}},
    )
    exported = deployment("copied", metadata=EXPORTED)
    exported["spec"]["template"]["metadata"] |= EXPORTED
    reserved = deployment("reserved", metadata={"labels": {"kapok.dev/order": "x"}})
    insecure = deployment("insecure")
    insecure["spec"]["template"]["spec"]["hostPID"] = True
    said = up.kubectl(
        "apply",
        "-f",
        "-",
        text=json.dumps(workload("copied", service, exported)),
        check=False,
    )
    assert "Warning: spec.manifests[0].metadata.ownerReferences is not applied" in said
    up.apply(json.dumps(workload("reserved", reserved)))
    up.apply(json.dumps(workload("insecure", insecure)))
    eventually(lambda: status(up, "copied").get("phase") == "Running")
    (content,) = site.contents.values()
    assert content.pod_security == "baseline"
    plain = json.dumps(content.manifests)
    for field in (*EXPORTED, "clusterIP", "nodePort", "loadBalancer"):
        assert f'"{field}"' not in plain
    removed = {each["type"]: each for each in status(up, "copied")["conditions"]}
    assert "ownerReferences" in removed["FieldsRemoved"]["message"]
    eventually(lambda: phases(up)["reserved"] == phases(up)["insecure"] == "Refused")
    assert "kapok.dev/order is reserved" in status(up, "reserved")["reason"]
    assert "spec.template.spec.hostPID" in status(up, "insecure")["reason"]


def _get(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - loopback
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return str(error.read().decode())
