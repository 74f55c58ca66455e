"""`kapok top` as a real process, in a real terminal and in a pipe, against a real web server."""

import asyncio
import csv
import fcntl
import io
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from benchmarks._web_state import WebState
from scheduler.cli.entry import main
from scheduler.web.listener import WebListener
from scheduler.web.metrics import Metrics
from scheduler.web.server import WebSources, serve_web
from tests.integration.cli.test_ledger_rights import no_ledger
from tests.support.fake_clock import FakeClock
from tests.support.fake_reviewer import ALL, fake_reviewer
from tests.support.faults import make_faults
from tests.support.kubeconfigs import TOKEN, kubeconfig
from tests.support.ports import free_port
from tests.support.up import ROOT

pytestmark = pytest.mark.integration
ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


@pytest.fixture
async def words(tmp_path: Path) -> AsyncIterator[list[str]]:
    """The words that reach a web server with three sites and six workloads."""
    state, clock = WebState(FakeClock()), FakeClock()
    state.admit(3)
    state.report_all()
    state.place(4)
    state.refuse(2)
    sources = WebSources(
        take_snapshot=state.take_snapshot,
        render_metrics=Metrics().render,
        ledger=no_ledger(),
        readiness_problem=lambda: "",
        review_token=fake_reviewer({TOKEN: [ALL]}),
        clock=clock,
        faults=make_faults(clock),
    )
    path, port = tmp_path / "kubeconfig", free_port()
    path.write_text(yaml.safe_dump(kubeconfig()))
    async with serve_web(WebListener(port=port), sources):
        yield ["--kubeconfig", str(path), "--server", f"http://127.0.0.1:{port}"]


IN_A_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C reaches it, as in a shell
from scheduler.cli.entry import main
sys.exit(main(sys.argv[1:]))
"""


async def piped(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = await asyncio.to_thread(main, ["top", *words])
    found = capsys.readouterr()
    return code, found.out, found.err


async def test_a_pipe_gets_tables_without_escape_codes(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = await piped(capsys, *words)
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    assert out.startswith("3/3 sites report   6 workloads: 2 Refused, 4 Running")
    assert "site-00002" in out
    assert "default/large-00001" in out
    _, out, _ = await piped(capsys, "-o", "json", *words)
    found = json.loads(out)
    assert (len(found["sites"]), len(found["workloads"])) == (3, 6)
    assert found["summary"]["phases"] == {"Refused": 2, "Running": 4}
    _, out, _ = await piped(capsys, "sites", "-o", "csv", *words)
    rows = csv.DictReader(io.StringIO(out))
    assert [row["site"] for row in rows] == [f"site-0000{n}" for n in range(3)]


async def test_wrong_words_are_answered_with_the_right_ones(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = await piped(capsys, "-o", "csv", *words)
    assert (code, "add sites or workloads" in err) == (2, True)
    code, _, err = await piped(capsys, "sites", "--sort", "colour", *words)
    assert (code, "there are site, health" in err) == (2, True)


async def test_a_server_that_is_away_or_refuses_ends_it_with_one_sentence(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = await piped(capsys, *words[:-1], "http://127.0.0.1:1")
    assert (code, "does not answer" in err, err.count("\n")) == (1, True, 1)
    await asyncio.to_thread(replace_token, Path(words[1]))
    code, _, err = await piped(capsys, *words)
    assert (code, "refuses (HTTP 401)" in err) == (1, True)


def replace_token(path: Path) -> None:
    path.write_text(path.read_text().replace(TOKEN, "another"))


@dataclass
class Terminal:
    """A process in a terminal of a stated size."""

    words: list[str]
    kind: str = "xterm"
    columns: int = 80
    lines: int = 24
    shown: str = ""
    process: "subprocess.Popen[bytes]" = field(init=False)
    master: int = field(init=False)

    def __post_init__(self) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", self.lines, self.columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = subprocess.Popen(
            [sys.executable, "-c", IN_A_TERMINAL, "top", *self.words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
            | {"PYTHONPATH": str(ROOT), "TERM": self.kind},
            start_new_session=True,
        )

    def until(self, text: str) -> None:
        end = time.monotonic() + 30
        while text not in self.shown:
            assert time.monotonic() < end, self.shown[-3000:]
            if select.select([self.master], [], [], 0.2)[0]:
                self.shown += os.read(self.master, 65536).decode()

    def _read(self) -> bool:
        is_ready = bool(select.select([self.master], [], [], 0.2)[0])
        if is_ready:
            self.shown += os.read(self.master, 65536).decode(errors="replace")
        return is_ready

    def press(self, key: bytes) -> None:
        os.write(self.master, key)

    def end(self) -> int:
        end = time.monotonic() + 30
        while self.process.poll() is None:  # it cannot end while no one reads what it writes
            self._read()
            if time.monotonic() > end:
                self.process.kill()
        code = self.process.wait(timeout=60)
        while self._read():
            pass
        assert termios.tcgetattr(self.slave)[3] == self.before[3], "the terminal is as it was"
        os.close(self.slave)
        os.close(self.master)
        return code


@pytest.mark.parametrize(("key", "code"), [(b"q", 0), (b"\x03", 130), (None, 128 + signal.SIGTERM)])
async def test_a_terminal_is_a_screen_and_is_as_it_was_afterwards(
    words: list[str], key: bytes | None, code: int
) -> None:
    def use() -> int:
        terminal = Terminal(words)
        terminal.until("site-00001")
        assert terminal.shown.startswith(ENTER)
        if key is None:
            terminal.process.terminate()
        else:
            terminal.press(b"\t")
            terminal.press(key)
        found = terminal.end()
        assert terminal.shown.rstrip().endswith(LEAVE)
        return found

    assert await asyncio.to_thread(use) == code


async def test_a_dumb_terminal_gets_one_table_without_escape_codes(words: list[str]) -> None:
    def use() -> tuple[int, str]:
        terminal = Terminal(words, kind="dumb")
        return terminal.end(), terminal.shown

    code, shown = await asyncio.to_thread(use)
    assert (code, "site-00001" in shown, "\x1b" in shown) == (0, True, False)
    assert max(map(len, shown.splitlines())) <= 80
