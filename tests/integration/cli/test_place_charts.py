"""`kapok place` decides the objects of well-known charts, or says what they would need."""

from pathlib import Path

import msgspec
import pytest

from scheduler.cli.entry import main
from tests.support.charts import chart_names, chart_tenant, chart_workload
from tests.support.sites import NOW, Raw, grant, nodes, site

pytestmark = pytest.mark.integration

NAMESPACE = "shop"
ROOM = nodes(4, cpu="16", memory="64Gi", **{"ephemeral-storage": "100Gi"})
EXTENSIONS = "apiextensions.k8s.io/v1/CustomResourceDefinition"
LIST = "is cluster-scoped; the Tenant's clusterKinds must list"
RIGHTS = "rbac.authorization.k8s.io/v1/"

REFUSED_TO_DEPARTMENTS = {
    "argo-cd": f"applications.argoproj.io {LIST} {EXTENSIONS}",
    "cert-manager": f"certificates.cert-manager.io {LIST} {EXTENSIONS}",
    "elasticsearch": "initContainers[0].securityContext.privileged",
    "nginx-ingress": f"{LIST} {RIGHTS}ClusterRole",
    "prometheus": f"{LIST} {RIGHTS}ClusterRole",
    "vault": f"{LIST} {RIGHTS}ClusterRoleBinding",
}
"""What the refusal of a chart says to an ordinary tenant, where it needs more than a namespace."""

WITH_SECRET_DATA = ["grafana", "postgresql"]


def decided(tmp_path: Path, capsys: pytest.CaptureFixture[str], *objects: Raw) -> Raw:
    path = tmp_path / "all.json"
    path.write_bytes(b"\n---\n".join(map(msgspec.json.encode, objects)))
    main(["place", "-f", str(path), "--now", NOW.isoformat(), "-o", "json"])
    (decision,) = msgspec.json.decode(capsys.readouterr().out)["decisions"]
    found: Raw = decision
    return found


def test_there_are_twenty_charts() -> None:
    assert len(chart_names()) == 20
    assert {*REFUSED_TO_DEPARTMENTS, *WITH_SECRET_DATA} <= set(chart_names())


@pytest.mark.parametrize("chart", chart_names())
def test_a_tenant_that_runs_platforms_gets_every_chart_placed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], chart: str
) -> None:
    objects = (site("m1", ROOM), grant("m1"), chart_tenant(NAMESPACE, platform=True))
    found = decided(tmp_path, capsys, *objects, chart_workload(chart, NAMESPACE))
    assert (found["phase"], [one["name"] for one in found["sites"]]) == ("Placed", ["m1"]), found


@pytest.mark.parametrize("chart", chart_names())
def test_an_ordinary_tenant_gets_a_chart_placed_or_is_told_what_it_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], chart: str
) -> None:
    objects = (site("m1", ROOM), grant("m1"), chart_tenant(NAMESPACE, platform=False))
    found = decided(tmp_path, capsys, *objects, chart_workload(chart, NAMESPACE))
    expected = REFUSED_TO_DEPARTMENTS.get(chart)
    assert found["phase"] == ("Placed" if expected is None else "Refused"), found
    assert (expected or "") in found["line"]


@pytest.mark.parametrize("chart", WITH_SECRET_DATA)
def test_a_chart_with_the_data_of_a_secret_is_refused_with_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], chart: str
) -> None:
    objects = (site("m1", ROOM), grant("m1"), chart_tenant(NAMESPACE, platform=True))
    rendered = chart_workload(chart, NAMESPACE, as_rendered=True)
    found = decided(tmp_path, capsys, *objects, rendered)
    assert found["phase"] == "Refused"
    assert "has inline data; refer to a Secret that exists at the site" in found["line"]
