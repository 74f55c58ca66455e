"""`kapok up` as a process, with real kubectl and sites at the level of the wire."""

import asyncio
import json
import os
import signal
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agents.protocol.keys import SigningKey
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.recorder import adoption_entry
from scheduler.placement.kernel import loader as compiled
from tests.support.certificates import write_certificate
from tests.support.scripted_site import ScriptedSite, replicas_of, running_sites
from tests.support.up import (
    BIN,
    FAST_SETTINGS,
    ROOT,
    Up,
    becomes,
    eventually,
    kapok,
    running_up,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

WORKLOAD = """
apiVersion: kapok.dev/v1alpha1
kind: Workload
metadata: {name: portal, namespace: default}
spec:
  dataClass: general-2
  protectionLevel: 2
  networkZones: [public-network]
  replicas: 3
  manifests:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: portal}
    spec:
      replicas: 1
      selector: {matchLabels: {app: portal}}
      template:
        metadata: {labels: {app: portal}}
        spec:
          containers:
          - {name: web, image: "portal:1", resources: {requests: {cpu: "1", memory: 1Gi}}}
"""


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with running_up(tmp_path) as running:
        yield running


def site(up: Up, name: str = "m1") -> ScriptedSite:
    return ScriptedSite(name, up.ready["broker"], up.ready["hubKey"])


def phase(up: Up, name: str = "portal") -> str:
    return str(up.get("workloads.kapok.dev", name).get("status", {}).get("phase", ""))


def look(up: Up, *fields: str) -> tuple[object, ...]:
    """Fields of the workload's status, of one read."""
    status = up.get("workloads.kapok.dev", "portal").get("status", {})
    return tuple(status.get(one) for one in fields)


def is_running(up: Up) -> bool:
    return phase(up) == "Running"


def test_a_workload_goes_all_the_way_and_back(up: Up) -> None:
    one = site(up)
    up.apply(one.manifest + WORKLOAD)
    with running_sites(one):
        shown = ("phase", "sites", "replicas", "ready")
        becomes(lambda: look(up, *shown), ("Running", "m1 (3)", 3, 3))
        status = up.get("workloads.kapok.dev", "portal")["status"]
        [content] = one.contents.values()
        assert replicas_of(content) == 3
        table = up.kubectl("get", "kw", "-A")
        assert "Running" in table
        assert "m1 (3)" in table
        assert "placed on m1 (3)" in eventually(lambda: events_of(up))
        up.kubectl("delete", "workloads.kapok.dev", "portal", "--timeout=60s")
        assert one.contents == {}
    with LedgerReader(up.data_dir / "ledger.db") as ledger:
        record = ledger.find(status["decision"]["id"])
        assert record is not None
        assert record.hash == status["decision"]["hash"]


def test_a_recorded_decision_is_explained_replayed_and_verified(up: Up) -> None:
    one = site(up)
    up.apply(one.manifest + WORKLOAD)
    with running_sites(one):
        eventually(lambda: is_running(up))
        decision = up.get("workloads.kapok.dev", "portal")["status"]["decision"]["id"]
        network = ("--kubeconfig", up.ready["kubeconfig"])
        words = ("explain", "default/portal")
        explanation = kapok(up, *words)
        # What it notes of the present, such as a silent site, may change between two calls.
        named = (*words, "--decision", decision, *network)
        eventually(lambda: kapok(up, *named) == kapok(up, *words))
    assert (explanation["decision"], explanation["line"]) == (decision, "placed on m1 (3)")
    [shown] = explanation["sites"]
    assert shown["admitted"]
    assert all(verdict["passed"] for verdict in shown["verdicts"])
    assert kapok(up, "replay", decision)["same"] is True
    assert kapok(up, "replay", decision, *network)["same"] is True
    verdict = kapok(up, "ledger", "verify")
    assert verdict["ok"]
    assert verdict["first_bad"] is None
    assert verdict["records"] >= 1


def events_of(up: Up) -> str:
    """What `kubectl describe` shows under Events, once there is something."""
    events = up.kubectl("describe", "workloads.kapok.dev", "portal").partition("Events:")[2]
    return "" if "<none>" in events else events


def test_scaling_and_a_changed_manifest_reach_the_site(up: Up) -> None:
    one = site(up)
    up.apply(one.manifest + WORKLOAD)
    with running_sites(one):
        eventually(lambda: is_running(up))
        up.kubectl("scale", "workloads.kapok.dev/portal", "--replicas=5")
        eventually(lambda: [replicas_of(c) for c in one.contents.values()] == [5])
        up.apply(WORKLOAD.replace("portal:1", "portal:2"))
        eventually(lambda: "portal:2" in str(one.contents))
        eventually(lambda: is_running(up))


TENANT = """
apiVersion: kapok.dev/v1alpha1
kind: Tenant
metadata: {name: tests}
spec: {namespaces: [default], quota: {cpu: "4"}}
---
"""


def test_a_quota_counts_all_workloads_of_a_tenant_and_released_quota_is_used(up: Up) -> None:
    one = site(up)
    second = WORKLOAD.replace("portal", "second")
    up.apply(one.manifest + TENANT + WORKLOAD)
    with running_sites(one):
        eventually(lambda: is_running(up))
        up.apply(second)
        eventually(lambda: phase(up, "second") == "Waiting")
        assert "quota" in up.get("workloads.kapok.dev", "second")["status"]["reason"]
        up.kubectl("delete", "workloads.kapok.dev", "portal", "--timeout=60s")
        eventually(lambda: phase(up, "second") == "Running")


def test_workloads_with_anti_affinity_run_apart(up: Up) -> None:
    one, two = site(up), site(up, "m2")
    apart = WORKLOAD.replace("portal", "second") + (
        "  placement:\n"
        "    affinity: [{kind: Apart, by: site, selector: {matchLabels: {app: portal}}}]\n"
    )
    labelled = WORKLOAD.replace("namespace: default}", "namespace: default, labels: {app: portal}}")
    up.apply(one.manifest + two.manifest + labelled)
    with running_sites(one, two):
        eventually(lambda: is_running(up))
        up.apply(apart)
        eventually(lambda: phase(up, "second") == "Running")
        sites = [
            up.get("workloads.kapok.dev", name)["status"]["sites"] for name in ("portal", "second")
        ]
        assert sites[0] != sites[1]


def test_a_workload_that_is_deleted_and_created_again_runs_again(up: Up) -> None:
    one = site(up)
    up.apply(one.manifest + WORKLOAD)
    with running_sites(one):
        eventually(lambda: is_running(up))
        for _ in range(3):
            before = set(one.contents)
            up.kubectl("delete", "workloads.kapok.dev", "portal", "--timeout=60s")
            up.apply(WORKLOAD)
            eventually(lambda: is_running(up))
            assert before.isdisjoint(one.contents), "a new life has an order id of its own"


def in_flight(up: Up, site: str) -> float:
    """Replicas that are ordered at a site and in no report."""
    line = f'kapok_site_in_flight_replicas{{site="{site}"}} '
    return float(metrics(up).partition(line)[2].partition("\n")[0] or -1)


def test_replicas_that_have_ended_or_moved_are_no_longer_in_flight(up: Up) -> None:
    one, two = site(up), site(up, "m2")
    chosen = "  placement: {siteSelector: {matchLabels: {pool: SITE}}}\n"
    labelled = [
        s.manifest.replace(
            f"metadata: {{name: {s.name}}}",
            f"metadata: {{name: {s.name}, labels: {{pool: {s.name}}}}}",
        )
        for s in (one, two)
    ]
    up.apply(labelled[0] + labelled[1] + WORKLOAD + chosen.replace("SITE", "m1"))
    with running_sites(one, two):
        eventually(lambda: is_running(up))
        one.is_finished = True
        eventually(lambda: phase(up) == "Completed")
        eventually(lambda: in_flight(up, "m1") == 0)
        one.is_finished = False
        eventually(lambda: is_running(up))  # finished work that is edited is not run again
        up.apply(
            WORKLOAD
            + chosen.replace("{siteSelector", "{mode: Fresh, siteSelector").replace("SITE", "m2")
        )
        eventually(lambda: two.contents)
        eventually(lambda: not one.contents)
        eventually(lambda: (in_flight(up, "m1"), in_flight(up, "m2")) == (0, 0))


def test_a_workload_that_no_site_may_hold_says_why_and_is_placed_once_one_may(up: Up) -> None:
    one = site(up)
    up.apply(one.manifest + WORKLOAD.replace("general-2", "general-4"))
    with running_sites(one):
        eventually(lambda: phase(up) == "Refused")
        assert "data-class" in up.get("workloads.kapok.dev", "portal")["status"]["reason"]
        up.apply(WORKLOAD)
        eventually(lambda: is_running(up))


def test_a_workload_waits_for_capacity_and_is_requeued_by_the_report_that_shows_it(up: Up) -> None:
    one = site(up)
    one.cpu = "500m"
    up.apply(one.manifest + WORKLOAD)
    with running_sites(one):
        eventually(lambda: phase(up) == "Waiting")
        one.cpu = "8"
        eventually(lambda: is_running(up))
        up.kubectl("scale", "workloads.kapok.dev/portal", "--replicas=100")
        becomes(lambda: look(up, "phase", "sites"), ("Waiting", "m1 (3)"))
        one.cpu = "32"
        becomes(lambda: look(up, "phase", "sites"), ("Running", "m1 (100)"))


@pytest.mark.parametrize("step", ["after-ledger", "after-status", "after-order"])
def test_a_kill_between_two_steps_loses_nothing_and_duplicates_nothing(
    tmp_path: Path, step: str
) -> None:
    up = Up(tmp_path).start("tests.support.crashing_up", step)
    one = site(up)
    try:
        up.apply(one.manifest)
        with running_sites(one):
            up.apply(WORKLOAD)
            assert up.wait_until_dead() == -signal.SIGKILL
            up.start()
            eventually(lambda: is_running(up))
            [content] = one.contents.values()
            assert replicas_of(content) == 3
            assert one.indexes == sorted(one.indexes)
            status = up.get("workloads.kapok.dev", "portal")["status"]
    finally:
        up.kill()
    with LedgerReader(up.data_dir / "ledger.db") as ledger:
        record = ledger.find(status["decision"]["id"])
        assert record is not None
        assert record.hash == status["decision"]["hash"]
        records = ledger.records(subject="default/portal")
        undone = [one.content["undoes"] for one in records if one.kind == "not-carried-out"]
        decided = [one.id for one in records if one.content.get("decision")]
        assert undone == (decided[:1] if step == "after-ledger" else [])


def test_a_restart_keeps_ports_placements_and_orders(up: Up) -> None:
    one = site(up)
    up.apply(one.manifest + WORKLOAD)
    with running_sites(one):
        eventually(lambda: is_running(up))
        before, generation = dict(up.ready), next(iter(one.contents.values())).generation
        assert up.stop() == 0
        epoch = max(one.indexes)[0]  # before the start: the site may hear the next one at once
        one.listed.clear()
        up.start()
        assert up.ready == before
        eventually(lambda: max(one.indexes)[0] > epoch)
        eventually(lambda: is_running(up))
        assert () not in one.listed, "an index without the order would withdraw it"
        assert next(iter(one.contents.values())).generation == generation


def test_a_broker_that_is_killed_and_comes_back_empty_has_the_orders_again(up: Up) -> None:
    one = site(up)
    up.apply(one.manifest + WORKLOAD)
    with running_sites(one):
        eventually(lambda: is_running(up))
        os.kill(broker_pid(up), signal.SIGKILL)
        late = ScriptedSite("m1", up.ready["broker"], up.ready["hubKey"], key=one.key)
        late.boot_number = 2
        one.is_talking = False
        with running_sites(late):
            eventually(lambda: [replicas_of(c) for c in late.contents.values()] == [3])


def broker_pid(up: Up) -> int:
    """The child of `kapok up` that is the broker."""
    for child in Path(f"/proc/{up.pid}/task/{up.pid}/children").read_text().split():
        words = Path(f"/proc/{child}/cmdline").read_text()
        if "mosquitto" in words or "iotcore" in words:
            return int(child)
    raise AssertionError("no broker among the children")


def test_the_broker_ends_with_the_scheduler_also_by_kill(up: Up) -> None:
    broker = broker_pid(up)
    up.kill()
    eventually(lambda: not Path(f"/proc/{broker}").exists(), within_seconds=60)


def test_an_edit_that_is_not_accepted_leaves_what_runs_also_over_a_restart(up: Up) -> None:
    one = site(up)
    up.apply(one.manifest + WORKLOAD)
    with running_sites(one):
        eventually(lambda: is_running(up))
        up.apply(
            WORKLOAD.replace("kind: Deployment", "kind: Secret").replace(
                "    spec:\n      replicas: 1",
                "    stringData: {a: top-secret}\n    spec:\n      replicas: 1",
            )
        )
        eventually(lambda: "inline" in str(up.get("workloads.kapok.dev", "portal")["status"]))
        up.stop()
        one.listed.clear()
        up.start()
        eventually(lambda: one.listed)
        assert () not in one.listed
        assert "portal:1" in str(one.contents)
        assert "stringData" not in str(one.contents)
    assert b"top-secret" not in (up.data_dir / "ledger.db").read_bytes()
    assert secret_is_recorded_as_hidden(up)


def secret_is_recorded_as_hidden(up: Up) -> bool:
    with LedgerReader(up.data_dir / "ledger.db") as ledger:
        specs = [str(ledger.blob(one.content["spec"])) for one in ledger.records()]
    return any("(not recorded)" in one for one in specs) and "top-secret" not in str(specs)


def test_a_second_instance_on_one_directory_is_refused_by_name(up: Up) -> None:
    second = Up(up.folder)
    with pytest.raises(AssertionError, match=rf"in use by another kapok \(process {up.pid}\)"):
        second.start()
    assert second.wait_until_dead() == 1


def test_a_hub_that_lost_all_but_its_key_takes_orders_over_once_the_operator_accepts_it(
    tmp_path: Path,
) -> None:
    first, other = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    with running_up(first) as up:
        one = site(up)
        up.apply(one.manifest + WORKLOAD)
        with running_sites(one):
            eventually(lambda: is_running(up))
        [content] = one.contents.values()
        key = (up.data_dir / "hub.key").read_bytes()
    (other / "data").mkdir(parents=True, mode=0o700)
    (other / "data" / "hub.key").touch(mode=0o600)
    (other / "data" / "hub.key").write_bytes(key)
    with running_up(other) as up:
        restored = ScriptedSite("m1", up.ready["broker"], up.ready["hubKey"], key=one.key)
        restored.boot_number = 2
        restored.runs = {content.id: (content.generation, 3)}
        restored.index = None
        with running_sites(restored):
            up.apply(restored.manifest + WORKLOAD)
            eventually(lambda: "kapok hub adopt" in reason(up, "portal"))
            assert restored.listed == [], "an index would withdraw what the site runs"
            adopt(up)
            becomes(lambda: look(up, "phase", "sites"), ("Running", "m1 (3)"))
            # It is adopted by what the site says it runs; the content follows with the index.
            eventually(lambda: list(restored.contents) == [content.id])
            assert () not in restored.listed, "an index without the order would withdraw it"


def reason(up: Up, name: str) -> str:
    return str(up.get("workloads.kapok.dev", name).get("status", {}).get("reason", ""))


def adopt(up: Up) -> None:
    """The operator accepts the loss, beside the running scheduler."""

    async def append() -> None:
        async with Ledger(up.data_dir) as ledger:
            await ledger.append(adoption_entry(1, datetime(2026, 1, 1, tzinfo=UTC)))

    asyncio.run(append())


def test_an_unadmitted_site_is_listed_with_the_command_that_admits_it(up: Up) -> None:
    unadmitted = site(up, "m9")
    with running_sites(unadmitted):
        shown = eventually(lambda: pending(up))
        [row] = shown
        assert row["site"] == "m9"
        assert row["admitWith"] == f"kapok admit m9 --key {unadmitted.key.public}"


def pending(up: Up) -> list[dict[str, str]]:
    body = up.get("configmap", "kapok-pending-sites", "kapok-system")
    rows = body.get("data") or {}
    return [
        {"site": name, "admitWith": f"kapok admit {name} --key {json.loads(text)['agentKey']}"}
        for name, text in rows.items()
    ]


def test_the_readme_makes_this_machine_a_site_in_three_commands(up: Up, tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text().partition("## This laptop as a site")[2]
    block = text.partition("```\n")[2].partition("```")[0]
    export, admit, agent = block.strip().splitlines()
    environment = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "KAPOK_DATA_HOME": str(up.data_dir),
        "BROKER_PORT": up.ready["broker"].rpartition(":")[2],
        "HUB_KEY": up.ready["hubKey"],
    }
    script = f"{export}\n{admit}\nexec {agent}"
    with subprocess.Popen(["bash", "-ec", script], cwd=tmp_path, env=environment) as shell:  # noqa: S607 - as people do
        try:
            eventually(lambda: "True" in up.kubectl("get", "sites", "my-laptop", check=False))
        finally:
            shell.terminate()


def metrics(up: Up) -> str:
    with urllib.request.urlopen(up.ready["metrics"], timeout=60) as answer:  # noqa: S310 - our own
        text: str = answer.read().decode()
    return text


def test_the_log_says_whether_decisions_run_compiled(up: Up) -> None:
    assert up.log.count(compiled.MODE_SENTENCE) == 1
    assert up.ready["kernel"] == compiled.MODE
    assert f'kernel="{compiled.MODE}"}} 1' in metrics(up)


def test_bad_messages_are_counted_and_the_process_goes_on(up: Up) -> None:
    one = site(up)
    up.apply(one.manifest)
    liar = ScriptedSite("m1", up.ready["broker"], up.ready["hubKey"], key=SigningKey.generate())
    with running_sites(liar):
        eventually(lambda: 'kapok_bad_messages_total{kind="unknown-key"}' in metrics(up))
    up.apply(WORKLOAD)
    with running_sites(one):
        eventually(lambda: is_running(up))


def test_a_field_without_effect_sets_a_condition(up: Up) -> None:
    asked = WORKLOAD + "  schedule: {interruptible: true}\n"
    said = up.kubectl("apply", "-f", "-", text=asked, check=False)
    assert "Warning: spec.schedule.interruptible is not enforced" in said
    condition = eventually(lambda: not_enforced(up))
    assert condition["status"] == "True"
    assert "spec.schedule.interruptible" in condition["message"], condition


def test_an_object_that_nothing_runs_is_answered_with_a_command_that_wraps_it(
    up: Up, tmp_path: Path
) -> None:
    bare = tmp_path / "bare.yaml"
    bare.write_text(WORKLOAD.partition("manifests:\n  - ")[2].replace("\n    ", "\n"))
    said = up.kubectl("apply", "-n", "default", "-f", str(bare), check=False)
    assert "Warning: nothing at this hub runs Deployment portal" in said
    [command] = [line.partition("of it: ")[2] for line in said.splitlines() if "of it: " in line]
    environment = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "KAPOK_DATA_HOME": str(up.data_dir),
    }
    script = command.replace("FILE", str(bare))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],  # noqa: S607 - as people do
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    [manifest] = up.get("workloads.kapok.dev", "portal")["spec"]["manifests"]
    assert manifest["spec"]["template"]["spec"]["containers"][0]["image"] == "portal:1"


def test_the_page_speaks_tls_and_the_log_is_json(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path, "kapok.example.org")
    web = {
        "host": "0.0.0.0",  # noqa: S104 - what is tested
        "tls_certificate_file": str(certificate),
        "tls_key_file": str(key),
        "allowed_hosts": ["kapok.example.org"],
    }
    settings = f"{FAST_SETTINGS}\nweb: {json.dumps(web)}\nlog: {{format: json}}\n"
    with running_up(tmp_path, settings=settings) as up:
        assert up.ready["page"].startswith("https://kapok.example.org:")
        context = ssl.create_default_context(cafile=str(certificate))
        with urllib.request.urlopen(up.ready["metrics"], timeout=60, context=context) as answer:  # noqa: S310 - our own
            assert b"kapok_" in answer.read()
        opened = kapok(up, "open")["url"]
        with urllib.request.urlopen(opened, timeout=60, context=context) as answer:  # noqa: S310 - our own
            assert "Secure" in answer.headers["Set-Cookie"]
        one = site(up)
        up.apply(one.manifest + WORKLOAD)
        with running_sites(one):
            eventually(lambda: is_running(up))
        decision = up.get("workloads.kapok.dev", "portal")["status"]["decision"]["id"]
        eventually(lambda: "Granted" in up.kubectl("describe", "site", "m1"))
    lines = [json.loads(line) for line in up.log.splitlines()]  # nothing writes it any more
    assert all({"time", "level", "logger", "message"} <= set(one) for one in lines)
    [decided] = [one for one in lines if one.get("decision") == decision]
    assert decided["workload"] == "default/portal"
    assert {"m1"} == {one["site"] for one in lines if "order" in one}
    words = [one["message"] for one in lines if one.get("site") == "m1"]
    assert any("is admitted" in one for one in words)
    assert any("grant" in one for one in words)


def not_enforced(up: Up) -> dict[str, str]:
    status = up.get("workloads.kapok.dev", "portal").get("status") or {}
    found: list[dict[str, str]] = status.get("conditions") or []
    return next((one for one in found if one["type"] == "NotEnforced"), {})


def test_a_site_that_claims_rights_gets_none(up: Up) -> None:
    one = site(up)
    site_only = one.manifest.partition("---")[0]  # without its grant
    up.apply(site_only + "---\n" + TENANT + WORKLOAD)
    with running_sites(one):
        eventually(lambda: phase(up) == "Refused")
        assert (
            "0/1 sites are feasible" in up.get("workloads.kapok.dev", "portal")["status"]["reason"]
        )
        assert one.contents == {}


def ready_of_m1(up: Up) -> str:
    """The condition Ready of the site m1."""
    conditions = up.get("sites.kapok.dev", "m1")["status"]["conditions"]
    return str(next(one for one in conditions if one["type"] == "Ready")["status"])


def test_a_silent_site_is_not_ready_and_keeps_its_replicas(up: Up) -> None:
    one = site(up)
    up.apply(one.manifest + WORKLOAD)
    with running_sites(one):
        eventually(lambda: is_running(up))
        one.is_talking = False
        eventually(lambda: "unknown" in str(up.get("workloads.kapok.dev", "portal")["status"]))
        eventually(lambda: ready_of_m1(up) == "False")
        becomes(lambda: look(up, "phase", "sites", "readiness"), ("Degraded", "m1 (3)", "?/3"))
        one.is_talking = True
        eventually(lambda: "unknown" not in str(up.get("workloads.kapok.dev", "portal")["status"]))
