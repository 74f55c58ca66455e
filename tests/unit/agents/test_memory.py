"""Memory that only the start needed is given back, and nothing that differs from its file."""

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agents.metrics.counters import Counters
from agents.runtime.faults import AgentFaults
from agents.runtime.memory import MemoryKeeper, read_file_mappings
from tests.support.fake_clock import FakeClock
from tests.support.up import ROOT

_FIELDS = "Size: 64 kB\nRss: 64 kB\nPrivate_Dirty: 0 kB\nAnonymous: {} kB\nVmFlags: rd ex mr\n"


def mapping(start: int, rights: str, path: str, *, anonymous: int = 0) -> str:
    header = f"{start:x}-{start + 0x1000:x} {rights} 00000000 08:01 77      {path}\n"
    return header + _FIELDS.format(anonymous)


@dataclass
class Recorder:
    """An allocator that keeps what it is asked."""

    dropped: list[int] = field(default_factory=list)
    trims: int = 0
    heaps: int = 0

    def keep_one_heap(self) -> None:
        self.heaps += 1

    def return_free_memory(self) -> None:
        self.trims += 1

    def drop_pages(self, start: int, end: int) -> bool:
        assert end - start == 0x1000
        self.dropped.append(start)
        return True


@pytest.mark.parametrize(
    "kept",
    [
        mapping(0x5000, "rw-p", "/usr/lib/libc.so.6"),
        mapping(0x5000, "r-xp", "/usr/lib/libc.so.6", anonymous=4),
        mapping(0x5000, "r--p", "/usr/lib/libc.so.6", anonymous=128),
        mapping(0x5000, "rwxp", "/usr/lib/libc.so.6"),
        mapping(0x5000, "r-xs", "/dev/zero"),
        mapping(0x5000, "r-xp", "[vdso]"),
        mapping(0x5000, "r--p", ""),
        "garbage\n",
        "5000-6000 r-xp\n",
        mapping(0x5000, "r-xp", "/cut").partition("Anonymous")[0],
    ],
)
def test_what_differs_from_its_file_or_may_be_written_is_kept(kept: str) -> None:
    lines = kept + mapping(0x9000, "r-xp", "/opt/a folder/lib.so (deleted)")
    assert list(read_file_mappings(lines.splitlines(keepends=True))) == [
        (0x9000, 0xA000, "/opt/a folder/lib.so (deleted)")
    ]


async def test_only_what_two_looks_have_seen_is_dropped(tmp_path: Path) -> None:
    clock, smaps, allocator = FakeClock(), tmp_path / "smaps", Recorder()
    faults = AgentFaults(lambda _where: None, clock)
    smaps.write_text(mapping(0x1000, "r-xp", "/a.so"))
    keeper = MemoryKeeper(clock, faults, allocator, smaps)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(keeper.run())
        await clock.advance(1)
        assert (allocator.heaps, allocator.dropped) == (1, [])
        smaps.write_text(mapping(0x1000, "r-xp", "/a.so") + mapping(0x4000, "r-xp", "/late.so"))
        await clock.advance(5)
        assert (allocator.trims, allocator.dropped) == (1, [0x1000])
        await clock.advance(55)
        assert allocator.dropped == [0x1000, 0x1000, 0x4000]
        await clock.advance(3_600)
        assert allocator.trims == 3
        running.cancel()


async def test_a_list_that_cannot_be_read_is_counted_and_nothing_ends(tmp_path: Path) -> None:
    clock, counters, allocator = FakeClock(), Counters(), Recorder()
    faults = AgentFaults(lambda where: counters.add("faults_total", where=where), clock)
    keeper = MemoryKeeper(clock, faults, allocator, tmp_path / "none")
    async with asyncio.TaskGroup() as group:
        running = group.create_task(keeper.run())
        await clock.advance(7_200)
        assert not running.done()
        assert allocator.dropped == []
        assert 'faults_total{where="memory"}' in counters.render()
        running.cancel()


async def test_elsewhere_nothing_is_asked() -> None:
    clock = FakeClock()
    await MemoryKeeper(clock, AgentFaults(lambda _where: None, clock), None).run()
    assert clock.monotonic() == 0


_REAL = """
import json, ssl, sqlite3, threading
from agents.protocol.keys import SigningKey
from agents.runtime.clock import AgentSystemClock
from agents.runtime.faults import AgentFaults
from agents.runtime.memory import MemoryKeeper, find_allocator
def resident():
    rows = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(rows["RssFile"].split()[0])
caught = []
keeper = MemoryKeeper(AgentSystemClock(), AgentFaults(caught.append, AgentSystemClock()),
                      find_allocator())
keeper.allocator.keep_one_heap()
key = SigningKey.generate()
first, before = keeper.give_back(), resident()
second, after = keeper.give_back(), resident()
for each in range(20):  # everything still works, on several threads, while pages go
    other = threading.Thread(target=lambda: key.public.is_valid_signature(key.sign(b"x"), b"x"))
    other.start()
    keeper.give_back()
    other.join()
assert key.public.is_valid_signature(key.sign(b"y"), b"y")
assert sqlite3.connect(":memory:").execute("select 1").fetchone() == (1,)
ssl.create_default_context()
print(json.dumps([first, second, before, after, caught]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's list of mappings is Linux's")
def test_a_real_process_gets_smaller_and_works_on() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _REAL], capture_output=True, text=True, check=True, cwd=ROOT
    )
    first, second, before, after, caught = json.loads(done.stdout)
    assert first == 0
    assert second > 10
    assert after < before * 0.8
    assert caught == []
