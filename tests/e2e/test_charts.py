"""Charts and large definitions, from `kubectl apply` at the hub to a simulated member."""

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest

from tests.support.site_with_agent import SiteWithAgent, site_with_agent
from tests.support.up import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

NAMESPACE = "shop"
TENANT = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: {NAMESPACE}}}
---
apiVersion: kapok.dev/v1alpha1
kind: Tenant
metadata: {{name: shop}}
spec:
  namespaces: [{NAMESPACE}]
  clusterKinds:
  - apiextensions.k8s.io/CustomResourceDefinition
---
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteWithAgent]:
    with site_with_agent(tmp_path_factory.mktemp("site"), NAMESPACE) as found:
        found.up.apply(TENANT)
        yield found


def large_definition(plural: str, fields: int) -> dict[str, Any]:
    """A definition whose descriptions differ, so that deflating only makes it half as large."""
    properties = {
        f"field{number}": {
            "type": "string",
            "description": " ".join(sha256(f"{number} {n}".encode()).hexdigest() for n in range(6)),
            "maxLength": 64,
        }
        for number in range(fields)
    }
    spec = {"type": "object", "properties": properties}
    schema = {"type": "object", "properties": {"spec": spec}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.shop.example"},
        "spec": {
            "group": "shop.example",
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": plural[:-1], "kind": plural.title()},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def workload(name: str, *manifests: dict[str, Any], replicas: int | None = None) -> dict[str, Any]:
    spec = {
        "dataClass": "general-2",
        "protectionLevel": 2,
        "networkZones": ["public-network"],
        "manifests": list(manifests),
    }
    return {
        "apiVersion": "kapok.dev/v1alpha1",
        "kind": "Workload",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec if replicas is None else {**spec, "replicas": replicas},
    }


def phase(site: SiteWithAgent, name: str) -> str:
    status = site.up.get("workloads.kapok.dev", name, NAMESPACE).get("status") or {}
    return str(status.get("phase"))


def test_a_definition_of_600_kilobytes_reaches_its_site_whole(site: SiteWithAgent) -> None:
    definition = large_definition("engines", 1350)
    assert 600_000 < len(json.dumps(definition)) < 700_000
    body = json.dumps(workload("engines", definition))
    site.up.kubectl("apply", "--server-side", "-f", "-", text=body)
    shown = ("get", "crd", "engines.shop.example", "-o", "json", "--ignore-not-found")
    found = json.loads(eventually(lambda: site.member.kubectl(*shown), within_seconds=60))
    assert found["spec"]["versions"] == definition["spec"]["versions"]
    eventually(lambda: phase(site, "engines") in {"Running", "Completed"}, within_seconds=30)


def test_what_is_larger_than_the_limit_is_refused_with_a_way_out(site: SiteWithAgent) -> None:
    body = json.dumps(workload("too-large", large_definition("motors", 2400)))
    site.up.kubectl("apply", "--server-side", "-f", "-", text=body)
    eventually(lambda: phase(site, "too-large") == "Refused")
    status = site.up.get("workloads.kapok.dev", "too-large", NAMESPACE)["status"]
    message = next(one["message"] for one in status["conditions"] if one["type"] == "Accepted")
    assert "at most 1000000: divide the objects among several workloads" in message
