"""`kapok site`: lets a site join, keeps new work away from it, empties, opens, revokes, forgets it.

The word is written to the Site, which only operators may do; the scheduler follows it, also when
this command has ended.
"""

import argparse
import asyncio
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any

from scheduler.cli.joining import join, revoke
from scheduler.cli.joining.site_list import NewSite, SiteListError
from scheduler.cli.moving.at_site import (
    list_whole_workloads,
    read_workload,
    staying_replicas,
    with_slices,
    workloads_at,
)
from scheduler.cli.moving.drain_preview import preview_drain
from scheduler.cli.moving.forget import forget_site, format_left
from scheduler.cli.moving.moves import format_answer, moves_between, who_asks
from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_INTERRUPTED,
    EXIT_NO,
    EXIT_USAGE,
    add_output_option,
    parse_instant,
    parse_name,
    seconds_between,
)
from scheduler.cli.support.hub_access import HubNotFound, add_hub_arguments, find_kubeconfig
from scheduler.cli.support.output import (
    print_error,
    print_json,
    print_notice,
    print_sentences,
    print_text,
)
from scheduler.cli.support.signals import leaf_errors, run_until_signalled
from scheduler.control.failover.clearing import CONDITION
from scheduler.control.ports.hub import (
    KAPOK_RESOURCES,
    SITES,
    Conflict,
    HubError,
    NotFound,
    Object,
)
from scheduler.control.status.failover import DRAINED
from scheduler.hub.client import HubClient, open_hub
from scheduler.model.formatters import format_rfc3339
from scheduler.model.kinds.workload import Workload
from scheduler.runtime.clock import SystemClock

_DESCRIPTION = """Operations of a site. A cordoned site gets no new replicas, and what runs there
stays. A drained site is cordoned, and what runs there moves away: the replacement runs first, and
of each workload no more replicas move at once than its own PodDisruptionBudget lets be away.
For planned work write windows into the Site instead; what can be moved then moves 15 minutes ahead:

  spec:
    maintenance: [{from: "2026-12-05T22:00:00Z", until: "2026-12-06T02:00:00Z", reason: disks}]"""
_EPILOG = """examples:
  kapok site join gz-edge                        one line for the technician at the machine
  kapok site revoke gz-edge                      nothing that its keys sign counts from now on
  kapok site cordon gz-edge                      no new replicas there
  kapok site drain gz-edge --dry-run             what would move, and what could not
  kapok site drain gz-edge --by 2026-12-05T22:00:00Z
  kapok site uncordon gz-edge                    ends cordon and drain; nothing moves back
  kapok site forget gz-edge --dry-run            what a site that is gone for good leaves behind
  kapok get sites -o wide                        OPERATIONS: Cordoned, Draining, Drained, ...

A drain is kept in the hub: Ctrl-C leaves the command, and the drain goes on. What cannot leave is
named with the way out: pods with numbers, local data and jobs (--force), a budget that allows
nothing, no room elsewhere. A site that does not report is left to failover (kapok failover).
Exit code: 0 done, 1 not all could leave, 2 wrong usage or no such site, 130 left by Ctrl-C."""
_DRAIN_EPILOG = """The command waits until the site is empty, or all that is left there is stuck;
the drain goes on in any case, until kapok site uncordon. A second drain of the same site joins the
first one; its --by and --force count.
Exit code: 0 empty, 1 not all could leave, 2 wrong usage or no such site, 130 left by Ctrl-C."""

_FORGET_EPILOG = """Nothing at the site is waited for. What ran there is placed elsewhere by the
rules, and a workload that is being deleted and waits only for this site is gone. The ledger
records who forgot the site and what was left there: replicas, and of a StatefulSet its pods and
their claims by name. Volumes, Secrets and pods at the site stay as they are; grants that name the
site stay too. A site of that name that reports later is a foreign one: kapok get sites --pending
lists it, and once it is admitted again its old work is withdrawn.
Exit code: 0 done, 1 not done or not all has a place, 2 wrong usage or no such site."""

_POLL_SECONDS = 0.5
_STUCK_SECONDS = 5.0
"""So long must everything that is left be stuck, before the command ends."""
_HEARD_SECONDS = 3.0
"""After this time the condition of the site is about this drain, and not about a former one."""
_ATTEMPTS = 8

Answer = dict[str, Any]


class _Deleted(Exception):
    """The site was deleted while it was drained."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok site`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    commands = parser.add_subparsers(dest="site_command", metavar="COMMAND", required=True)
    for name, purpose in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=purpose,
            description=f"{purpose[0].upper()}{purpose[1:]}.",
            epilog=_EPILOGS.get(name),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == "join":
            join.register(command)
            add_hub_arguments(command)
            add_output_option(command)
            continue
        command.add_argument("name", type=parse_name, metavar="NAME", help="the site")
        if name == "drain":
            _add_drain_arguments(command)
        if name == "forget":
            _add_forget_arguments(command)
        add_hub_arguments(command)
        add_output_option(command)


def _add_drain_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--by",
        type=parse_instant,
        metavar="TIME",
        help="from then on what is still there is named as overdue",
    )
    command.add_argument(
        "--force",
        action="store_true",
        help="also move pods with numbers (they end before they start elsewhere), work whose data "
        "stays behind, and jobs (they begin again); budgets hold all the same",
    )
    command.add_argument(
        "--dry-run", action="store_true", help="show what would move, and write nothing"
    )
    command.add_argument(
        "--timeout",
        type=seconds_between(0.0, inf),
        metavar="SECONDS",
        help="wait no longer than this; the drain goes on (default: no limit)",
    )


def _add_forget_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--force", action="store_true", help="also a site that reports, with what runs there"
    )
    command.add_argument(
        "--dry-run", action="store_true", help="show what it leaves behind, and write nothing"
    )
    command.add_argument(
        "--timeout",
        type=seconds_between(0.0, inf),
        metavar="SECONDS",
        help="wait no longer than this for the record, and then for the moves (default: 30)",
    )


_EPILOGS = {
    "join": join.EPILOG,
    "revoke": revoke.EPILOG,
    "drain": _DRAIN_EPILOG,
    "forget": _FORGET_EPILOG,
}
_COMMANDS = {
    "join": "let machines join as sites: makes each Site, and prints a line for its technician",
    "cordon": "keep new replicas away from a site; what runs there stays",
    "uncordon": "allow new replicas again, and end a drain; nothing moves back",
    "drain": "cordon a site and move away what runs there",
    "revoke": "take back the keys, certificates and tokens of a site, at once",
    "forget": "delete a site that is gone for good, and name what it leaves behind",
}


def run(arguments: argparse.Namespace) -> int:
    """Runs one of the commands."""
    title = f"site {arguments.site_command}"
    try:
        wanted = join.wanted_sites(arguments) if arguments.site_command == "join" else []
        kubeconfig = find_kubeconfig(arguments.kubeconfig, arguments.data_dir)
    except (HubNotFound, SiteListError) as error:
        print_error(title, error)
        return EXIT_USAGE
    if wanted:
        return _join(arguments, kubeconfig, wanted)
    code, answer, work = EXIT_GOOD, None, _answer(arguments, kubeconfig)
    try:
        answer = asyncio.run(run_until_signalled(work, name=title))
    except* (HubError, _Deleted) as group:
        for one in leaf_errors(group):
            print_error(title, one)
            code = EXIT_USAGE if isinstance(one, NotFound) else EXIT_NO
    return code or _show(arguments, answer)


def _join(arguments: argparse.Namespace, kubeconfig: Path, wanted: list[NewSite]) -> int:
    """Prints one line for each site, or one JSON object."""

    async def work() -> list[Answer]:
        async with open_hub(kubeconfig) as client:
            return await join.join_sites(client, wanted, arguments.ttl)

    answers: list[Answer] | None = None
    has_failed = False
    try:
        answers = asyncio.run(run_until_signalled(work(), name="site join"))
    except* HubError as group:
        for one in leaf_errors(group):
            print_error("site join", one)
            has_failed = True
    if has_failed:
        return EXIT_NO
    if answers is None:
        return EXIT_INTERRUPTED
    if arguments.output == "json":
        print_json({"done": True, "sites": answers} if arguments.file else answers[0])
    elif arguments.file:
        print_text("\n".join(f"{one['line']}  # {one['site']}" for one in answers))
    else:
        print_text(answers[0]["line"])
    return EXIT_GOOD


def _show(arguments: argparse.Namespace, answer: Answer | None) -> int:
    if answer is None:
        end = f"kapok site uncordon {arguments.name} ends it"
        print_notice(f"the drain of {arguments.name} goes on; {end}")
        return EXIT_INTERRUPTED
    if arguments.output == "json":
        print_json(answer)
    else:
        state = {
            "cordon": "cordoned",
            "uncordon": "open for new replicas",
            "drain": "empty" if answer["done"] else "not empty",
            "revoke": "revoked; it joins again with kapok site join",
            "forget": "forgotten" if answer["done"] else "not forgotten",
        }[arguments.site_command]
        if getattr(arguments, "dry_run", False):
            state = "not changed (dry run)"
        left = format_left(answer) if "left" in answer else []
        lines = (format_answer(answer), *left, f"{arguments.name}: {state}")
        print_sentences("\n".join(filter(None, lines)))
    return EXIT_NO if answer["stuck"] or not answer["done"] else EXIT_GOOD


async def _answer(arguments: argparse.Namespace, kubeconfig: Path) -> Answer:
    name = arguments.name
    async with open_hub(kubeconfig) as client:
        if arguments.site_command == "cordon":
            await _edit(client, name, lambda _spec: {"cordon": True})
            return _answer_of(name, is_done=True)
        if arguments.site_command == "uncordon":
            site = await _edit(client, name, lambda _spec: {"cordon": None, "drain": None})
            _warn_of_maintenance(name, site)
            return _answer_of(name, is_done=True)
        if arguments.site_command == "revoke":
            return await revoke.revoke_site(client, name)
        if arguments.site_command == "forget":
            answer = await forget_site(
                client,
                name,
                is_forced=arguments.force,
                is_dry_run=arguments.dry_run,
                timeout_seconds=arguments.timeout,
            )
            if answer["done"] and not arguments.dry_run:
                await revoke.revoke_remains(client, name)
            return answer
        if arguments.dry_run:
            site = await client.get(SITES, name)
            objects = [one for kind in KAPOK_RESOURCES for one in (await client.list(kind)).items]
            objects = await with_slices(client, objects)
            return _dry_run(objects, site, name, is_forced=arguments.force)
        return await _drain(client, arguments)


def _answer_of(
    site: str, *, is_done: bool, moves: list[Any] | None = None, stuck: list[Any] | None = None
) -> Answer:
    return {"site": site, "done": is_done, "moves": moves or [], "stuck": stuck or []}


async def _edit(client: HubClient, name: str, change: Any) -> Object:  # noqa: ANN401 - a function
    """Edits the spec of a site; another edit meanwhile is read first.

    Returns:
        The site before the edit.
    """
    for attempt in range(_ATTEMPTS):
        site = await client.get(SITES, name)
        patch = {
            "metadata": {"resourceVersion": site["metadata"]["resourceVersion"]},
            "spec": change(site.get("spec") or {}),
        }
        try:
            await client.merge_patch(SITES, name, patch)
        except Conflict:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return site
    raise AssertionError("every attempt returns or raises")


def _warn_of_maintenance(name: str, site: Object) -> None:
    found = _condition(site)
    if found.get("reason") in ("Maintenance", "MaintenanceSoon"):
        print_notice(f"{name} takes no new work yet: {found.get('message', '')}")


def _condition(one: Object, kind: str = CONDITION) -> Object:
    conditions = (one.get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each.get("type") == kind), {})


def _dry_run(objects: list[Object], site: Object, name: str, *, is_forced: bool) -> Answer:
    if _condition(site, "Ready").get("status") != "True":
        found = workloads_at(objects, name)
        left: list[Any] = [{"workload": key, "reason": _silent(name)} for key in sorted(found)]
        return _answer_of(name, is_done=not left, stuck=left)
    moves, stuck = preview_drain(objects, name, is_forced=is_forced, now=SystemClock().now())
    return _answer_of(name, is_done=not stuck, moves=moves, stuck=stuck)


def _silent(name: str) -> str:
    return (
        f"{name} does not report: failover replaces what its rules allow (spec.failover, freezes); "
        f"kapok failover NS/NAME --site {name} replaces at once"
    )


# ---------------------------------------------------------------- the drain


async def _drain(client: HubClient, arguments: argparse.Namespace) -> Answer:
    """Writes the word, and waits until the site is empty or what is left is stuck."""
    name, clock = arguments.name, SystemClock()
    before = workloads_at(await list_whole_workloads(client), name)
    word = {
        "since": format_rfc3339(clock.now()),
        "requestedBy": await who_asks(client),
        "by": format_rfc3339(arguments.by) if arguments.by else None,
        "force": arguments.force,
    }
    if arguments.by is not None and arguments.by <= clock.now():
        print_notice(f"--by {word['by']} is past: what is still there is overdue from now on")
    site = await _edit(client, name, lambda spec: _drained(spec, word))
    _say_if_joined(name, site)
    until = None if arguments.timeout is None else clock.monotonic() + arguments.timeout
    began, said, stuck_since = clock.monotonic(), "", None
    while True:
        try:
            condition = _condition(await client.get(SITES, name))
        except NotFound:
            raise _Deleted(f"{name} was deleted while it was drained") from None
        text = str(condition.get("message", ""))
        if text and text != said:
            said = text
            print_notice(text)
        now, reason = clock.monotonic(), condition.get("reason")
        is_known = not before or now - began >= _HEARD_SECONDS
        if (reason == "Drained" and is_known) or (until is not None and now >= until):
            return await _result(client, arguments, before)
        is_stuck = reason == "DrainStuck" or (reason == "DrainOverdue" and _is_all_stuck(text))
        stuck_since = (stuck_since or now) if is_stuck else None
        if stuck_since is not None and now - stuck_since >= _STUCK_SECONDS:
            return await _result(client, arguments, before)
        await clock.sleep(_POLL_SECONDS)


def _is_all_stuck(message: str) -> bool:
    """Whether the condition counts as many stuck workloads as are left."""
    words = message.partition(": ")[2].split()
    stuck = [words[at - 1] for at, word in enumerate(words) if word.startswith("stuck") and at]
    return "not report," in message or (bool(words) and stuck[:1] == words[:1])


def _drained(spec: Mapping[str, Any], word: Mapping[str, Any]) -> Object:
    """The change of the spec; of a drain that is there its beginning stays."""
    known = spec.get("drain") or {}
    later = {key: value for key, value in word.items() if value}
    first = {key: known[key] for key in ("since", "requestedBy", "force") if known.get(key)}
    return {"cordon": True, "drain": {**later, **first}}


def _say_if_joined(name: str, site: Object) -> None:
    known = (site.get("spec") or {}).get("drain")
    if known:
        by, since = known.get("requestedBy", "another operator"), known.get("since", "before")
        print_notice(f"{name} is being drained already, since {since} by {by}; joined")


async def _result(
    client: HubClient, arguments: argparse.Namespace, before: Mapping[str, Workload]
) -> Answer:
    """What has moved since, and why the rest is still there."""
    name = arguments.name
    found = await list_whole_workloads(client)
    site = await client.get(SITES, name)
    is_silent = _condition(site, "Ready").get("status") != "True"
    everything = {f"{one['metadata']['namespace']}/{one['metadata']['name']}": one for one in found}
    still = workloads_at(found, name)
    moves: list[dict[str, object]] = []
    for title, workload in sorted(before.items()):
        now = read_workload(everything[title]) if title in everything else None
        if now is not None:
            moves += moves_between(title, staying_replicas(workload), staying_replicas(now), [name])
    stuck = []
    for title in sorted(still):
        text = str(_condition(everything[title], DRAINED).get("message", ""))
        reason = _silent(name) if is_silent else _reason_at(text, name) or "it is on its way"
        stuck.append({"workload": title, "reason": reason})
    is_done = _condition(site).get("reason") == "Drained"
    if is_done and arguments.force:
        stuck = []  # copies that every site has may stay
    return _answer_of(name, is_done=is_done and not stuck, moves=moves, stuck=stuck)


def _reason_at(message: str, name: str) -> str:
    """The part of a condition about one site."""
    return message.partition(f"{name}: ")[2] or message
