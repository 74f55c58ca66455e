"""`kapok get sites|workloads`: tables that line up, or JSON."""

import argparse
import asyncio
import json
import sys
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import Any

from scheduler.cli.hub_access import HubNotFound, add_hub_arguments, find_kubeconfig
from scheduler.control.ports.hub import (
    CONFIG_MAPS,
    NAMESPACE,
    SITES,
    WORKLOADS,
    HubError,
    NotFound,
    Object,
)
from scheduler.control.state.unadmitted_sites import CONFIG_MAP
from scheduler.hub.client import HubClient, open_hub
from scheduler.runtime.clock import SystemClock

EXIT_NO, EXIT_USAGE = 1, 2

_EPILOG = """examples:
  kapok get sites                  who reports, what is free, how old it is
  kapok get sites --pending        strangers that report, with the command that admits each
  kapok get workloads              every namespace
  kapok get workloads -n health -o json"""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok get`."""
    parser.epilog = _EPILOG
    parser.add_argument("what", choices=["sites", "workloads"])
    parser.add_argument("-n", "--namespace", help="workloads of one namespace only")
    parser.add_argument(
        "--pending", action="store_true", help="sites that report and are not admitted"
    )
    parser.add_argument("-o", "--output", choices=["json"], help="one JSON object on stdout")
    add_hub_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints what the hub holds."""
    try:
        kubeconfig = find_kubeconfig(arguments.kubeconfig, arguments.data_dir)
    except HubNotFound as error:
        sys.stderr.write(f"kapok get: {error}\n")
        return EXIT_USAGE
    try:
        return asyncio.run(_get(kubeconfig, arguments))
    except HubError as error:
        sys.stderr.write(f"kapok get: {error}\n")
        return EXIT_NO


async def _get(kubeconfig: Path, arguments: argparse.Namespace) -> int:
    now = SystemClock().now()
    async with open_hub(kubeconfig) as client:
        if arguments.what == "sites" and arguments.pending:
            rows = await _list_pending(client, _hub_flags(arguments))
            return _print(
                arguments, "pending", rows, ("SITE", "FIRST-SEEN", "ADMIT WITH"), _pending_row
            )
        if arguments.what == "sites":
            sites = (await client.list(SITES)).items
            return _print(arguments, "sites", sites, _SITE_HEADERS, lambda one: _site_row(one, now))
        found = (await client.list(WORKLOADS, arguments.namespace)).items
        return _print(
            arguments, "workloads", found, _WORKLOAD_HEADERS, lambda one: _workload_row(one, now)
        )


def _print(
    arguments: argparse.Namespace,
    key: str,
    rows: list[Object],
    headers: Sequence[str],
    row_of: Any,  # noqa: ANN401 - a function of one row
) -> int:
    if arguments.output == "json":
        sys.stdout.write(json.dumps({key: rows}, ensure_ascii=False) + "\n")
        return 0
    if not rows:
        sys.stderr.write(f"no {key}\n")
        return 0
    sys.stdout.writelines(format_table([headers, *map(row_of, rows)]))
    return 0


async def _list_pending(client: HubClient, hub_flags: str) -> list[Object]:
    try:
        body = await client.get(CONFIG_MAPS, CONFIG_MAP, NAMESPACE)
    except NotFound:
        return []
    rows = []
    for site, text in sorted((body.get("data") or {}).items()):
        found = json.loads(text)
        command = f"kapok admit {site} --key {found['agentKey']}{hub_flags}"
        rows.append({"site": site, **found, "admitWith": command})
    return rows


def _hub_flags(arguments: argparse.Namespace) -> str:
    """The words by which this call found its hub: a pasted command has to find the same one."""
    given = (("--kubeconfig", arguments.kubeconfig), ("--data-dir", arguments.data_dir))
    return "".join(f" {flag} {quote(str(value))}" for flag, value in given if value)


def _pending_row(one: Object) -> tuple[str, ...]:
    return (one["site"], one["firstSeen"], one["admitWith"])


_SITE_HEADERS = ("NAME", "READY", "TIER", "PROVINCE", "FREE-CPU", "INTENSITY", "REPORT-AGE")
_WORKLOAD_HEADERS = ("NAMESPACE", "NAME", "PHASE", "CLASS", "SITES", "READY", "REASON", "AGE")


def _site_row(site: Object, now: datetime) -> tuple[str, ...]:
    spec, status = site.get("spec") or {}, site.get("status") or {}
    ready: Object = next((c for c in status.get("conditions") or () if c["type"] == "Ready"), {})
    intensity = (status.get("intensity") or {}).get("gco2PerKwh")
    return (
        site["metadata"]["name"],
        ready.get("status", "Unknown"),
        spec.get("tier", "edge"),
        (spec.get("location") or {}).get("province", ""),
        status.get("freeCpu", ""),
        "" if intensity is None else f"{intensity:g}",
        _format_age(status.get("observedAt"), now),
    )


def _workload_row(workload: Object, now: datetime) -> tuple[str, ...]:
    meta, spec, status = (
        workload["metadata"],
        workload.get("spec") or {},
        workload.get("status") or {},
    )
    placed = status.get("replicas", 0)
    return (
        meta["namespace"],
        meta["name"],
        status.get("phase", "Pending"),
        spec.get("dataClass", ""),
        status.get("sites", ""),
        f"{status.get('ready', 0)}/{placed}" if placed else "",
        status.get("reason", ""),
        _format_age(meta.get("creationTimestamp"), now),
    )


def _format_age(text: str | None, now: datetime) -> str:
    if not text:
        return ""
    then = datetime.fromisoformat(text)
    seconds = max(0, int((now - then.astimezone(UTC)).total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines whose columns line up also where Chinese characters take two columns each."""
    widths = [max(map(_display_width, column)) for column in zip(*rows, strict=True)]
    return [
        "   ".join(
            cell + " " * (width - _display_width(cell))
            for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        + "\n"
        for row in rows
    ]


def _display_width(text: str) -> int:
    """Columns that a terminal needs (Unicode TR 11: wide and full-width characters take two)."""
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)
