"""The sizing tables of the documents, from the files that benchmarks wrote into docs/figures."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).resolve().parents[2] / "docs" / "figures"


def _result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FIGURES / f"{name}.json").read_text(encoding="utf-8"))
    return found


def _machine(name: str, options: str = "") -> Iterator[str]:
    one = _result(name)["machine"]
    words = f"{one['cores']} cores of {one['cpu']}, {one['memory_mib']} MiB, Python {one['python']}"
    yield ""
    yield f"Machine: {words}, decisions {one['decisions']}."
    yield ""
    yield f"`python -m benchmarks {name}{options}`"


def agent_rows() -> Iterator[str]:
    """What an agent needs at its site, by case of the benchmark."""
    yield "| case | memory, MiB | CPU, share of a core | bytes per hour |"
    yield "|---|---|---|---|"
    for row in _result("agent")["rows"]:
        if "rss_mib" in row:
            figures = f"{row['rss_mib']} | {row['cpu_ratio']:.5f} | {row['bytes_per_hour']}"
            yield f"| `{row['case']}` | {figures} |"
    yield from _machine("agent", " --quick")


def ingest_rows() -> Iterator[str]:
    """How many reports a scheduler takes, by kind of report."""
    yield "| reports | each second of CPU | microseconds each | largest message, bytes |"
    yield "|---|---|---|---|"
    for row in _result("ingest")["rows"]:
        figures = f"{row['reports_per_second']} | {row['us_per_report']} | {row['message_bytes']}"
        yield f"| `{row['case']}` | {figures} |"
    yield from _machine("ingest")


def decide_rows() -> Iterator[str]:
    """How many decisions a scheduler makes, by size of the fleet."""
    yield "| sites | decisions per second of CPU | slowest of a hundred, ms | memory, MiB |"
    yield "|---|---|---|---|"
    for row in _result("decide")["rows"]:
        figures = f"{row['decisions_per_second']} | {row['p99_ms']} | {row['rss_mib']}"
        yield f"| {row['sites']} | {figures} |"
    yield from _machine("decide", " --sites 100 1000 --mix plain --seconds 6")


def hub_rows() -> Iterator[str]:
    """What a new workload costs scheduler and embedded hub until it is ordered, by its form."""
    costs_of = ("scheduler, ms of CPU each", "hub, ms of CPU each", "writes each", "memory, MiB")
    yield f"| workloads | {' | '.join(costs_of)} |"
    yield "|---|---|---|---|---|"
    for row in _result("hub")["rows"]:
        costs = (row["scheduler_cpu_ms_per_workload"], row["apiserver_cpu_ms_per_workload"])
        figures = f"{costs[0]} | {costs[1]} | {row['writes_per_workload']} | {row['rss_mib']}"
        yield f"| {row['workloads']}, `{row['form']}` | {figures} |"
    yield from _machine("hub", " --case drain --workloads 300")
