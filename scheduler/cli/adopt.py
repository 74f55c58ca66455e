"""`kapok hub adopt`: accepts what was lost, on an operator's word.

Each option is one action with a function of its own in `_ACTIONS`.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from scheduler.apiserver.storage.sqlite import DataDirectoryInUse
from scheduler.cli.support.adopt_epoch import LOWEST, adopt_epoch, adopt_generations
from scheduler.cli.support.arguments import (
    DATA_DIR_HELP,
    EXIT_GOOD,
    EXIT_NO,
    EXIT_USAGE,
    add_output_option,
)
from scheduler.cli.support.hub_access import HubNotFound, find_kubeconfig
from scheduler.cli.support.hub_choice import choose_hub
from scheduler.cli.support.output import print_error, print_json, print_text
from scheduler.cli.support.signals import leaf_errors
from scheduler.control.epoch_reset import EpochNotSettable
from scheduler.control.leader_election import LeaseHeld
from scheduler.control.ports.hub import HubError
from scheduler.hub.client import open_hub
from scheduler.ledger.errors import LedgerError
from scheduler.ledger_settings import read_ledger_url
from scheduler.recovery.adopt import adopt_losses, keep_unknown_orders
from scheduler.recovery.losses import LOSS_NAMES
from scheduler.runtime.clock import SystemClock
from scheduler.runtime.data_dir import DataDirectoryError, locked_data_directory
from scheduler.settings import SettingsError, data_directory, load_settings

PURPOSE = "accept what a hub has lost; nothing that runs is withdrawn"
_DESCRIPTION = """Accepts what a hub has lost, so that the next `kapok up` goes on with what is
left. A start that finds a loss is refused and names it. Nothing that runs is withdrawn, before or
after.

--epoch repairs the counter of leaders, which orders all indexes that go to sites. If the Lease or
a status stands at its end, write it without a number: the statuses and the Lease get a lower epoch,
and the hub gets a new signing key, because an agent accepts no lower epoch under a key that it
knows. Write the new key into `hub_keys` of the agents in place of the old one. If the hub was
restored from a backup and its sites cannot prove their later epoch, write a number above theirs:
the key stays, and the generations of orders are raised too.

--generations lifts the number from which the generations of orders count on, above those that sites
may have of what was ordered after the backup. `kapok hub restore` does it by itself; run this where
another tool has restored the hub (etcd, Velero). Orders that stand are not sent again."""
_EPILOG = """examples:
  kapok hub adopt --lost ledger --dry-run     says what is lost, and changes nothing
  kapok hub adopt --lost objects              the hub begins without objects; apply them again
  kapok hub adopt --lost keys                 goes on with a new signing key
  kapok hub adopt --unknown-orders withdraw   the running hub withdraws what it does not know
  kapok hub adopt --epoch                     the Lease stands at the end of the counter
  kapok hub adopt --epoch 12                  the sites are at epoch 11, the hub is not
  kapok hub adopt --generations               another tool has restored the objects of the hub

what --lost accepts (stop the hub first):
  objects  the objects of the embedded hub. Apply Sites, grants, Tenants and Workloads again. What
           sites report is adopted by its workload; orders without one are left running, and their
           Site has the condition UnknownOrders, until --unknown-orders withdraw.
  lease    the Lease with the epoch; it is made again, above every epoch in the ledger.
  ledger   the records of decisions. A new ledger begins with a record of the loss.
  keys     the signing key. Give the new public key to the agents (hub_keys in their settings);
           until then they keep what they run and refuse new orders.
  received the boots and sequence numbers received of agents. They are begun again; until each
           agent has reported, old messages of agents without nonces could be played again.

Exit code: 0 done, 1 it could not be done or something else is lost too, 2 wrong usage."""


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """The result of one action: facts for scripts, lines for people."""

    facts: dict[str, object] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    is_good: bool = True


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok hub adopt`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data-dir", metavar="DIR", help=DATA_DIR_HELP)
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help="settings of `kapok up`, if it has any"
    )
    parser.add_argument(
        "--lost",
        action="append",
        default=[],
        choices=LOSS_NAMES,
        help="what is lost; may be repeated",
    )
    parser.add_argument(
        "--unknown-orders",
        choices=["keep", "withdraw"],
        help="what happens to orders that sites report and the hub does not know",
    )
    parser.add_argument(
        "--epoch",
        type=int,
        nargs="?",
        const=LOWEST,
        metavar="N",
        help="set the epoch to N; without N to the lowest that the hub accepts",
    )
    parser.add_argument(
        "--generations",
        action="store_true",
        help="lift the generations of orders above those that sites may have",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be done, and change nothing"
    )
    add_output_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the actions that the options name; without any, says what is lost."""
    chosen = [act for is_chosen, act in _ACTIONS if is_chosen(arguments)]
    try:
        answers = [
            asyncio.run(_errors_flattened(act(arguments))) for act in chosen or [_adopt_losses]
        ]
    except SettingsError as error:
        print_error("hub adopt", error)
        return EXIT_USAGE
    except _EXPECTED_ERRORS as error:
        print_error("hub adopt", error)
        return EXIT_NO
    _print(arguments, answers)
    return EXIT_GOOD if all(answer.is_good for answer in answers) else EXIT_NO


_EXPECTED_ERRORS = (
    DataDirectoryError,
    DataDirectoryInUse,
    EpochNotSettable,
    HubError,
    HubNotFound,
    LeaseHeld,
    LedgerError,
    OSError,
    ValueError,
)


async def _errors_flattened(work: Awaitable[_Answer]) -> _Answer:
    """Runs `work`; raises the first error of a group of errors as itself."""
    try:
        return await work
    except BaseExceptionGroup as group:
        raise leaf_errors(group)[0] from group


async def _adopt_losses(arguments: argparse.Namespace) -> _Answer:
    root = data_directory(arguments.data_dir)
    settings = choose_hub(load_settings(arguments.config), root).settings
    lost = list(dict.fromkeys(arguments.lost))
    if not root.is_dir():
        raise DataDirectoryError(f"{root}: no such data directory; name one with --data-dir DIR")
    with locked_data_directory(root) as directory:
        adoption = await adopt_losses(
            directory,
            settings.hub,
            lost,
            clock=SystemClock(),
            is_dry_run=arguments.dry_run or not lost,
            ledger_url=read_ledger_url(settings.ledger),
        )
    found = [loss.name for loss in adoption.losses]
    remaining = [name for name in found if name not in adoption.accepted]
    not_lost = [name for name in lost if name not in found]
    lines = [loss.sentence for loss in adoption.losses] or ["nothing is lost"]
    verb = "would accept" if arguments.dry_run else "accepted"
    lines += [f"{verb} the loss of {name}" for name in adoption.accepted]
    lines += [f"{name} is not lost; nothing was done about it" for name in not_lost]
    if adoption.hub_key:
        lines.append(f"agents must trust the hub key {adoption.hub_key}")
    return _Answer(
        facts={
            "lost": [
                {"name": one.name, "file": one.file, "sentence": one.sentence}
                for one in adoption.losses
            ],
            "accepted": list(adoption.accepted),
            "remaining": remaining,
            "notLost": not_lost,
            **({"hubKey": adoption.hub_key} if adoption.hub_key else {}),
        },
        lines=tuple(lines),
        is_good=not remaining and not not_lost,
    )


async def _set_unknown_orders(arguments: argparse.Namespace) -> _Answer:
    root = data_directory(arguments.data_dir)
    settings = choose_hub(load_settings(arguments.config), root).settings
    kubeconfig = find_kubeconfig(settings.hub.kubeconfig or None, arguments.data_dir)
    if not arguments.dry_run:
        async with open_hub(kubeconfig, context=settings.hub.context or None) as client:
            await keep_unknown_orders(client, is_kept=arguments.unknown_orders == "keep")
    what = {"keep": "are left running", "withdraw": "are withdrawn"}[arguments.unknown_orders]
    return _Answer(
        facts={"unknownOrders": arguments.unknown_orders},
        lines=(f"orders that sites report and the hub does not know {what}",),
    )


async def _set_epoch(arguments: argparse.Namespace) -> _Answer:
    if arguments.dry_run:
        return _Answer(lines=("would set the epoch; --epoch cannot say beforehand to which",))
    root = data_directory(arguments.data_dir)
    settings = choose_hub(load_settings(arguments.config), root).settings
    if not root.is_dir():  # a wrong name must not make a new, empty hub
        raise DataDirectoryError(f"{root} does not exist; name another with --data-dir DIR")
    with locked_data_directory(root) as directory:
        facts = await adopt_epoch(arguments.epoch, settings, directory)
    return _Answer(facts=dict(facts), lines=tuple(f"{key}: {facts[key]}" for key in facts))


async def _lift_generations(arguments: argparse.Namespace) -> _Answer:
    root = data_directory(arguments.data_dir)
    settings = choose_hub(load_settings(arguments.config), root).settings
    if not root.is_dir():  # a wrong name must not make a new, empty hub
        raise DataDirectoryError(f"{root} does not exist; name another with --data-dir DIR")
    with locked_data_directory(root) as directory:
        facts = await adopt_generations(settings, directory, is_dry_run=arguments.dry_run)
    verb = "would raise" if arguments.dry_run else "raised"
    lines = [f"{verb} the generations of {facts['generationsLifted']} workloads"]
    refused = facts["refusedStatuses"]
    if isinstance(refused, dict):
        lines += [f"{name}: {words}" for name, words in refused.items()]
    return _Answer(facts=dict(facts), lines=tuple(lines), is_good=not refused)


def _print(arguments: argparse.Namespace, answers: list[_Answer]) -> None:
    if arguments.output == "json":
        facts: dict[str, object] = {"dryRun": arguments.dry_run}
        for answer in answers:
            facts |= answer.facts
        print_json(facts)
        return
    for answer in answers:
        print_text("\n".join(answer.lines))


_ACTIONS: tuple[
    tuple[
        Callable[[argparse.Namespace], bool],
        Callable[[argparse.Namespace], Awaitable[_Answer]],
    ],
    ...,
] = (
    (lambda arguments: bool(arguments.lost), _adopt_losses),
    (lambda arguments: arguments.unknown_orders is not None, _set_unknown_orders),
    (lambda arguments: arguments.epoch is not None, _set_epoch),
    (lambda arguments: bool(arguments.generations), _lift_generations),
)
"""Whether an action is asked for, and the action; they run in this order."""
