"""`kapok site drain` against a real API server, where operators write at the same time."""

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from scheduler.apiserver.server import ApiServerOptions, serve
from scheduler.cli import site as site_command
from scheduler.cli.entry import main
from scheduler.control.ports.hub import SITES, ApiResource, Object
from scheduler.hub.client import HubClient, open_hub
from scheduler.hub.crds.generate import make_crds

pytestmark = pytest.mark.integration

SITE = {
    "apiVersion": "kapok.dev/v1alpha1",
    "kind": "Site",
    "metadata": {"name": "m1"},
    "spec": {"tier": "edge"},
}


async def _without_signals(work: Coroutine[Any, Any, Any], *, name: str) -> Any:  # noqa: ANN401, ARG001 - as the original; only a main thread takes signals
    return await work


async def test_of_two_operators_who_drain_a_site_at_once_the_second_joins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both have read a site that nobody drains, so the second write is a conflict."""
    both, seen, get = threading.Barrier(2), set[int](), HubClient.get

    async def get_together(self: HubClient, resource: ApiResource, *words: Any) -> Object:  # noqa: ANN401 - as the original has them
        found = await get(self, resource, *words)
        if resource == SITES and threading.get_ident() not in seen:
            seen.add(threading.get_ident())
            await asyncio.to_thread(both.wait, 60)
        return found

    options = ApiServerOptions(data_dir=tmp_path / "hub", crds=make_crds(), name="hub")
    async with serve(options) as running, open_hub(running.kubeconfig_path) as hub:
        await hub.create(SITES, SITE)
        monkeypatch.setenv("KUBECONFIG", str(running.kubeconfig_path))
        monkeypatch.delenv("KAPOK_DATA_HOME", raising=False)
        monkeypatch.setattr(HubClient, "get", get_together)
        monkeypatch.setattr(site_command, "run_until_signalled", _without_signals)
        drain = ("site", "drain", "m1", "--timeout", "1", "-o", "json")
        async with asyncio.TaskGroup() as group:
            answers = [
                group.create_task(asyncio.to_thread(main, words))
                for words in ((*drain, "--force"), drain)
            ]
        monkeypatch.undo()
        site = await hub.get(SITES, "m1")
    said = capsys.readouterr()
    assert [one.result() for one in answers] == [1, 1], "no scheduler says that it is empty"
    assert said.err.count("m1 is being drained already, since") == 1, said.err
    assert said.out.count('"done": false') == 2, said.out
    assert site["spec"]["cordon"] is True
    assert site["spec"]["drain"]["since"] in said.err, "the first one's beginning stands"
