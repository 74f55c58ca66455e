"""A real Prometheus scrapes a running `kapok up`; every query of ours has an answer there."""

import re
import shutil
import subprocess
import urllib.request
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from agents.protocol.keys import SigningKey
from agents.protocol.report import Report, ReportedIntensity, ReportedPower
from tests.support.grafana import queries, unanswered
from tests.support.prometheus import Prometheus, prometheus
from tests.support.scripted_site import ScriptedSite, running_sites
from tests.support.tools import require_tool
from tests.support.up import ROOT, Up, becomes, eventually, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

MANIFESTS = ROOT / "manifests"
TENANT = """
apiVersion: kapok.dev/v1alpha1
kind: Tenant
metadata: {name: tests}
spec: {namespaces: [default], quota: {cpu: "8"}, budget: {kgco2ePerMonth: 50, cnyPerMonth: 90}}
---
"""
WORKLOAD = """
apiVersion: kapok.dev/v1alpha1
kind: Workload
metadata: {{name: {name}, namespace: default}}
spec:
  dataClass: {data_class}
  protectionLevel: 2
  networkZones: [public-network]
  replicas: 3
  manifests:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {{name: {name}}}
    spec:
      replicas: 1
      selector: {{matchLabels: {{app: {name}}}}}
      template:
        metadata: {{labels: {{app: {name}}}}}
        spec:
          containers:
          - {{name: web, image: "web:1", resources: {{requests: {{cpu: "1", memory: 1Gi}}}}}}
---
"""


class PoweredSite(ScriptedSite):
    """A site that knows its power and its grid."""

    def report(self) -> Report:
        return replace(
            ScriptedSite.report(self),
            power=ReportedPower(watts=4000, origin="measured"),
            intensity=ReportedIntensity(gco2_per_kwh=441.9, origin="yearly"),
        )


def busy_up(up: Up) -> tuple[ScriptedSite, ...]:
    """Sites and work of every kind: what runs, what is refused, and a liar."""
    one = PoweredSite("m1", up.ready["broker"], up.ready["hubKey"])
    liar = ScriptedSite("m1", up.ready["broker"], up.ready["hubKey"], key=SigningKey.generate())
    up.apply(
        one.manifest
        + TENANT
        + WORKLOAD.format(name="portal", data_class="general-2")
        + WORKLOAD.format(name="secret", data_class="important")
    )
    return one, liar


def test_prometheus_scrapes_kapok_and_answers_every_query_of_the_dashboard(tmp_path: Path) -> None:
    require_tool("prometheus")
    with running_up(tmp_path) as up:
        target = up.ready["metrics"].split("/")[2]
        with prometheus(tmp_path, target) as server:
            eventually(lambda: server.value("kapok_leader") == 1)
            ask_everything(up, server)
            page = fetch(up.ready["metrics"])
    checked = subprocess.run(
        [require_tool("promtool"), "check", "metrics"], input=page, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


VALUES = {
    "up": 1,
    "kapok_site_power_watts": 4000,
    "kapok_site_emission_gco2_per_hour": pytest.approx(4 * 1.3 * 441.9),
    'kapok_site_free{resource="cpu"}': 32,
    'kapok_site_used{resource="cpu"}': 3,
    'kapok_orders{phase="Ready"}': 1,
    "kapok_ready_wait_time_seconds_count": 1,
    'kapok_site_unplaced_workloads{site="m1"}': 1,
    'kapok_tenant_used{tenant="tests",resource="cpu"}': 3,
    'kapok_tenant_workloads{tenant="tests",phase="Refused"}': 1,
}


def ask_everything(up: Up, server: Prometheus) -> None:
    with running_sites(*busy_up(up)):
        running = 'kapok_workloads{phase="Running"}'
        eventually(lambda: server.value(running) == 1)
        eventually(lambda: server.value('kapok_workloads{phase="Refused"}') == 1)
        # A figure is there once it was made, and scraped after that.
        for name, wanted in VALUES.items():
            becomes(partial(server.value, name), wanted)
        left = list(queries())

        def all_are_answered() -> bool:
            left[:] = unanswered(server, left)
            return not left

        try:
            eventually(all_are_answered, pause_seconds=0.5)
        except AssertionError:
            raise AssertionError(f"without an answer: {left}") from None
        eventually(lambda: server.query("kapok:emission_gco2_per_hour:sum"))


def fetch(url: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=60) as answer:
        body: bytes = answer.read()
    return body


@pytest.mark.parametrize(
    "words", [("check", "rules", "rules.yaml"), ("test", "rules", "rules_test.yaml")]
)
def test_the_rules_are_sound_and_alert_when_they_should(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [require_tool("promtool"), *words],
        cwd=MANIFESTS / "prometheus",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test_and_says_what_to_do() -> None:
    rules = (MANIFESTS / "prometheus" / "rules.yaml").read_text()
    tests = (MANIFESTS / "prometheus" / "rules_test.yaml").read_text()
    alerts = re.findall(r"alert: (\w+)", rules)
    assert alerts
    assert [name for name in alerts if f"alertname: {name}" not in tests] == []
    assert rules.count("action:") == rules.count("summary:") == len(alerts)


def test_the_example_scrape_configuration_is_one(tmp_path: Path) -> None:
    for name in ("prometheus.yaml", "rules.yaml"):
        shutil.copy(MANIFESTS / "prometheus" / name, tmp_path)
    done = subprocess.run(
        [require_tool("promtool"), "check", "config", str(tmp_path / "prometheus.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
