"""`kapok freeze` and `kapok thaw` against a real API server, with and without a leader."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from scheduler.apiserver.server import ApiServer, ApiServerOptions, serve
from scheduler.cli.entry import main
from scheduler.cli.support import freeze_words
from scheduler.control.failover.freeze_sync import FreezeSync
from scheduler.control.failover.freeze_word import FREEZE_MAP, FreezeWord, read_word
from scheduler.control.failover.storm_gate import StormGate
from scheduler.control.ports.hub import CONFIG_MAPS, NAMESPACE, NAMESPACES, SITES
from scheduler.control.sites.sites import Sites
from scheduler.control.state.objects import HubObjects
from scheduler.hub.client import HubClient, open_hub
from scheduler.hub.crds.generate import make_crds
from scheduler.model.storm import StormLimits
from scheduler.runtime.clock import SystemClock
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry

pytestmark = pytest.mark.integration

SITE = {
    "apiVersion": "kapok.dev/v1alpha1",
    "kind": "Site",
    "metadata": {"name": "m1"},
    "spec": {"tier": "edge"},
}


@pytest_asyncio.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiServer]:
    options = ApiServerOptions(data_dir=tmp_path / "hub", crds=make_crds(), name="hub")
    async with serve(options) as running, open_hub(running.kubeconfig_path) as hub:
        await hub.create(SITES, SITE)
        await hub.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})  # as the election does
        monkeypatch.setenv("KUBECONFIG", str(running.kubeconfig_path))
        monkeypatch.delenv("KAPOK_DATA_HOME", raising=False)
        yield running


@asynccontextmanager
async def leading(client: HubClient, *, is_connected: bool = True) -> AsyncIterator[StormGate]:
    """The part of a leader that takes in the word; its fleet has no sites."""
    clock = SystemClock()
    faults = make_faults(clock, [])
    objects = HubObjects(NullTelemetry(), lambda _kind, _key, _sites: None, faults)
    gate = StormGate(
        sites=Sites(
            objects=objects,
            clock=clock,
            silent_after_seconds=45.0,
            facts_sink=lambda _name, _facts: None,
        ),
        clock=clock,
        limits=StormLimits(),
        connected_since_seconds=lambda: clock.monotonic() - 3600 if is_connected else None,
    )
    sync = FreezeSync(hub=client, gate=gate, clock=clock, faults=faults)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one()) for one in (gate.run, sync.run)]
        yield gate
        for task in tasks:
            task.cancel()


async def _kapok(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = await asyncio.to_thread(main, words)  # it runs a loop of its own
    found = capsys.readouterr()
    return code, found.out, found.err


async def test_the_leader_follows_the_word_and_the_commands_show_it(
    server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async with open_hub(server.kubeconfig_path) as client, leading(client) as gate:
        code, out, _ = await _kapok(capsys, "freeze", "--why", "works at m1", "-o", "json")
        state = json.loads(out)
        assert (code, state["frozen"], state["why"]) == (0, True, "works at m1")
        assert state["confirmed"]
        assert state["since"].endswith("Z")
        assert state["by"], "the hub knows who the caller is"
        assert gate.why_not("m1").endswith(f": works at m1 ({state['by']})")
        assert (await _kapok(capsys, "freeze", "--status", "-o", "json"))[1] == out
        code, out, err = await _kapok(capsys, "get", "sites")
        assert "m1" in out
        assert "evictions are frozen since" in err
        _, again, _ = await _kapok(capsys, "freeze", "-o", "json")
        assert json.loads(again)["since"] == state["since"], "it goes on"
        code, out, _ = await _kapok(capsys, "thaw", "-o", "json")
        assert (code, json.loads(out)["frozen"], json.loads(out)["since"]) == (0, False, None)
        assert gate.why_not("m1") == ""
        assert (await _kapok(capsys, "get", "sites"))[2] == ""


async def test_a_thaw_that_does_not_help_exits_1(
    server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async with (
        open_hub(server.kubeconfig_path) as client,
        leading(client, is_connected=False),
    ):
        code, out, _ = await _kapok(capsys, "thaw")
        assert code == 1
        assert "there is no session with the broker" in out


async def test_without_a_leader_the_word_is_kept_for_the_next(
    server: ApiServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduler.cli.support.freeze_words._CONFIRMED_WITHIN_SECONDS", 0.2)
    code, out, err = await _kapok(capsys, "freeze", "--why", "works", "-o", "json")
    assert (code, json.loads(out)["frozen"], json.loads(out)["confirmed"]) == (0, True, False)
    assert "no leader has confirmed it" in err
    async with open_hub(server.kubeconfig_path) as client:
        word = read_word(await client.get(CONFIG_MAPS, FREEZE_MAP, NAMESPACE))
        assert (word.is_frozen, word.why) == (True, "works")
        async with leading(client) as gate:
            while gate.word is None:
                await SystemClock().sleep(0.02)
            assert ": works" in gate.why_not("m1")


async def test_a_reason_that_is_too_long_is_wrong_usage(
    server: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    del server
    code, _, err = await _kapok(capsys, "freeze", "--why", "x" * 501)
    assert (code, "at most 500" in err) == (2, True)


async def test_a_word_that_another_takes_the_place_of_is_not_shown_as_what_holds(
    server: ApiServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two operators at once: the command says which word holds, and not only its own."""
    real, other = freeze_words._say, FreezeWord(is_frozen=True, why="fire", by="周", id="other")  # noqa: SLF001 - the instant after it

    async def say_and_be_overtaken(client: HubClient, *args: object, **named: object) -> FreezeWord:
        word = await real(client, *args, **named)  # type: ignore[arg-type]  # as they come
        await client.merge_patch(
            CONFIG_MAPS, FREEZE_MAP, {"data": other.to_data()}, namespace=NAMESPACE
        )
        return word

    async with open_hub(server.kubeconfig_path) as client, leading(client):
        monkeypatch.setattr(freeze_words, "_say", say_and_be_overtaken)
        code, out, err = await _kapok(capsys, "thaw", "-o", "json")
        state = json.loads(out)
        assert (code, state["frozen"], state["why"]) == (1, True, "fire")
        assert state["confirmed"]
        assert "周 has said freeze since" in err
