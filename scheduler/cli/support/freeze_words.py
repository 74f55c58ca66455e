"""How `kapok freeze` and `kapok thaw` speak with the hub."""

import argparse
import asyncio
import getpass
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_INTERRUPTED,
    EXIT_NO,
    EXIT_USAGE,
    add_output_option,
)
from scheduler.cli.support.hub_access import HubNotFound, add_hub_arguments, find_kubeconfig
from scheduler.cli.support.output import print_error, print_json, print_notice, print_sentences
from scheduler.control.failover.freeze_word import (
    EVICTIONS_MAP,
    FREEZE_MAP,
    MAX_WHY_CHARACTERS,
    NO_WORD,
    FreezeWord,
    freeze_body,
    read_evictions,
    read_word,
)
from scheduler.control.ports.hub import CONFIG_MAPS, NAMESPACE, HubError, NotFound
from scheduler.hub.client import HubClient, open_hub
from scheduler.model.formatters import format_rfc3339
from scheduler.runtime.clock import SystemClock

_SELF_PATH = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_CONFIRMED_WITHIN_SECONDS = 10.0
_ASK_SECONDS = 0.25


def add_freeze_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what both commands take."""
    parser.add_argument(
        "--why", default="", metavar="TEXT", help="the reason, for people who look at it later"
    )
    add_output_option(parser)
    add_hub_arguments(parser)


def run_freeze_command(
    arguments: argparse.Namespace, command: str, *, wants_frozen: bool | None
) -> int:
    """Writes the word, waits until the leader has taken it in, and prints what holds now.

    Args:
        arguments: of the command.
        command: "freeze" or "thaw".
        wants_frozen: what is said; None: nothing, only the state is printed.
    """
    if len(arguments.why) > MAX_WHY_CHARACTERS:
        print_error(command, f"--why: write at most {MAX_WHY_CHARACTERS} characters")
        return EXIT_USAGE
    try:
        kubeconfig = find_kubeconfig(arguments.kubeconfig, arguments.data_dir)
    except HubNotFound as error:
        print_error(command, error)
        return EXIT_USAGE
    said = list[FreezeWord]()
    try:
        work = _say_and_read(kubeconfig, arguments.why, said, wants_frozen=wants_frozen)
        state = asyncio.run(work)
    except HubError as error:
        print_error(command, error)
        return EXIT_NO
    except KeyboardInterrupt:
        if said:
            print_notice("the word stands all the same; kapok freeze --status says what holds")
        return EXIT_INTERRUPTED
    if arguments.output == "json":
        print_json(state)
    else:
        print_sentences("\n".join(_lines_of(state)))
    if not state["confirmed"]:
        print_notice("no leader has confirmed it yet; it holds as soon as one leads")
    is_other = bool(said) and said[-1].id != said[0].id
    if is_other:
        last = said[-1]
        what, by = "freeze" if last.is_frozen else "thaw", last.by or "another operator"
        print_notice(f"{by} has said {what} since, and that holds")
    is_answer_no = wants_frozen is False and bool(state["frozen"])
    is_answer_no |= is_other and state["frozen"] != wants_frozen
    return EXIT_NO if is_answer_no else EXIT_GOOD


async def _say_and_read(
    kubeconfig: Path, why: str, said: list[FreezeWord], *, wants_frozen: bool | None
) -> dict[str, Any]:
    """Says the word and reads what holds then.

    Args:
        kubeconfig: of the hub.
        why: the reason.
        said: gets the word once it stands, and after it the words of others that took its place.
        wants_frozen: what is said; None: nothing.
    """
    async with open_hub(kubeconfig) as client:
        word = await _read_word(client)
        if wants_frozen is None:
            return await _read_state(client, [word], waits=False)
        said.append(await _say(client, word, why, wants_frozen=wants_frozen))
        return await _read_state(client, said, waits=True)


async def _read_word(client: HubClient) -> FreezeWord:
    try:
        return read_word(await client.get(CONFIG_MAPS, FREEZE_MAP, NAMESPACE))
    except NotFound:
        return NO_WORD


async def _say(
    client: HubClient, before: FreezeWord, why: str, *, wants_frozen: bool
) -> FreezeWord:
    """Writes the word; a freeze that is repeated keeps since when it holds."""
    goes_on = wants_frozen and before.is_frozen and before.since
    word = FreezeWord(
        is_frozen=wants_frozen,
        since=before.since if goes_on else format_rfc3339(SystemClock().now()),
        why=why or (before.why if goes_on else ""),
        by=await _who_am_i(client),
        id=uuid.uuid4().hex,
    )
    patch: Mapping[str, Any] = {"data": word.to_data()}
    try:
        await client.merge_patch(CONFIG_MAPS, FREEZE_MAP, patch, namespace=NAMESPACE)
    except NotFound:  # no leader has made it yet
        await client.create(CONFIG_MAPS, freeze_body(word))
    return word


async def _who_am_i(client: HubClient) -> str:
    """The user as the hub knows the caller, else as this machine does."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        answer = await client.raw("POST", _SELF_PATH, body=body)
        name = ((answer.get("status") or {}).get("userInfo") or {}).get("username")
        if name:
            return str(name)
    except HubError:
        pass  # an older server does not have it
    try:
        return f"{getpass.getuser()}@{os.uname().nodename}"
    except (KeyError, OSError):  # no such user, as in some containers
        return f"uid {os.getuid()}@{os.uname().nodename}"


async def _read_state(client: HubClient, said: list[FreezeWord], *, waits: bool) -> dict[str, Any]:
    """What the leader says, once it has taken in the last word; that word if none answers.

    Args:
        client: of the hub.
        said: the words so far; gets those that others say meanwhile.
        waits: whether to wait for the leader.
    """
    clock = SystemClock()
    deadline = clock.monotonic() + (_CONFIRMED_WITHIN_SECONDS if waits else 0.0)
    while True:
        try:
            body = await client.get(CONFIG_MAPS, EVICTIONS_MAP, NAMESPACE)
            state, taken_in = read_evictions(body)
        except NotFound:
            state, taken_in = {}, ""
        word = said[-1]
        is_confirmed = bool(state) and taken_in == word.id
        if is_confirmed or clock.monotonic() >= deadline:
            break
        if (now := await _read_word(client)).id != word.id:
            said.append(now)
        await clock.sleep(_ASK_SECONDS)
    if not is_confirmed:
        state = {"frozen": word.is_frozen, "since": None, "why": "", "held": []}
        if word.is_frozen:
            state |= {"reason": "operator", "since": word.since, "why": word.why, "by": word.by}
    return {"frozen": False, "since": None, "why": "", **state, "confirmed": is_confirmed}


def _lines_of(state: Mapping[str, Any]) -> list[str]:
    if state["frozen"]:
        by = f" by {state['by']}" if state.get("by") else ""
        lines = [f"evictions are frozen since {state['since']}{by}: {state['why'] or 'no reason'}"]
    else:
        rate = state.get("evictionsPerSecond")
        lines = ["evictions are allowed" + (f", at most {rate:g} a second" if rate else "")]
    for one in state.get("held") or ():
        end = f"until {one['until']}" if one["until"] else "until more other sites report"
        lines.append(f"the {one['kind']} {one['name']} is silent since {one['since']}, held {end}")
    return lines


def frozen_notice(state: Mapping[str, Any]) -> str:
    """One line above a list of sites while something is held; "": nothing is."""
    held = state.get("held") or ()
    return "; ".join(_lines_of(state)) if state.get("frozen") or held else ""
