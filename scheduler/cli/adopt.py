"""`kapok hub adopt`: accepts by hand what a hub may not accept by itself.

Each option is one kind of loss, with a function of its own in `_ADOPTIONS`.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from scheduler.apiserver.storage.sqlite import DataDirectoryInUse
from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_NO,
    EXIT_USAGE,
    add_data_dir_option,
    add_output_option,
)
from scheduler.cli.support.output import print_error
from scheduler.cli.support.signals import leaf_errors
from scheduler.control.epoch_reset import EpochNotSettable, EpochResetter
from scheduler.control.leader_election import Leadership, LeaseHeld
from scheduler.control.ports.hub import HubError
from scheduler.mqtt.keyring import load_or_make_key, replace_key
from scheduler.runtime.clock import SystemClock
from scheduler.runtime.data_dir import (
    HUB_KEY_FILE,
    HUB_PUBLIC_KEY_FILE,
    DataDirectory,
    DataDirectoryError,
    locked_data_directory,
)
from scheduler.runtime.faults import Faults
from scheduler.services import open_hub_client
from scheduler.settings import Settings, SettingsError, data_directory, load_settings

PURPOSE = "accept a loss that the hub may not accept by itself; stop `kapok up` first"
_LOWEST = -1
_DESCRIPTION = """Accepts a loss that the hub may not accept by itself. Stop `kapok up` first, all
of them if several share a hub.

--epoch repairs the counter of leaders, which orders all indexes that go to sites. If the Lease or
a status stands at its end, write it without a number: the statuses and the Lease get a lower epoch,
and the hub gets a new signing key, because an agent accepts no lower epoch under a key that it
knows. Write the new key into `hub_keys` of the agents in place of the old one. If the hub was
restored from a backup and its sites cannot prove their later epoch, write a number above theirs:
the key stays."""
_EPILOG = """examples:
  kapok hub adopt --epoch                          the Lease stands at the end of the counter
  kapok hub adopt --epoch 12                       the sites are at epoch 11, the hub is not
  kapok hub adopt --epoch --config scheduler.yaml  the hub is a real cluster

Exit code: 0 done, 1 it could not be done, 2 wrong usage."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok hub adopt`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_data_dir_option(parser)
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help="settings of `kapok up` (default: built-in)"
    )
    parser.add_argument(
        "--epoch",
        type=int,
        nargs="?",
        const=_LOWEST,
        metavar="N",
        help="set the epoch to N; without N to the lowest that the hub accepts",
    )
    add_output_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Accepts what the options name."""
    chosen = {name: one for name, one in _ADOPTIONS.items() if getattr(arguments, name) is not None}
    if not chosen:
        print_error("hub adopt", f"name what to accept: --{', --'.join(_ADOPTIONS)}")
        return EXIT_USAGE
    path = data_directory(arguments.data_dir)
    if not path.is_dir():  # a wrong name must not make a new, empty hub
        print_error("hub adopt", f"{path} does not exist; name another with --data-dir DIR")
        return EXIT_NO
    try:
        settings = load_settings(arguments.config)
    except SettingsError as error:
        print_error("hub adopt", error)
        return EXIT_USAGE
    code = EXIT_GOOD
    try:
        with locked_data_directory(path) as directory:
            for name, adoption in chosen.items():
                answer = asyncio.run(adoption(getattr(arguments, name), settings, directory))
                _print_answer(arguments, answer)
    except* (
        DataDirectoryError,
        DataDirectoryInUse,
        EpochNotSettable,
        HubError,
        LeaseHeld,
        OSError,
        ValueError,
    ) as group:
        for leaf in leaf_errors(group):
            print_error("hub adopt", leaf)
        code = EXIT_NO
    return code


def _print_answer(arguments: argparse.Namespace, answer: Mapping[str, object]) -> None:
    if arguments.output == "json":
        sys.stdout.write(json.dumps(answer) + "\n")
        return
    for key, value in answer.items():
        sys.stdout.write(f"{key}: {value}\n")


# ---------------------------------------------------------------- --epoch


async def _adopt_epoch(
    wanted: int, settings: Settings, directory: DataDirectory
) -> Mapping[str, object]:
    """Sets the epoch of the hub, and makes a new key if agents need one to follow."""
    clock = SystemClock()
    key_path = directory.path / HUB_KEY_FILE
    async with open_hub_client(settings, directory, on_hub_fault=_ignore_fault) as (_, client):
        resetter = EpochResetter(
            hub=client,
            leadership=Leadership(
                hub=client,
                clock=clock,
                faults=Faults(clock=clock, count=_ignore_fault),
                identity=f"kapok-hub-adopt-{os.getpid()}",
                is_sole_candidate=not settings.hub.kubeconfig,
            ),
            replace_key=lambda: _replace_key(directory),
            clock=clock,
        )
        done = await resetter.run(None if wanted == _LOWEST else wanted)
    return {
        "epoch": done.epoch,
        "epochBefore": done.epoch_before,
        "statuses": done.statuses,
        "refusedStatuses": done.refused,
        "newKey": done.has_new_key,
        "hubKey": str(load_or_make_key(key_path).public) if key_path.exists() else None,
        "next": _next_step(has_new_key=done.has_new_key),
    }


def _replace_key(directory: DataDirectory) -> None:
    key = replace_key(directory.path / HUB_KEY_FILE)
    (directory.path / HUB_PUBLIC_KEY_FILE).write_text(f"{key.public}\n")


def _next_step(*, has_new_key: bool) -> str:
    if has_new_key:
        return "write hubKey into hub_keys of every agent in place of the old key, and start kapok"
    return "start kapok"


def _ignore_fault(_where: str) -> None:
    """Faults of the embedded hub are in its log; there are no metrics here."""


_ADOPTIONS: Mapping[
    str, Callable[[int, Settings, DataDirectory], Coroutine[Any, Any, Mapping[str, object]]]
] = {"epoch": _adopt_epoch}
