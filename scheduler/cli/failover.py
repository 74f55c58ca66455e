"""`kapok failover NS/NAME`: an operator's word that replicas are to be replaced elsewhere.

The word is written to the Site that is to be left, which only operators may do, and the scheduler
answers in the status of the Workload. With --dry-run the same engine decides here, and nothing is
written.
"""

import argparse
import asyncio
import uuid
from collections.abc import Collection, Mapping
from math import inf
from pathlib import Path
from typing import Any

from scheduler.cli.moving.at_site import read_whole_workload
from scheduler.cli.moving.moves import format_answer, moves_between, who_asks
from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_INTERRUPTED,
    EXIT_NO,
    EXIT_USAGE,
    add_output_option,
    parse_name,
    parse_workload_key,
    seconds_between,
)
from scheduler.cli.support.hub_access import HubNotFound, add_hub_arguments, find_kubeconfig
from scheduler.cli.support.offline_input import decide_one, fleet_of, input_of_objects
from scheduler.cli.support.output import print_error, print_json, print_notice, print_sentences
from scheduler.control.failover.words import (
    WHOLE_COPIES,
    WORDS_ANNOTATION,
    OperatorWord,
    read_words,
    write_words,
)
from scheduler.control.ports.hub import (
    KAPOK_RESOURCES,
    SITES,
    Conflict,
    HubError,
    NotFound,
    Object,
)
from scheduler.control.status.migration import shares_in
from scheduler.hub.client import HubClient, open_hub
from scheduler.model.decode import decode_as
from scheduler.model.demand.demand import NotAccepted
from scheduler.model.kinds.kinds import Workload
from scheduler.model.kinds.metadata import WorkKey
from scheduler.runtime.clock import SystemClock

_EPILOG = """examples:
  kapok failover health/insurance-db                   away from all its sites that are silent
  kapok failover health/insurance-db --site gz-edge    away from this site, also if it reports
  kapok failover health/insurance-db --dry-run -o json

The replacement is ordered first, and what runs at the former site ends when it runs. Pods with
numbers (StatefulSets) start elsewhere at once: make sure that the silent site does not run them.
No rule is weakened: sites, rights, quotas and a freeze hold, and what cannot be replaced stays.
The word needs the right to change Sites (ClusterRole kapok-operator).
Exit code: 0 replaced, 1 not all is replaced, 2 wrong usage or workload not found, 130 left by
Ctrl-C; a word that stands by then is followed all the same."""

_POLL_SECONDS = 0.2
_MAX_TRIES = 10
"""The status of a Site is written every few seconds, which is a conflict too."""

Answer = dict[str, Any]


class _NotPossible(Exception):
    """Wrong usage; the message says what to write."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok failover`."""
    parser.description = "Replaces a workload's replicas at a site, by an operator's word."
    parser.epilog = _EPILOG
    parser.add_argument(
        "workload",
        type=parse_workload_key,
        metavar="NAMESPACE/NAME",
        help="the workload; NAME alone is default/NAME",
    )
    parser.add_argument(
        "--site",
        type=parse_name,
        help="the site to leave (default: all of its sites that are silent)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show what would move, and write nothing"
    )
    parser.add_argument(
        "--timeout",
        type=seconds_between(0.0, inf),
        default=30.0,
        metavar="SECONDS",
        help="how long to wait for the scheduler's answer (default: %(default)s)",
    )
    add_hub_arguments(parser)
    add_output_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Asks for the replacement, or shows it."""
    key, written = arguments.workload, dict[str, str]()
    try:
        kubeconfig = find_kubeconfig(arguments.kubeconfig, arguments.data_dir)
        answer = asyncio.run(_answer(arguments, kubeconfig, key, written))
    except (HubNotFound, NotFound, _NotPossible) as error:
        print_error("failover", error)
        return EXIT_USAGE
    except HubError as error:
        print_error("failover", error)
        return EXIT_NO
    except KeyboardInterrupt:
        if written:
            where = ", ".join(sorted(written))
            print_notice(f"the word stands on {where}, and a scheduler follows it all the same")
        return EXIT_INTERRUPTED
    if arguments.output == "json":
        print_json(answer)
    else:
        print_sentences(format_answer(answer))
    return EXIT_NO if answer["stuck"] else EXIT_GOOD


async def _answer(
    arguments: argparse.Namespace, kubeconfig: Path, key: WorkKey, written: dict[str, str]
) -> Answer:
    title = "/".join(key)
    async with open_hub(kubeconfig) as client:
        body = await read_whole_workload(client, key[1], key[0])
        workload = decode_as(body, Workload, allow_unknown=True)
        shares = shares_in(workload.status.placement.groups)
        staying = {site: one.replicas for site, one in shares.items() if one.replicas}
        if arguments.site and arguments.site not in staying:
            there = ", ".join(sorted(staying)) or "no site"
            raise _NotPossible(f"{title} has no replicas at {arguments.site}; it is at {there}")
        known = {name: await client.get(SITES, name) for name in sorted(staying)}
        sites = (
            [arguments.site]
            if arguments.site
            else [name for name, one in known.items() if not _reports(one)]
        )
        if not sites:
            reason = "all of its sites report; name the one to leave with --site"
            return {"moves": [], "stuck": [{"workload": title, "reason": reason}]}
        if arguments.dry_run:
            return await _would_move(client, title, sites)
        left = {name: known[name] for name in sites}
        return await _move(client, workload, left, arguments.timeout, written)


def _reports(site: Object) -> bool:
    conditions = (site.get("status") or {}).get("conditions") or []
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


async def _would_move(client: HubClient, title: str, sites: list[str]) -> Answer:
    objects = [one for kind in KAPOK_RESOURCES for one in (await client.list(kind)).items]
    inputs = input_of_objects(objects)
    found = next(one for one in inputs.workloads if one.metadata.key == title)
    decided = decide_one(inputs, fleet_of(inputs), found, now=SystemClock().now(), evicted=sites)
    if isinstance(decided.demand, NotAccepted) or decided.decision is None:
        message = getattr(decided.demand, "message", "")
        return {"moves": [], "stuck": [{"workload": title, "reason": f"not accepted: {message}"}]}
    if decided.demand.strategy == "Duplicated":
        return {"moves": [], "stuck": [{"workload": title, "reason": WHOLE_COPIES}]}
    before, decision = decided.demand.placed_replicas, decided.decision
    after = {one.site: one.replicas for one in decision.assignment}
    moves = moves_between(title, before, after, sites)
    if decision.phase == "Placed":
        return {"moves": moves, "stuck": []}
    return {"moves": [], "stuck": [{"workload": title, "reason": decision.line}]}


async def _move(
    client: HubClient,
    workload: Workload,
    sites: Mapping[str, Object],
    timeout_seconds: float,
    written: dict[str, str],
) -> Answer:
    """Writes the word to each site, and waits for the answers.

    Args:
        client: of the hub.
        workload: the workload as it is before.
        sites: the sites to leave.
        timeout_seconds: how long to wait for the answers.
        written: gets the ids of the words that stand, by site, as soon as they do.
    """
    title = workload.metadata.key
    key = (workload.metadata.namespace, workload.metadata.name)
    before = {
        site: one.replicas for site, one in shares_in(workload.status.placement.groups).items()
    }
    word = OperatorWord(key, workload.metadata.uid, uuid.uuid4().hex, await who_asks(client))
    known = workload.status.failover.answers if workload.status.failover else ()
    for name, site in sites.items():
        answered = {one.id for one in known if one.site == name}
        written[name] = await write_word(client, site, word, answered)
    clock = SystemClock()
    until = clock.monotonic() + timeout_seconds
    while True:
        body = await read_whole_workload(client, key[1], key[0])
        now = decode_as(body, Workload, allow_unknown=True)
        answers = now.status.failover.answers if now.status.failover else ()
        mine = {one.site: one for one in answers if one.id == written.get(one.site)}
        if mine.keys() >= sites.keys() or clock.monotonic() > until:
            break
        await clock.sleep(_POLL_SECONDS)
    after = {site: one.replicas for site, one in shares_in(now.status.placement.groups).items()}
    stuck = [
        {"workload": title, "reason": f"{one.site}: {one.reason}"}
        for one in mine.values()
        if not one.moved
    ]
    stuck += [
        {
            "workload": title,
            "reason": f"{site}: no answer within {timeout_seconds:g} s; the word stands on the "
            "Site, and a scheduler follows it when it leads",
        }
        for site in sorted(sites.keys() - mine.keys())
    ]
    left = [site for site, one in mine.items() if one.moved]
    return {"moves": moves_between(title, before, after, left), "stuck": stuck}


async def write_word(
    client: HubClient, site: Object, word: OperatorWord, answered: Collection[str] = ()
) -> str:
    """Adds a word to those on a Site; what others write meanwhile stays.

    A word of another operator about the same workload that waits for its answer is joined: a new
    one would take its place, and the other operator would wait for nothing.

    Args:
        client: of the hub.
        site: the Site as it was read.
        word: the word.
        answered: the ids of words that have their answer.

    Returns:
        The id of the word that is on the Site then.

    Raises:
        Conflict: others write again and again.
    """
    for tries_left in reversed(range(_MAX_TRIES)):
        metadata = site["metadata"]
        former = read_words(metadata.get("annotations") or {})
        for one in former:
            if (one.key, one.uid) == (word.key, word.uid) and one.id not in answered:
                return one.id
        patch = {
            "resourceVersion": metadata["resourceVersion"],  # another word meanwhile is a conflict
            "annotations": {WORDS_ANNOTATION: write_words((*former, word))},
        }
        try:
            await client.merge_patch(SITES, metadata["name"], {"metadata": patch})
        except Conflict:
            if not tries_left:
                raise
            site = await client.get(SITES, metadata["name"])
        else:
            return word.id
    raise AssertionError("every attempt returns or raises")
