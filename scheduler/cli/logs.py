"""`kapok logs NS/NAME`: the last lines of a workload's containers at its sites."""

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
    parse_name,
)
from scheduler.cli.support.hub_access import HubNotFound, find_kubeconfig
from scheduler.cli.support.output import (
    flush_output,
    print_error,
    print_json,
    print_notice,
    print_text,
)
from scheduler.cli.support.signals import leaf_errors, run_until_signalled
from scheduler.cli.support.web_access import WebClient, WebUnavailable, connect_web
from scheduler.control.ports.hub import HubError
from scheduler.runtime.clock import SystemClock
from scheduler.runtime.printable import printable

_MAX_TAIL_LINES = 10_000
_POLL_SECONDS = 2.0
_SLOW_POLL_SECONDS = 10.0
_TOO_MANY = 429
_MAX_POSITIONS = 256

_EPILOG = """examples:
  kapok logs health/appointment                the last lines of all its containers
  kapok logs health/appointment --tail 20 -f   and then what comes, until Ctrl-C
  kapok logs health/appointment --site m1 --pod web-5d9c --container app

Each line begins with site, pod and container, unless --no-prefix is given. The agents are asked
through the scheduler's web server, and only about pods that Kapok ordered; the token of the
kubeconfig needs the right to get workloads.kapok.dev/log in the namespace. An answer holds at most
64 kB of a container and 256 kB of a site, the last lines; `...` stands for what was left out. -f
asks every two seconds.
Exit code: 0 every site has answered, 1 one has not, or the scheduler refuses, 2 wrong usage."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok logs`."""
    parser.epilog = _EPILOG
    add_workload_arguments(parser)
    parser.add_argument("--pod", type=parse_name, metavar="POD", help="only this pod")
    parser.add_argument(
        "-c", "--container", type=parse_name, metavar="NAME", help="only containers of this name"
    )
    parser.add_argument(
        "--tail",
        type=_parse_lines,
        metavar="N",
        help="the last N lines of each container (default: as many as fit)",
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    parser.add_argument("--no-prefix", action="store_true", help="print the lines alone")
    add_output_option(parser)


def _parse_lines(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:9]) <= _MAX_TAIL_LINES:
        raise argparse.ArgumentTypeError(
            f"invalid number of lines {text[:20]!r}: expected 1 to {_MAX_TAIL_LINES}"
        )
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Prints the lines."""
    if arguments.follow and arguments.output:
        print_error("logs", "-f prints lines, and -o json one object: leave one of them out")
        return EXIT_USAGE
    try:
        kubeconfig = find_kubeconfig(arguments.kubeconfig, arguments.data_dir)
    except HubNotFound as error:
        print_error("logs", error)
        return EXIT_USAGE
    code: int | None = EXIT_NO
    work = _print_logs(kubeconfig, arguments)
    try:
        code = asyncio.run(run_until_signalled(work, name="logs") if arguments.follow else work)
    except* HubError as group:
        for one in leaf_errors(group):
            print_error("logs", one)
    return EXIT_GOOD if code is None else code  # None: Ctrl-C, the way to end -f


async def _print_logs(kubeconfig: Path, arguments: argparse.Namespace) -> int:
    web = await connect_web(kubeconfig, arguments.server)
    body = {
        "sites": arguments.site,
        "pod": arguments.pod,
        "container": arguments.container,
        "tailLines": arguments.tail,
    }
    path = workload_path("logs", arguments.workload)
    answer = await asyncio.to_thread(web.post, path, body)
    if arguments.output == "json":
        print_json(answer)
    else:
        _print_answer(answer, with_prefix=not arguments.no_prefix)
        notice_gaps("logs", answer)
    if arguments.follow:
        await _follow(web, path, body, answer, with_prefix=not arguments.no_prefix)
    is_partial = any("problem" in one for one in answer["sites"])
    return EXIT_NO if is_partial else EXIT_GOOD


async def _follow(
    web: WebClient,
    path: str,
    body: dict[str, Any],
    answer: dict[str, Any],
    *,
    with_prefix: bool,
) -> None:
    """Prints what comes, until cancelled; a site that does not answer is said once.

    Raises:
        WebUnavailable: the scheduler refuses.
    """
    positions: dict[tuple[str, str, str], str] = {}
    said: set[tuple[str, str]] = _problems(answer)
    clock, pause = SystemClock(), _POLL_SECONDS
    while True:
        positions |= _positions(answer)
        known = [
            {"site": site, "pod": pod, "container": container, "after": after}
            for (site, pod, container), after in positions.items()
        ]
        await clock.sleep(pause)
        # What comes is asked for without a number of lines: it must not skip any.
        wish = body | {"positions": known[-_MAX_POSITIONS:], "tailLines": None}
        try:
            answer = await asyncio.to_thread(web.post, path, wish)
        except WebUnavailable as error:
            if error.code == _TOO_MANY:
                pause = _SLOW_POLL_SECONDS
                continue
            raise
        pause = _POLL_SECONDS
        _print_answer(answer, with_prefix=with_prefix)
        for site, problem in sorted(_problems(answer) - said):
            print_notice(f"kapok logs: {site}: {printable(problem)}")
        said = _problems(answer)


def _positions(answer: dict[str, Any]) -> dict[tuple[str, str, str], str]:
    return {
        (site["name"], one["pod"], one["container"]): one["after"]
        for site in answer["sites"]
        for one in site["logs"]
        if one["after"]
    }


def _problems(answer: dict[str, Any]) -> set[tuple[str, str]]:
    return {(one["name"], one["problem"]) for one in answer["sites"] if "problem" in one}


def _print_answer(answer: dict[str, Any], *, with_prefix: bool) -> None:
    for site in answer["sites"]:
        for one in site["logs"]:
            where = f"{site['name']} {one['pod']} {one['container']}"
            if "problem" in one:
                print_notice(f"kapok logs: {where}: {printable(one['problem'])}")
            prefix = printable(f"{where} | ") if with_prefix else ""
            lines = one["text"].splitlines()
            if one["truncated"] and lines:
                lines.insert(0, "...")
            for line in lines:
                print_text(prefix + printable(line.expandtabs()))
    flush_output()
