"""The agent's size: memory, CPU, bytes on the wire, first report and installation.

A real agent process with the default settings reports over TLS, with a client certificate and its
signatures, to a real mosquitto; its cluster is synthetic and runs in a process of its own.

    python -m benchmarks agent --json
    python -m benchmarks agent --json --quick          # windows of seconds, no 100,000 pods
    python -m benchmarks agent --case nodes-100 --churn 20
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks._agent_rig import CLOCK, AgentProcess, running_agent

_LOCK = Path(__file__).resolve().parents[1] / "requirements-agent.lock"
_HOUR_SECONDS = 3_600.0
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class _Case:
    """One size of a site: its nodes and pods, and how long it settles and is measured."""

    nodes: int
    pods: int
    settle_seconds: float
    window_seconds: float


_CASES = {
    "host-idle": _Case(0, 0, 15.0, 60.0),
    "nodes-100": _Case(100, 3_000, 25.0, 60.0),
    "nodes-5000": _Case(5_000, 100_000, 60.0, 60.0),
    "steady-20": _Case(20, 400, 25.0, 120.0),
}
_QUICK_SETTLE_SECONDS, _QUICK_WINDOW_SECONDS = 4.0, 10.0
_INSTALL = "install"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this benchmark's own arguments."""
    parser.add_argument("--quick", action="store_true", help="short windows, without nodes-5000")
    parser.add_argument(
        "--case",
        action="append",
        choices=[*_CASES, _INSTALL],
        help="measure only this case; may be given again (default: all)",
    )
    parser.add_argument(
        "--churn",
        type=float,
        default=0.0,
        metavar="N",
        help="pods replaced a second (default: %(default)s)",
    )


def rows(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """One row for each case.

    Raises:
        FileNotFoundError: there is no mosquitto.
        ValueError: the agent does not report.
    """
    every = [name for name in (*_CASES, _INSTALL) if not (arguments.quick and name == "nodes-5000")]
    chosen = arguments.case or every
    return [
        {"case": _INSTALL, "install_mib": _installed_mib()}
        if name == _INSTALL
        else asyncio.run(_measure(name, is_quick=arguments.quick, churn=arguments.churn))
        for name in chosen
    ]


async def _measure(name: str, *, is_quick: bool, churn: float) -> dict[str, object]:
    case = _CASES[name]
    settle, window = case.settle_seconds, case.window_seconds
    if is_quick:
        settle, window = _QUICK_SETTLE_SECONDS, _QUICK_WINDOW_SECONDS
    with tempfile.TemporaryDirectory() as folder:
        async with running_agent(
            Path(folder), nodes=case.nodes, pods=case.pods, churn=churn
        ) as agent:
            await CLOCK.sleep(settle)
            return {"case": name, **await _observe(agent, window), "churn_per_second": churn}


async def _observe(agent: AgentProcess, seconds: float) -> dict[str, object]:
    traffic = agent.traffic
    cpu, sent, reports = agent.cpu_seconds(), traffic.bytes, len(traffic.report_bytes)
    heartbeats, statuses = traffic.heartbeats, len(traffic.status_bytes)
    rss = agent.memory_mib("VmRSS")
    await CLOCK.sleep(seconds)
    deltas = traffic.report_bytes[reports:]
    first_at = traffic.first_report_at or agent.started_at
    return {
        "rss_mib": round(max(rss, agent.memory_mib("VmRSS")), 1),
        "anonymous_mib": round(agent.memory_mib("RssAnon"), 1),
        "peak_rss_mib": round(agent.memory_mib("VmHWM"), 1),
        "cpu_ratio": round((agent.cpu_seconds() - cpu) / seconds, 5),
        "bytes_per_hour": round((traffic.bytes - sent) * _HOUR_SECONDS / seconds),
        "first_report_seconds": round(first_at - agent.started_at, 2),
        "largest_delta_bytes": max(deltas, default=0),
        "messages": {
            "heartbeat": traffic.heartbeats - heartbeats,
            "report": len(deltas),
            "status": len(traffic.status_bytes) - statuses,
        },
        "seconds": seconds,
    }


def _installed_mib() -> float:
    """What pip installs by the agent's lock, in an empty environment.

    Raises:
        ValueError: pip cannot install it, as without a network.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"),
            *("--only-binary", ":all:", "--target", folder, "-r", str(_LOCK)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own lock
        if done.returncode:
            raise ValueError(f"pip: {done.stderr.strip()[-300:]}")
        files = (each for each in Path(folder).rglob("*") if each.is_file())
        return round(sum(each.stat().st_size for each in files) / _MIB, 1)
