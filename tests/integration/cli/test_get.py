"""`kapok get` against a real API server: forms of output, watching, and a hub that is down."""

import asyncio
import csv
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from scheduler.apiserver.server import ApiServer, ApiServerOptions, serve
from scheduler.cli.entry import main
from scheduler.control.ports.hub import SITES, WORKLOADS
from scheduler.hub.client import open_hub
from scheduler.hub.crds.generate import make_crds
from tests.support.up import ROOT

pytestmark = pytest.mark.integration

SITE = {
    "apiVersion": "kapok.dev/v1alpha1",
    "kind": "Site",
    "metadata": {"name": "m1", "labels": {"zone": "a"}},
    "spec": {"tier": "edge", "location": {"province": "CN-GD"}},
}
WORKLOAD = {
    "apiVersion": "kapok.dev/v1alpha1",
    "kind": "Workload",
    "metadata": {"name": "portal", "namespace": "default"},
    "spec": {"dataClass": "general-2", "demand": {"replicas": 2, "requests": {"cpu": "1"}}},
}


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    options = ApiServerOptions(data_dir=tmp_path / "hub", crds=make_crds(), name="hub")
    async with serve(options) as running, open_hub(running.kubeconfig_path) as hub:
        await hub.create(SITES, SITE)
        await hub.create(WORKLOADS, WORKLOAD)
        yield running


async def _kapok(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = await asyncio.to_thread(main, words)  # it runs a loop of its own
    found = capsys.readouterr()
    return code, found.out, found.err


async def test_every_form_of_output_is_that_of_kubectl(
    server: ApiServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig_path))
    monkeypatch.delenv("KAPOK_DATA_HOME", raising=False)
    words = ("get", "kw", "-A")
    code, out, _ = await _kapok(capsys, *words)
    assert (code, out.split()[:3]) == (0, ["NAMESPACE", "NAME", "PHASE"])
    _, out, _ = await _kapok(capsys, *words, "-o", "wide")
    assert "DECISION" in out
    _, out, _ = await _kapok(capsys, "get", "all", "-o", "name")
    assert out.split() == ["site.kapok.dev/m1", "workload.kapok.dev/portal"]
    _, out, _ = await _kapok(capsys, *words, "-o", "json")
    found = json.loads(out)
    assert (found["kind"], [one["kind"] for one in found["items"]]) == ("List", ["Workload"])
    _, out, _ = await _kapok(capsys, "get", "workload", "default/portal", "-o", "yaml")
    assert yaml.safe_load(out)["spec"]["dataClass"] == "general-2"
    _, out, _ = await _kapok(capsys, "get", "sites", "-l", "zone=b")
    assert out == ""
    code, _, err = await _kapok(capsys, "get", "site", "m9")
    assert (code, err) == (1, "kapok get: sites 'm9' not found\n")


async def test_a_watch_prints_changes_and_ends_cleanly_on_ctrl_c(server: ApiServer) -> None:
    command = [sys.executable, "-m", "scheduler.cli.entry", "get", "sites", "-w", "-o", "name"]
    process = await asyncio.create_subprocess_exec(
        *command,
        "--kubeconfig",
        str(server.kubeconfig_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"site.kapok.dev/m1\n"
    async with open_hub(server.kubeconfig_path) as hub:
        await hub.create(SITES, {**SITE, "metadata": {"name": "m2"}})
    assert await process.stdout.readline() == b"site.kapok.dev/m2\n"
    process.send_signal(signal.SIGINT)
    _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")


async def test_a_watch_goes_on_when_the_hub_is_back(tmp_path: Path) -> None:
    options = ApiServerOptions(data_dir=tmp_path / "hub", crds=make_crds(), name="hub")
    async with serve(options) as running, open_hub(running.kubeconfig_path) as hub:
        kubeconfig = running.kubeconfig_path
        for name in ("m1", "m2"):
            await hub.create(SITES, {**SITE, "metadata": {"name": name}})
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "scheduler.cli.entry", "get", "sites", "-w", "-o", "name"),
            *("--kubeconfig", str(kubeconfig)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert process.stdout is not None
        assert process.stderr is not None
        for name in ("m1", "m2"):
            assert await process.stdout.readline() == f"site.kapok.dev/{name}\n".encode()
    assert b"the watch goes on when it answers again" in await process.stderr.readline()
    async with serve(options), open_hub(kubeconfig) as hub:
        await hub.delete(SITES, "m2")
        await hub.create(SITES, {**SITE, "metadata": {"name": "m3"}})
        line = await process.stdout.readline()
        if line == b"site.kapok.dev/m2\n":  # its deletion is a change, if the watch saw it
            line = await process.stdout.readline()
        assert line == b"site.kapok.dev/m3\n"
        process.send_signal(signal.SIGINT)
        await process.communicate()
    assert process.returncode == 0


async def test_a_list_as_csv_is_safe_in_a_spreadsheet(
    server: ApiServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig_path))
    monkeypatch.delenv("KAPOK_DATA_HOME", raising=False)
    async with open_hub(server.kubeconfig_path) as hub:
        patch = {"status": {"phase": "Refused", "reason": '=cmd|"/c calc",\n\x1b[2J广州'}}
        await hub.merge_patch(WORKLOADS, "portal", patch, namespace="default", subresource="status")
    _, out, _ = await _kapok(capsys, "get", "kw", "-o", "csv")
    assert "\x1b" not in out
    header, row = csv.reader(io.StringIO(out))
    assert header[:3] == ["namespace", "name", "phase"]
    found = dict(zip(header, row, strict=True))
    assert found["reason"] == '\'=cmd|"/c calc",\\n\\x1b[2J广州'
    assert found["name"] == "portal"


async def test_a_hub_that_is_down_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ApiServerOptions(data_dir=tmp_path / "hub", crds=[], name="hub")
    async with serve(options) as running:
        kubeconfig = str(running.kubeconfig_path)
    code, _, err = await _kapok(capsys, "get", "sites", "--kubeconfig", kubeconfig)
    assert code == 1
    assert err.count("\n") == 1
    assert "does not answer (Connect" in err
    assert "kapok up" in err
