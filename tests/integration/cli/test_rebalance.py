"""`kapok rebalance` and `kapok rollout` on a real API server: tables, JSON, and bad input."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from scheduler.apiserver.server import ApiServerOptions, serve
from scheduler.cli.entry import main
from scheduler.control.ports.hub import GRANTS, NAMESPACES, POLICIES, SITES, TENANTS, WORKLOADS
from scheduler.control.rebalance.tasks import REBALANCE_ANNOTATION
from scheduler.control.rollout.words import WORD_ANNOTATION
from scheduler.hub.client import HubClient, open_hub
from scheduler.hub.crds.generate import make_crds
from scheduler.model.formatters import format_rfc3339
from scheduler.runtime.clock import SystemClock
from tests.support.sites import Raw, grant, nodes, site, tenant_of_ns, workload

pytestmark = pytest.mark.integration


def priced(name: str, cny: float) -> Raw:
    now = format_rfc3339(SystemClock().now())
    spec = {
        "prices": {"energyCnyPerKwh": 0.5, "coreCnyPerHour": cny},
        "energy": {"pue": 1.5, "pueOrigin": "measured"},
    }
    known = {"gco2PerKwh": 500.0, "origin": "measured", "observedAt": now}
    ready = {"type": "Ready", "status": "True", "reason": "Reporting", "lastTransitionTime": now}
    return site(name, nodes(8), spec=spec, observedAt=now, intensity=known, conditions=[ready])


def policy(**rebalance: Any) -> Raw:  # noqa: ANN401 - fields of a budget
    return {
        "apiVersion": "kapok.dev/v1alpha1",
        "kind": "PlacementPolicy",
        "metadata": {"name": "thrifty", "namespace": "ns"},
        "spec": {"rebalance": rebalance},
    }


async def create(hub: HubClient, kind: Any, body: Raw) -> None:  # noqa: ANN401 - a resource
    """Creates an object with its status."""
    made = await hub.create(kind, {one: body[one] for one in body if one != "status"})
    meta = made["metadata"]
    if body.get("status"):
        patch = {"status": {**body["status"], "observedGeneration": meta["generation"]}}
        if kind == SITES:
            patch = {"status": body["status"]}
        await hub.merge_patch(
            kind, meta["name"], patch, namespace=meta.get("namespace"), subresource="status"
        )


async def fill(hub: HubClient, budget: Raw) -> None:
    for one in (priced("dear", 2.0), priced("cheap", 0.1)):
        await create(hub, SITES, one)
    await create(hub, GRANTS, grant("dear", "cheap"))
    await create(hub, TENANTS, tenant_of_ns())
    await hub.create(
        NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ns"}}
    )
    await create(hub, POLICIES, policy(**budget))
    for name, ready in (("app", 2), ("ill", 1)):
        raw = workload(2, name=name, policyRef={"name": "thrifty"})
        del raw["spec"]["placement"]
        groups = [{"sites": ["dear"], "replicas": 2, "phase": "Running", "generation": 1}]
        raw["status"] = {
            "phase": "Running",
            "replicas": 2,
            "ready": ready,
            "placement": {"generation": 1, "groups": groups},
        }
        await create(hub, WORKLOADS, raw)


async def typed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command; in a thread, as it runs a loop of its own."""
    code = await asyncio.to_thread(main, list(words))
    out, err = capsys.readouterr()
    return code, out, err


async def test_a_dry_run_shows_what_moves_saves_and_stays_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ApiServerOptions(data_dir=tmp_path / "hub", crds=make_crds(), name="hub")
    async with serve(options) as running, open_hub(running.kubeconfig_path) as hub:
        await fill(hub, {"mode": "Advise"})
        where = ("--kubeconfig", str(running.kubeconfig_path))
        code, out, _ = await typed(capsys, "rebalance", "--dry-run", "-o", "json", *where)
        answer = json.loads(out)
        assert (code, set(answer)) == (0, {"moves", "stuck", "seconds"})
        (move,) = answer["moves"]
        assert [move[one] for one in ("workload", "from", "to", "replicas")] == [
            "ns/app",
            "dear",
            "cheap",
            2,
        ]
        assert move["savesCny"] > 24 * 2 * 1.0
        assert move["costCny"] > 0
        stays = {"workload": "ns/ill", "reason": "not all of its replicas run"}
        assert answer["stuck"] == [stays]
        code, out, _ = await typed(capsys, "rebalance", "--dry-run", *where)
        assert code == 0
        assert "SAVES-CNY/DAY" in out
        assert "ns/ill stays: not all of its replicas run" in out
        annotations = (await hub.get(WORKLOADS, "app", "ns"))["metadata"].get("annotations", {})
        assert REBALANCE_ANNOTATION not in annotations


async def test_a_budget_that_is_too_small_says_how_many_moves_are_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ApiServerOptions(data_dir=tmp_path / "hub", crds=make_crds(), name="hub")
    async with serve(options) as running, open_hub(running.kubeconfig_path) as hub:
        await fill(hub, {"mode": "Auto", "movesPerHour": 1})
        where = ("--kubeconfig", str(running.kubeconfig_path))
        code, out, _ = await typed(capsys, "rebalance", "--dry-run", "-o", "json", *where)
        answer = json.loads(out)
        assert (code, answer["moves"]) == (0, [])
        reasons = {one["workload"]: one["reason"] for one in answer["stuck"]}
        assert reasons["ns/app"] == "it needs 2 moves, and 1 are left in this hour"


async def test_a_word_that_no_scheduler_follows_is_late_and_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ApiServerOptions(data_dir=tmp_path / "hub", crds=make_crds(), name="hub")
    async with serve(options) as running, open_hub(running.kubeconfig_path) as hub:
        await fill(hub, {"mode": "Advise"})
        where = ("--kubeconfig", str(running.kubeconfig_path), "--timeout", "0")
        code, out, _ = await typed(capsys, "rebalance", "-o", "json", *where)
        answer = json.loads(out)
        assert (code, answer["moves"]) == (1, [])
        late = {"workload": "ns/app", "reason": "not moved within 0 s"}
        assert late in answer["stuck"]
        body = await hub.get(WORKLOADS, "app", "ns")
        assert REBALANCE_ANNOTATION in body["metadata"]["annotations"]


async def test_a_rollout_command_needs_a_rollout_and_a_workload(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ApiServerOptions(data_dir=tmp_path / "hub", crds=make_crds(), name="hub")
    async with serve(options) as running, open_hub(running.kubeconfig_path) as hub:
        await fill(hub, {"mode": "Off"})
        where = ("--kubeconfig", str(running.kubeconfig_path))
        code, out, _ = await typed(capsys, "rollout", "status", "ns/app", *where)
        assert (code, out) == (0, "ns/app: nothing was rolled out by groups yet\n")
        code, _, err = await typed(capsys, "rollout", "pause", "ns/app", *where)
        assert code == 1
        assert "nothing is rolled out" in err
        code, _, err = await typed(capsys, "rollout", "undo", "ns/none", *where)
        assert code == 2
        assert "none" in err
        with pytest.raises(SystemExit) as wrong:
            await typed(capsys, "rollout", "sideways", "ns/app", *where)
        assert wrong.value.code == 2
        body = await hub.get(WORKLOADS, "app", "ns")
        assert WORD_ANNOTATION not in body["metadata"].get("annotations", {})


def test_without_a_hub_both_commands_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["rebalance", "--dry-run"], ["rollout", "status", "ns/app"]):
        assert main([*words, "--data-dir", str(tmp_path / "none")]) == 2
        assert capsys.readouterr().err
