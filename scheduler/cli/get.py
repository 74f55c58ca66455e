"""`kapok get sites|workloads|volumes`: lists objects of the hub as a table or JSON."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote

from scheduler.cli.support.arguments import EXIT_GOOD, EXIT_NO, EXIT_USAGE, add_output_option
from scheduler.cli.support.hub_access import HubNotFound, add_hub_arguments, find_kubeconfig
from scheduler.cli.support.output import format_table, print_error, print_json
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

_EPILOG = """examples:
  kapok get sites                  state, free CPU and age of the last report of each site
  kapok get sites --pending        unadmitted sites that report, each with its admit command
  kapok get workloads              workloads of all namespaces
  kapok get workloads -n health -o json
  kapok get volumes                claims that workloads left behind, and at which site

Exit code: 0 success, also when the list is empty, 1 the hub refused, 2 no hub was found."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok get`."""
    parser.epilog = _EPILOG
    parser.add_argument("what", choices=["sites", "workloads", "volumes"], help="what to list")
    parser.add_argument(
        "-n", "--namespace", help="list workloads or volumes of this namespace only"
    )
    parser.add_argument(
        "--pending", action="store_true", help="list sites that report but are not admitted"
    )
    add_output_option(parser)
    add_hub_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the sites, workloads or left volumes of the hub."""
    try:
        kubeconfig = find_kubeconfig(arguments.kubeconfig, arguments.data_dir)
    except HubNotFound as error:
        print_error("get", error)
        return EXIT_USAGE
    try:
        return asyncio.run(_get(kubeconfig, arguments))
    except HubError as error:
        print_error("get", error)
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
        if arguments.what == "volumes":
            left = [row for one in found for row in _left_volumes(one)]
            return _print(
                arguments, "volumes", left, _VOLUME_HEADERS, lambda one: _volume_row(one, now)
            )
        return _print(
            arguments, "workloads", found, _WORKLOAD_HEADERS, lambda one: _workload_row(one, now)
        )


def _print(
    arguments: argparse.Namespace,
    key: str,
    rows: list[Object],
    headers: Sequence[str],
    row_of: Callable[[Object], tuple[str, ...]],
) -> int:
    if arguments.output == "json":
        print_json({key: rows})
    elif rows:
        sys.stdout.writelines(format_table([headers, *map(row_of, rows)]))
    else:
        sys.stderr.write(f"no {key} found\n")
    return EXIT_GOOD


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
    """The options that named the hub, for printed commands: pasted, they reach the same hub."""
    given = (("--kubeconfig", arguments.kubeconfig), ("--data-dir", arguments.data_dir))
    return "".join(f" {flag} {quote(str(value))}" for flag, value in given if value)


def _pending_row(one: Object) -> tuple[str, ...]:
    return (one["site"], one["firstSeen"], one["admitWith"])


_SITE_HEADERS = (
    "NAME",
    "READY",
    "TIER",
    "PROVINCE",
    "FREE-CPU",
    "INTENSITY",
    "REPORT-AGE",
    "FRESHNESS",
)
_WORKLOAD_HEADERS = ("NAMESPACE", "NAME", "PHASE", "CLASS", "SITES", "READY", "REASON", "AGE")


def _site_row(site: Object, now: datetime) -> tuple[str, ...]:
    spec, status = site.get("spec") or {}, site.get("status") or {}
    conditions: dict[str, Object] = {c["type"]: c for c in status.get("conditions") or ()}
    ready = conditions.get("Ready", {})
    intensity = (status.get("intensity") or {}).get("gco2PerKwh")
    return (
        site["metadata"]["name"],
        ready.get("status", "Unknown"),
        spec.get("tier", "edge"),
        (spec.get("location") or {}).get("province", ""),
        status.get("freeCpu", ""),
        "" if intensity is None else f"{intensity:g}",
        _format_age(status.get("observedAt"), now),
        conditions.get("FreshnessProven", {}).get("reason", ""),
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


_VOLUME_HEADERS = ("NAMESPACE", "WORKLOAD", "SITE", "CLAIMS", "STATE", "AGE")


def _left_volumes(workload: Object) -> list[Object]:
    """What `status.remains` of a workload lists: claims at sites that it has left."""
    meta = workload["metadata"]
    return [
        {
            "namespace": meta["namespace"],
            "workload": meta["name"],
            "site": one["site"],
            "claims": one.get("claims") or [],
            "state": one.get("message") or "kept",
            "since": one.get("since"),
        }
        for one in (workload.get("status") or {}).get("remains") or ()
    ]


def _volume_row(one: Object, now: datetime) -> tuple[str, ...]:
    return (
        one["namespace"],
        one["workload"],
        one["site"],
        ",".join(one["claims"]) or "-",
        one["state"],
        _format_age(one["since"], now),
    )


def _format_age(text: str | None, now: datetime) -> str:
    if not text:
        return ""
    then = datetime.fromisoformat(text)
    seconds = max(0, int((now - then.astimezone(UTC)).total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:  # 90 minutes read better as "90m" than as "1h"
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
