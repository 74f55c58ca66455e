"""`kapok status NS/NAME`: the pods of a workload at its sites, why some are not ready, events."""

import argparse
import asyncio
from pathlib import Path
from typing import Any

from scheduler.cli.looking.site_answers import add_workload_arguments, notice_gaps, workload_path
from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_NO,
    EXIT_USAGE,
    add_output_option,
)
from scheduler.cli.support.hub_access import HubNotFound, find_kubeconfig
from scheduler.cli.support.output import (
    print_error,
    print_json,
    print_sentences,
    print_table,
)
from scheduler.cli.support.web_access import connect_web
from scheduler.control.ports.hub import HubError
from scheduler.runtime.printable import printable

_EPILOG = """examples:
  kapok status health/appointment            pods of all its sites, and the last events
  kapok status health/appointment --site m1  of one site
  kapok status health/appointment -o json

The agents of the sites are asked now, through the scheduler's web server, and only about what
Kapok ordered there. The token of the kubeconfig needs the right to get workloads.kapok.dev/log in
the namespace. Times of events are of the site's clock.
Exit code: 0 every site has answered, 1 one has not, or the scheduler refuses, 2 wrong usage."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok status`."""
    parser.epilog = _EPILOG
    add_workload_arguments(parser)
    parser.add_argument("--events", type=int, default=10, metavar="N", help="default: %(default)s")
    add_output_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints what the sites answer."""
    try:
        kubeconfig = find_kubeconfig(arguments.kubeconfig, arguments.data_dir)
    except HubNotFound as error:
        print_error("status", error)
        return EXIT_USAGE
    try:
        answer = asyncio.run(_ask(kubeconfig, arguments))
    except HubError as error:
        print_error("status", error)
        return EXIT_NO
    if arguments.output == "json":
        print_json(answer)
    else:
        _print(answer, arguments.events)
    return EXIT_NO if any("problem" in one for one in answer["sites"]) else EXIT_GOOD


async def _ask(kubeconfig: Path, arguments: argparse.Namespace) -> Any:  # noqa: ANN401 - JSON
    web = await connect_web(kubeconfig, arguments.server)
    return web.post(workload_path("status", arguments.workload), {"sites": arguments.site})


def _print(answer: dict[str, Any], max_events: int) -> None:
    for site in answer["sites"]:
        ready, pods = site["ready"], site["pods"]
        counts = "unknown" if pods is None else f"{ready}/{pods} ready"
        reasons = ", ".join(f"{count} {name}" for name, count in site["reasons"].items())
        print_sentences(f"{site['name']}: {counts}" + (f" ({reasons})" if reasons else ""))
        rows = [
            (
                f"  {pod['name']}",
                "ready" if pod["ready"] else pod["reason"] or pod["phase"],
                str(pod["restarts"]),
                pod["node"] or "",
                pod["message"] or "",
            )
            for pod in site["podDetails"]
        ]
        if rows:
            header = ("  POD", "STATE", "RESTARTS", "NODE", "WHY")
            print_table([header, *(tuple(map(printable, row)) for row in rows)], fixed=1)
        events = site["events"][:max_events]
        if events:
            header = ("  LAST-SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE")
            cells = [
                (
                    f"  {one['lastSeen'] or ''}",
                    one["type"],
                    one["reason"],
                    one["about"],
                    one["message"] + (f" (x{one['count']})" if one["count"] > 1 else ""),
                )
                for one in events
            ]
            table = [header, *(tuple(map(printable, row)) for row in cells)]
            print_table(table, fixed=1, is_ours=False)
    notice_gaps("status", answer)
