"""The rules in the CRDs, through the real kubectl: invalid objects are refused with a fix.

The tests run on the embedded server, and also on a real one if KAPOK_TEST_KUBECONFIG names it.
Objects are sent with --dry-run=server, so the tests leave nothing on that server.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scheduler.model.kinds.fields import API_VERSION
from scheduler.runtime.packaged_files import packaged_folder

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

KUBECTL = Path(sys.executable).with_name("kubectl")
KEY = "ed25519:" + "A" * 43 + "="


def workload(**spec: Any) -> tuple[str, dict[str, Any]]:  # noqa: ANN401 - any JSON
    return "Workload", spec


def placed(**placement: Any) -> tuple[str, dict[str, Any]]:  # noqa: ANN401 - any JSON
    return "Workload", {"placement": placement}


def site(**spec: Any) -> tuple[str, dict[str, Any]]:  # noqa: ANN401 - any JSON
    return "Site", spec


def grant(**spec: Any) -> tuple[str, dict[str, Any]]:  # noqa: ANN401 - any JSON
    return "SiteGrant", {"sites": ["a"], **spec}


def scheme(**spec: Any) -> tuple[str, dict[str, Any]]:  # noqa: ANN401 - any JSON
    return "DataClassScheme", spec


MEASURED = {
    "measure": "pue",
    "value": 1.2,
    "measuredBy": "inspector",
    "observedAt": "2026-11-01T00:00:00Z",
}
CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
SECRET_REF = {"namespace": "kapok-system", "name": "member"}

REFUSED: dict[str, tuple[tuple[str, dict[str, Any]], str]] = {
    "both policy and placement": (
        workload(policyRef={"name": "a"}, placement={}),
        "set either policyRef or placement",
    ),
    "an override with a registry that is none": (
        workload(
            overrides=[{"imageRegistries": [{"from": "docker.io/x@y", "to": "mirror.local"}]}]
        ),
        "spec.overrides[0].imageRegistries[0].from",
    ),
    "a patch with an operation that is none": (
        workload(overrides=[{"patch": [{"op": "merge", "path": "/a"}]}]),
        "spec.overrides[0].patch[0].op",
    ),
    "a limit of PUE below 1": (
        scheme(energyLimits=[{"measure": "pue", "limit": 0.9}]),
        "a limit below 1 can never be met",
    ),
    "a renewable share in percent": (
        scheme(energyLimits=[{"measure": "renewable-share", "limit": 30}]),
        "write 0.3 for 30 percent",
    ),
    "an energy limit that ends before it begins": (
        scheme(
            energyLimits=[
                {
                    "measure": "pue",
                    "limit": 1.3,
                    "from": "2027-01-01T00:00:00Z",
                    "until": "2026-01-01T00:00:00Z",
                }
            ]
        ),
        "until must be later than from",
    ),
    "a measured PUE below 1": (
        site(energy={"measurements": [{**MEASURED, "value": 0.8}]}),
        "so it is not below 1",
    ),
    "an inspected PUE below 1": (
        grant(measurements=[{**MEASURED, "site": "a", "value": 0.8}]),
        "so it is not below 1",
    ),
    "a measured share in percent": (
        site(energy={"measurements": [{**MEASURED, "measure": "renewable-share", "value": 40}]}),
        "write 0.3 for 30 percent",
    ),
    "a site with a registry that is none": (
        site(imageRegistries=[{"from": "docker.io", "to": "https://mirror.local"}]),
        "spec.imageRegistries[0].to",
    ),
    "tariff above the highest price": (
        site(
            prices={
                "energyCnyPerKwh": 0.6,
                "tariff": [{"fromHour": 10, "toHour": 12, "energyCnyPerKwh": 0.9}],
            }
        ),
        "energyCnyPerKwh must be the highest price",
    ),
    "tariff without hours": (
        site(
            prices={
                "energyCnyPerKwh": 0.6,
                "tariff": [{"fromHour": 10, "toHour": 10, "energyCnyPerKwh": 0.3}],
            }
        ),
        "toHour must differ from fromHour",
    ),
    "hong kong as mainland": (workload(jurisdictions=["CN", "CN-HK"]), "write HK"),
    "macao as mainland": (workload(jurisdictions=["CN-MO"]), "write MO"),
    "a province that does not exist": (workload(jurisdictions=["CN-XX"]), "no province has"),
    "no province in a grant": (grant(jurisdiction="CN-44"), "no province has"),
    "no province of a tenant": (
        ("Tenant", {"namespaces": ["a"], "jurisdiction": "CN-44"}),
        "no province has",
    ),
    "hong kong in a grant": (grant(jurisdiction="CN-HK"), "write HK"),
    "hong kong in a scheme": (
        ("DataClassScheme", {"classes": [{"name": "general-3", "jurisdictions": ["CN-HK"]}]}),
        "write HK",
    ),
    "a class that there is not": (workload(dataClass="general-5"), "general-4"),
    "a level that there is not": (workload(protectionLevel=6), "less than or equal to 5"),
    "a zone twice": (workload(networkZones=["public-network"] * 2), "Duplicate value"),
    "a classified site": (grant(networkZones=["classified"]), "remove classified"),
    "a grant that ends before it begins": (
        grant(validFrom="2027-01-01T00:00:00Z", validUntil="2026-01-01T00:00:00Z"),
        "validUntil must be later",
    ),
    "a grant for no site": (("SiteGrant", {"dataClass": "general-1"}), "sites"),
    "a recovery before failover begins": (
        workload(failover={"afterSeconds": 300}, recovery={"rtoSeconds": 300}),
        "failover.afterSeconds must be shorter than recovery.rtoSeconds",
    ),
    "a policy with a recovery before failover begins": (
        (
            "ClusterPlacementPolicy",
            {"failover": {"afterSeconds": 90}, "recovery": {"rtoSeconds": 60}},
        ),
        "failover.afterSeconds must be shorter than recovery.rtoSeconds",
    ),
    "a recovery in no time": (
        workload(recovery={"rtoSeconds": 0}),
        "should be greater than or equal to 1",
    ),
    "a recovery in more than a month": (
        workload(recovery={"rpoSeconds": 2_592_001}),
        "should be less than or equal to 2592000",
    ),
    "a deadline before the start": (
        workload(schedule={"earliest": "2026-11-25T00:00:00Z", "deadline": "2026-11-24T00:00:00Z"}),
        "deadline must be later",
    ),
    "a spread upside down": (
        placed(spread=[{"by": "city", "minGroups": 3, "maxGroups": 2}]),
        "minGroups must not exceed maxGroups",
    ),
    "a spread by nothing known": (placed(spread=[{"by": "planet"}]), "spec.placement.spread"),
    "a group of nothing": (
        placed(siteGroups=[{"name": "a"}]),
        "set sites or siteSelector",
    ),
    "two groups of one name": (
        placed(siteGroups=[{"name": "a", "sites": ["b"]}] * 2),
        "Duplicate value",
    ),
    "In without values": (
        placed(siteSelector={"matchExpressions": [{"key": "a", "operator": "In"}]}),
        "In and NotIn need values",
    ),
    "Exists with values": (
        placed(
            siteSelector={"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}
        ),
        "In and NotIn need values",
    ),
    "a toleration of Exists with a value": (
        placed(siteTolerations=[{"key": "a", "operator": "Exists", "value": "b"}]),
        "operator Exists must have no value",
    ),
    "a toleration of nothing": (placed(siteTolerations=[{}]), "needs operator: Exists"),
    "pull with a kubeconfig": (
        site(delivery={"mode": "Pull", "kubeconfigSecretRef": SECRET_REF}),
        "mode Pull",
    ),
    "push without a way": (site(delivery={"mode": "Push"}), "mode Push needs"),
    "a key that is none": (site(delivery={"agentKeys": ["secret"]}), "write ed25519:"),
    "a window that ends before it begins": (
        site(maintenance=[{"from": "2026-12-02T00:00:00Z", "until": "2026-12-01T00:00:00Z"}]),
        "until must be later than from",
    ),
    "more windows than there may be": (
        site(maintenance=[{"from": "2026-12-01T00:00:00Z", "until": "2026-12-02T00:00:00Z"}] * 65),
        "64",
    ),
    "a PUE below one": (site(energy={"pue": 0.9}), "greater than or equal to 1"),
    "a latitude off the globe": (site(location={"latitude": 91}), "less than or equal to 90"),
    "a negative request": (workload(demand={"requests": {"cpu": "-1"}}), "spec.demand.requests"),
    "a request that is none": (workload(demand={"requests": {"cpu": "1.5.2"}}), "should match"),
    "a manifest without a kind": (workload(manifests=[{"apiVersion": "v1"}]), "kind"),
    "two rules for one class": (
        ("DataClassScheme", {"classes": [{"name": "important"}] * 2}),
        "Duplicate value",
    ),
    "a tenant of no namespace": (("Tenant", {"namespaces": []}), "spec.namespaces"),
}

ACCEPTED: dict[str, tuple[str, dict[str, Any]]] = {
    "nothing but a class": workload(dataClass="general-1"),
    "no class, which is a reason of its own": workload(demand={}),
    "the classified zone, which is a reason of its own": workload(networkZones=["classified"]),
    "core data, which is a reason of its own": workload(dataClass="core"),
    "hong kong": workload(jurisdictions=["HK", "MO"]),
    "quantities in every form": workload(
        demand={"requests": {"cpu": "500m", "memory": "1Gi", "a.com/b": 1, "pods": "1e3"}}
    ),
    "manifests": workload(manifests=[CONFIG_MAP | {"data": {"a": "b"}}]),
    "a kind whose pods only its demand tells": workload(
        manifests=[{"apiVersion": "a.example/v1", "kind": "Farm", "metadata": {"name": "a"}}],
        demand={"requests": {"cpu": "1"}, "podTemplatePaths": ["spec.template"]},
    ),
    "push": site(delivery={"mode": "Push", "kubeconfigSecretRef": SECRET_REF}),
    "a key": site(delivery={"agentKeys": [KEY]}),
    "all sites of a group": placed(siteGroups=[{"name": "all", "siteSelector": {}}]),
    "a toleration of everything": placed(siteTolerations=[{"operator": "Exists"}]),
}


def objects(cases: dict[str, tuple[str, dict[str, Any]]]) -> str:
    items = [
        {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"name": f"case-{number:02}"}
            | ({"namespace": "default"} if kind == "Workload" else {}),
            "spec": spec,
        }
        for number, (kind, spec) in enumerate(cases.values())
    ]
    return "\n---\n".join(map(json.dumps, items))


def kubectl(kubeconfig: Path, *words: str, given: str = "") -> tuple[str, str]:
    done = subprocess.run(
        [KUBECTL, "--kubeconfig", kubeconfig, *words],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("api")
    command = [sys.executable, "-m", "scheduler.cli.entry", "serve-api", "--data-dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        said = server.stdout.readline()
        assert server.stdout.readline().strip() == "ready"
        yield Path(said.split()[-1])
        server.terminate()


REAL = os.environ.get("KAPOK_TEST_KUBECONFIG", "")


@pytest.fixture(scope="module", params=["embedded", "real"] if REAL else ["embedded"])
def kubeconfig(request: pytest.FixtureRequest) -> Path:
    if request.param == "embedded":
        found: Path = request.getfixturevalue("embedded")
        return found
    real = Path(REAL)
    kubectl(real, "apply", "--server-side", "-f", str(packaged_folder("manifests") / "crds"))
    kubectl(real, "wait", "crd", "--all", "--for=condition=Established")
    return real


def test_wrong_objects_are_refused_with_what_to_write_instead(kubeconfig: Path) -> None:
    cases = {name: given for name, (given, _) in REFUSED.items()}
    made, refused = kubectl(
        kubeconfig, "create", "--dry-run=server", "-f", "-", given=objects(cases)
    )
    assert made == ""
    said = ("\n" + refused).split("\nThe ")
    for number, (name, (_, phrase)) in enumerate(REFUSED.items()):
        about = [part for part in said if f'"case-{number:02}"' in part]
        assert about, f"{name}: {refused}"
        assert phrase in about[0], f"{name}: {about}"


def test_right_objects_are_accepted(kubeconfig: Path) -> None:
    made, refused = kubectl(
        kubeconfig, "create", "--dry-run=server", "-f", "-", given=objects(ACCEPTED)
    )
    assert refused == ""
    assert len(made.splitlines()) == len(ACCEPTED)


def test_the_epoch_never_falls(embedded: Path) -> None:
    kubectl(embedded, "create", "-f", "-", given=objects({"a": workload(dataClass="general-1")}))

    def write(status: str) -> str:
        patch = ["patch", "kw", "case-00", "--subresource=status", "--type=merge", "-p", status]
        return "".join(kubectl(embedded, *patch))

    assert "patched" in write('{"status": {"epoch": 7, "phase": "Waiting"}}')
    for lower in ('{"status": {"epoch": 6}}', '{"status": {"epoch": null}}', '{"status": null}'):
        assert "status.epoch must not decrease" in write(lower)
    assert "patched" in write('{"status": {"epoch": 8}}')


def test_an_incarnation_that_is_set_stays(embedded: Path) -> None:
    kubectl(embedded, "create", "ns", "lives")
    given = objects({"a": workload(dataClass="general-1")}).replace("default", "lives")
    kubectl(embedded, "create", "-n", "lives", "-f", "-", given=given)

    def write(status: str) -> str:
        words = ["patch", "kw", "case-00", "-n", "lives", "--subresource=status"]
        patch = [*words, "--type=merge", "-p", status]
        return "".join(kubectl(embedded, *patch))

    assert "should match" in write('{"status": {"incarnation": "a/b"}}')
    assert "patched" in write('{"status": {"incarnation": "abc"}}')
    for other in ('{"incarnation": "abd"}', '{"incarnation": ""}', '{"incarnation": null}', "null"):
        assert "status.incarnation must not change" in write(f'{{"status": {other}}}')
    assert "patched" in write('{"status": {"incarnation": "abc", "phase": "Waiting"}}')


def test_explain_shows_the_documented_fields(kubeconfig: Path) -> None:
    said, _ = kubectl(kubeconfig, "explain", "workloads.kapok.dev.spec.placement.spread")
    for word in ("minGroups", "province, city", "The lowest number of places"):
        assert word in said
