"""How `kapok status` and `kapok logs` ask sites about a workload, and say what is missing."""

import argparse
from typing import Any
from urllib.parse import quote

from scheduler.cli.support.arguments import parse_name, parse_workload_key
from scheduler.cli.support.hub_access import add_hub_arguments
from scheduler.cli.support.output import print_notice
from scheduler.cli.support.web_access import add_server_option
from scheduler.runtime.printable import printable


def add_workload_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the workload, `--site`, and what names the hub."""
    parser.add_argument(
        "workload",
        metavar="NAMESPACE/NAME",
        type=parse_workload_key,
        help="the workload; NAME alone is default/NAME",
    )
    parser.add_argument(
        "--site",
        action="append",
        type=parse_name,
        default=[],
        metavar="SITE",
        help="only this site; may be repeated",
    )
    add_hub_arguments(parser)
    add_server_option(parser)


def workload_path(about: str, key: tuple[str, str]) -> str:
    """The path of the web server for questions about a workload."""
    return f"/api/v1/{about}/{quote(key[0], safe='')}/{quote(key[1], safe='')}"


def notice_gaps(command: str, answer: dict[str, Any]) -> None:
    """Says on stderr which sites gave no answer, or were not asked."""
    if not answer["sites"]:
        print_notice(
            f"{answer['workload']} has no replicas at any site (phase {answer['phase']});"
            f" `kapok explain {answer['workload']}` says why"
        )
    for site in answer["sites"]:
        if "problem" in site:
            print_notice(f"kapok {command}: {site['name']}: {printable(site['problem'])}")
    if answer.get("leftOut"):
        print_notice(f"{answer['leftOut']} sites are left out; name one with --site")
