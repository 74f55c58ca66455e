"""What every run of the tests prints at its end, and what no test leaves to the next one."""

import logging
import os
import signal
from collections import defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest

from agents.runtime.log_limit import AgentLogLimit
from scheduler.runtime.log_limit import LogLimit
from tests.support.counts import load_profiles
from tests.support.tools import skip_or_fail

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer

# Where the tests run in a Pod, its cluster must not become the hub of a `kapok up`.
os.environ.pop("KUBERNETES_SERVICE_HOST", None)
# Tests read what commands say in English, whatever the language of the machine.
os.environ["LC_ALL"] = "C.UTF-8"
# Tables are as wide as where no terminal is, whatever the width of the one that the tests run in.
for _name in ("COLUMNS", "LINES", "FORCE_COLOR"):
    os.environ.pop(_name, None)
# A proxy of the machine is not asked for what is on the machine.
if any(name.lower() in ("http_proxy", "https_proxy", "all_proxy") for name in os.environ):
    _direct = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    os.environ["NO_PROXY"] = ",".join(filter(None, (_direct, "127.0.0.1", "localhost")))
    os.environ["no_proxy"] = os.environ["NO_PROXY"]
# Before any module of tests is imported: `settings(...)` takes what it does not state from it.
load_profiles()

_FOLDER_DEPTH = 3
"""`tests/unit/placement`: deeper folders are added to these."""

# A shell that runs the tests in the background has SIGINT ignored, and programs inherit that: they
# would not see the Ctrl-C that tests send them.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_log_limit_of_another_test() -> Iterator[None]:
    """Programs that run in a test's process limit the log lines of all handlers, pytest's too."""
    yield
    for handler in (*logging.getLogger().handlers, logging.lastResort):
        for one in list(handler.filters) if handler else ():
            if handler and isinstance(one, LogLimit | AgentLogLimit):
                handler.removeFilter(one)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the seconds that tests took, summed by folder, the slowest first."""
    seconds: dict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                folder = PurePosixPath(report.nodeid.partition("::")[0]).parent
                seconds["/".join(folder.parts[:_FOLDER_DEPTH])] += report.duration
    if not seconds:
        return
    terminalreporter.section("seconds per folder")
    for name, total in sorted(seconds.items(), key=lambda each: -each[1]):
        terminalreporter.write_line(f"{total:8.1f}s {name}")


@pytest.fixture(scope="session")
def postgres() -> Iterator["PostgresServer"]:
    """A PostgreSQL server, started when the first test asks for it."""
    try:
        from tests.support.postgres import postgres_server  # noqa: PLC0415 - needs the extra `ha`
    except ImportError as error:
        skip_or_fail(f"psycopg is not installed ({error})")
    with postgres_server() as server:
        yield server
