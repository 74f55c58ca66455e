"""Charts and large definitions, from `kubectl apply` at the hub to a simulated member."""

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest

from tests.support.charts import chart_tenant, chart_workload
from tests.support.site_with_agent import SiteWithAgent, site_with_agent
from tests.support.up import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

NAMESPACE = "shop"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteWithAgent]:
    with site_with_agent(tmp_path_factory.mktemp("site"), NAMESPACE) as found:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        for item in (namespace, chart_tenant(NAMESPACE, platform=True)):
            found.up.apply(json.dumps(item))
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


def workload(name: str, *manifests: dict[str, Any]) -> dict[str, Any]:
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
        "spec": spec,
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
    eventually(lambda: phase(site, "engines") in {"Running", "Completed"}, within_seconds=60)


CHARTS = ["cert-manager", "keycloak", "nginx-ingress"]


def test_charts_run_at_a_simulated_member(site: SiteWithAgent) -> None:
    words = ("create", "secret", "generic", "keycloak-db", "--namespace", NAMESPACE)
    site.up.kubectl(*words, "--from-literal=password=of-a-test")
    for chart in CHARTS:
        body = json.dumps(chart_workload(chart, NAMESPACE))
        site.up.kubectl("apply", "--server-side", "-f", "-", text=body)
    for chart in CHARTS:
        eventually(lambda: phase(site, chart) == "Running", within_seconds=60)  # noqa: B023 - called at once
    get = site.member.get
    assert {one["metadata"]["name"] for one in get("ingress")} == {"keycloak"}
    assert "keycloak-db" in {one["metadata"]["name"] for one in get("secret")}
    assert [one["metadata"]["name"] for one in get("clusterissuer")] == ["self-signed"]
    eventually(lambda: get("pdb")[0]["status"]["disruptionsAllowed"] == 1)


def test_an_autoscaler_at_the_site_acts_and_keeps_what_it_set(site: SiteWithAgent) -> None:
    chart = json.dumps(chart_workload("nginx-ingress", NAMESPACE))
    site.up.kubectl("apply", "--server-side", "-f", "-", text=chart)
    eventually(lambda: phase(site, "nginx-ingress") == "Running", within_seconds=60)
    name = "ingress-nginx-controller"
    site.member.kubectl("annotate", "hpa", name, "kapok.dev/simulated-load=cpu=250m")

    def shown(kind: str) -> dict[str, Any]:
        words = ("get", kind, name, "-o", "json", "--show-managed-fields")
        found: dict[str, Any] = json.loads(site.member.kubectl(*words))
        return found

    eventually(lambda: shown("deployment")["status"].get("readyReplicas") == 5)
    eventually(lambda: shown("hpa")["status"].get("desiredReplicas") == 5)
    owners = shown("deployment")["metadata"]["managedFields"]
    (scaled,) = [one for one in owners if one.get("subresource") == "scale"]
    assert scaled["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
