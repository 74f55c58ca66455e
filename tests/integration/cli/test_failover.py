"""`kapok failover` writes its word to a real API server, whatever others write to the Site."""

from pathlib import Path

import pytest

from scheduler.apiserver.server import ApiServerOptions, serve
from scheduler.cli.failover import write_word
from scheduler.control.failover.words import OperatorWord, read_words
from scheduler.control.ports.hub import SITES, Conflict
from scheduler.hub.client import open_hub
from scheduler.hub.crds.generate import make_crds

pytestmark = pytest.mark.integration

SITE = {
    "apiVersion": "kapok.dev/v1alpha1",
    "kind": "Site",
    "metadata": {"name": "m1"},
    "spec": {"tier": "edge"},
}
WORD = OperatorWord(("ns", "app"), "uid-1", "id-1", "ops")


async def test_two_operators_and_the_status_do_not_lose_a_word(tmp_path: Path) -> None:
    options = ApiServerOptions(data_dir=tmp_path / "hub", crds=make_crds(), name="hub")
    async with serve(options) as running, open_hub(running.kubeconfig_path) as hub:
        seen = await hub.create(SITES, SITE)
        await hub.merge_patch(SITES, "m1", {"metadata": {"labels": {"a": "b"}}})
        other = WORD._replace(key=("ns", "b"), id="id-2", by="周")
        await write_word(hub, seen, other)
        await write_word(hub, seen, WORD)  # of what was seen before the other operator wrote
        body = await hub.get(SITES, "m1")
        assert read_words(body["metadata"]["annotations"]) == (other, WORD)
        assert body["metadata"]["labels"]["a"] == "b"


async def test_a_site_that_others_write_again_and_again_is_a_conflict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ApiServerOptions(data_dir=tmp_path / "hub", crds=make_crds(), name="hub")
    async with serve(options) as running, open_hub(running.kubeconfig_path) as hub:
        seen = await hub.create(SITES, SITE)
        await hub.merge_patch(SITES, "m1", {"metadata": {"labels": {"a": "b"}}})

        async def get_old(*_: object) -> object:
            return seen

        monkeypatch.setattr(hub, "get", get_old)
        with pytest.raises(Conflict):
            await write_word(hub, seen, WORD)


async def test_a_word_that_waits_for_its_answer_is_joined_and_an_answered_one_is_not(
    tmp_path: Path,
) -> None:
    """A later word takes the place of the former; its operator would wait for nothing."""
    options = ApiServerOptions(data_dir=tmp_path / "hub", crds=make_crds(), name="hub")
    async with serve(options) as running, open_hub(running.kubeconfig_path) as hub:
        seen = await hub.create(SITES, SITE)
        assert await write_word(hub, seen, WORD) == "id-1"
        second = WORD._replace(id="id-2", by="周")
        assert await write_word(hub, seen, second) == "id-1", "also if it was seen before"
        body = await hub.get(SITES, "m1")
        assert read_words(body["metadata"]["annotations"]) == (WORD,)
        assert await write_word(hub, body, second, {"id-1"}) == "id-2"
        again = WORD._replace(uid="uid-2", id="id-3")
        assert await write_word(hub, body, again) == "id-3", "of a later workload of that name"
