"""`kapok rollout status|pause|resume|undo NS/NAME`: how a change goes out by groups of sites.

The word is an annotation of the Workload: it needs the right to change the Workload, and no other.
The scheduler follows it with its next decision, which is recorded, and the status says which word
that was.
"""

import argparse
import asyncio
import uuid
from math import inf
from typing import Any, Final

from scheduler.cli.moving.at_site import read_whole_workload
from scheduler.cli.moving.rollout_answer import rollout_answer
from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_INTERRUPTED,
    EXIT_NO,
    EXIT_USAGE,
    add_output_option,
    parse_workload_key,
    seconds_between,
)
from scheduler.cli.support.hub_access import HubNotFound, add_hub_arguments, find_kubeconfig
from scheduler.cli.support.output import (
    print_error,
    print_json,
    print_notice,
    print_sentences,
    print_table,
)
from scheduler.control.ports.hub import SITES, WORKLOADS, HubError, NotFound, Object
from scheduler.control.rollout.words import WORD_ANNOTATION, write_word
from scheduler.hub.client import HubClient, open_hub
from scheduler.model.decode import decode_as
from scheduler.model.kinds.metadata import WorkKey
from scheduler.model.kinds.workload import Workload
from scheduler.model.rollout.question import RolloutWord
from scheduler.runtime.clock import SystemClock
from scheduler.runtime.printable import printable

_EPILOG = """examples:
  kapok rollout status health/appointment        which groups have the new content, and what the
                                                 next one waits for
  kapok rollout pause health/appointment         all sites keep what they have
  kapok rollout resume health/appointment        goes on; what was rolled back starts again
  kapok rollout undo health/appointment          all sites get the last good content back
  kapok rollout status health/appointment -o json

The groups stand in spec.rollout of the Workload. undo does not change the spec: apply the former
manifests too, or the next change starts from what was undone. pause, resume and undo need the right
to change the Workload.
Exit code: 0 good, 1 it is paused or was rolled back, or nothing is rolled out that could be paused,
resumed or undone, 2 wrong usage or workload not found, 130 left by Ctrl-C."""

_POLL_SECONDS = 0.2
_WORDS: Final[dict[str, tuple[RolloutWord, str]]] = {
    "pause": ("pause", "let all sites keep what they have, until it is resumed"),
    "resume": ("resume", "go on with a rollout that is paused or was rolled back"),
    "undo": ("undo", "give all sites the last good content back"),
}


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the actions of `kapok rollout`."""
    parser.description = "Shows, pauses, resumes and undoes a rollout over groups of sites."
    parser.epilog = _EPILOG
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    described = {"status": "show how far it is"} | {name: one[1] for name, one in _WORDS.items()}
    for name, text in described.items():
        action = actions.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        action.add_argument(
            "workload",
            type=parse_workload_key,
            metavar="NAMESPACE/NAME",
            help="the workload; NAME alone is default/NAME",
        )
        if name != "status":
            action.add_argument(
                "--timeout",
                type=seconds_between(0.0, inf),
                default=30.0,
                metavar="SECONDS",
                help="how long to wait until the scheduler follows it (default: %(default)s)",
            )
        add_hub_arguments(action)
        add_output_option(action)


def run(arguments: argparse.Namespace) -> int:
    """Shows a rollout, or says a word about it."""
    try:
        kubeconfig = find_kubeconfig(arguments.kubeconfig, arguments.data_dir)
        answer = asyncio.run(_answer(arguments, kubeconfig))
    except (HubNotFound, NotFound) as error:
        print_error("rollout", error)
        return EXIT_USAGE
    except HubError as error:
        print_error("rollout", error)
        return EXIT_NO
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    if arguments.output == "json":
        print_json(answer)
    else:
        _print(answer)
    is_stopped = answer["phase"] in ("Paused", "RolledBack") and arguments.action == "status"
    return EXIT_NO if is_stopped or answer["problem"] else EXIT_GOOD


async def _answer(arguments: argparse.Namespace, kubeconfig: Any) -> dict[str, Any]:  # noqa: ANN401 - a path
    key: WorkKey = arguments.workload
    async with open_hub(kubeconfig) as client:
        workload = await _read(client, key)
        problem = ""
        if arguments.action != "status":
            word = _WORDS[arguments.action][0]
            workload, problem = await _say(client, workload, word, arguments.timeout)
        return rollout_answer(workload, await _labels(client)) | {"problem": problem}


async def _read(client: HubClient, key: WorkKey) -> Workload:
    body = await read_whole_workload(client, key[1], key[0])
    return decode_as(body, Workload, allow_unknown=True)


async def _labels(client: HubClient) -> dict[str, Object] | None:
    """The Sites by name; None: the caller may not read them, so who is in a group is unknown."""
    try:
        return {one["metadata"]["name"]: one for one in (await client.list(SITES)).items}
    except HubError:
        return None


async def _say(
    client: HubClient, workload: Workload, word: RolloutWord, timeout_seconds: float
) -> tuple[Workload, str]:
    """Says a word, and waits until the scheduler has followed it; with why it has not."""
    known, meta = workload.status.rollout, workload.metadata
    if known is None or known.phase == "Complete":
        return workload, "nothing is rolled out"
    name = uuid.uuid4().hex
    patch = {"metadata": {"annotations": {WORD_ANNOTATION: write_word(word, name)}}}
    await client.merge_patch(WORKLOADS, meta.name, patch, namespace=meta.namespace)
    clock = SystemClock()
    until = clock.monotonic() + timeout_seconds
    while True:
        now = await _read(client, (meta.namespace, meta.name))
        if now.status.rollout is not None and now.status.rollout.word == name:
            return now, ""
        if clock.monotonic() > until:
            return now, (
                f"not followed within {timeout_seconds:g} s; the word stands on the Workload, "
                "and a scheduler follows it when it leads"
            )
        await clock.sleep(_POLL_SECONDS)


def _print(answer: dict[str, Any]) -> None:
    if answer["problem"]:
        print_notice(f"{answer['workload']}: {answer['problem']}")
    if not answer["phase"]:
        print_sentences(f"{answer['workload']}: nothing was rolled out by groups yet")
        return
    where = f"{answer['updatedSites']} of {answer['totalSites']} sites have the new content"
    print_sentences(f"{answer['workload']}: {answer['phase']}, {where}")
    for text in (answer["because"], answer["waitsFor"]):
        if text:
            print_sentences(printable(text))
    rows = [
        (
            one["name"],
            one["state"],
            "?" if one["sites"] is None else str(len(one["sites"])),
            "?" if one["updated"] is None else str(one["updated"]),
        )
        for one in answer["groups"]
    ]
    header = ("GROUP", "STATE", "SITES", "UPDATED")
    print_table([header, *(tuple(map(printable, row)) for row in rows)], fixed=1)
