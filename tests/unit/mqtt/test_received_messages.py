"""What was received is kept over restarts, within bounds."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from scheduler.mqtt import received_messages
from scheduler.mqtt.received_messages import ReceivedAgent, ReceivedMessages
from scheduler.runtime.data_dir import RECEIVED_FILE

KEY = ("m1", "key", "main")


async def opened_again(folder: Path) -> ReceivedMessages:
    async with ReceivedMessages(folder=folder) as again:
        return again


def test_the_newest_boot_and_sequences_are_found_after_a_restart(tmp_path: Path) -> None:
    async def run() -> None:
        async with ReceivedMessages(folder=tmp_path) as received:
            received.note(KEY, ReceivedAgent(2**52, "b", 2**52, 7))
            await received.flush()
            received.note(KEY, ReceivedAgent(2**52, "b", 2**52, 9))
            received.note(("m1", "another key", "main"), ReceivedAgent(1, "c"))
        again = await opened_again(tmp_path)
        assert again.find(KEY) == ReceivedAgent(2**52, "b", 2**52, 9)
        assert again.find(("m1", "another key", "main")) == ReceivedAgent(1, "c")
        assert again.find(("m2", "key", "main")) is None

    asyncio.run(run())
    assert (tmp_path / RECEIVED_FILE).stat().st_mode & 0o777 == 0o600


def test_a_site_with_ever_new_names_pushes_out_its_own_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(received_messages, "MAX_AGENTS_KEPT_PER_SITE", 8)

    async def run() -> None:
        async with ReceivedMessages(folder=tmp_path) as received:
            received.note(KEY, ReceivedAgent(1, "a"))
            for number in range(1000):
                received.note(("evil", "key", f"a{number}"), ReceivedAgent(number, "x"))
                if number == 500:
                    await received.flush()
        again = await opened_again(tmp_path)
        assert again.find(KEY) is not None
        assert again.find(("evil", "key", "a999")) is not None
        assert again.find(("evil", "key", "a500")) is None

    asyncio.run(run())
    with sqlite3.connect(tmp_path / RECEIVED_FILE) as database:
        assert database.execute("SELECT count(*) FROM received").fetchone() == (9,)
    database.close()


def test_of_all_sites_the_one_heard_longest_ago_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(received_messages, "MAX_AGENTS_KEPT", 3)
    received = ReceivedMessages()
    for name in ("m1", "m2", "m3", "m1", "m4"):
        received.note((name, "key", "main"), ReceivedAgent(1, "a"))
    kept = [name for name in ("m1", "m2", "m3", "m4") if received.find((name, "key", "main"))]
    assert kept == ["m1", "m3", "m4"]


def test_what_cannot_be_written_is_written_later(tmp_path: Path) -> None:
    async def run() -> None:
        async with ReceivedMessages(folder=tmp_path) as received:
            received.note(KEY, ReceivedAgent(1, "a"))
            path, aside = tmp_path / RECEIVED_FILE, tmp_path / "aside"
            path.rename(aside)
            path.mkdir()
            with pytest.raises(sqlite3.Error):
                await received.flush()
            path.rmdir()
            aside.rename(path)
        assert (await opened_again(tmp_path)).find(KEY) == ReceivedAgent(1, "a")

    asyncio.run(run())
