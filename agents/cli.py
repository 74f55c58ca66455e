"""The `kapok-agent` command."""

import argparse
import asyncio
import json
import logging
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from agents import __version__
from agents.config.load import SettingsError, load_settings
from agents.config.settings import Settings
from agents.runtime.clock import SystemClock
from agents.runtime.identity import (
    IdentityError,
    begin_boot,
    load_or_make_key,
    only_process,
    open_data_dir,
)
from agents.runtime.parent_death import tie_to_parent

EXIT_GOOD: Final = 0
EXIT_NO: Final = 1
EXIT_USAGE: Final = 2

_EPILOG: Final = """examples:
  kapok-agent --config agent.yaml             report, and execute what the hub orders
  kapok-agent --config agent.yaml --print     look once, show the report as JSON, send nothing
  kapok-agent --config agent.yaml --show-key  the public key for Site.spec.delivery.agentKeys
  KAPOK_AGENT_SITE=gz-nansha-edge KAPOK_AGENT_HUB_KEYS=ed25519:... kapok-agent
                                              every setting can come from the environment:
                                              broker.password is KAPOK_AGENT_BROKER_PASSWORD

The hub admits the site once its Site object names the key:
  KEY=$(kapok-agent --config agent.yaml --show-key)
  kubectl patch site gz-nansha-edge --type merge \\
    -p '{"spec": {"delivery": {"mode": "Pull", "agentKeys": ["'"$KEY"'"]}}}'

exit codes: 0 ended when asked to, 1 cannot run (the message says why), 2 wrong call or settings"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the agent.

    Args:
        argv: the words after `kapok-agent`; None takes them from the process.

    Returns:
        The exit code: 0 good, 1 it cannot run, 2 the call or a setting was wrong.
    """
    arguments = _parser().parse_args(argv)
    if arguments.parent_pid and not tie_to_parent(arguments.parent_pid):
        return EXIT_GOOD
    try:
        settings = load_settings(arguments.config, os.environ)
    except SettingsError as error:
        return _failed(str(error), EXIT_USAGE)
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)-7s %(message)s",
        stream=sys.stderr,
    )
    try:
        return _chosen(arguments, settings)
    except (IdentityError, OSError) as error:
        return _failed(str(error), EXIT_NO)


def _chosen(arguments: argparse.Namespace, settings: Settings) -> int:
    data_dir = open_data_dir(Path(settings.data_dir))
    key = load_or_make_key(data_dir)
    if arguments.show_key:
        sys.stdout.write(f"{key.public}\n")
        return EXIT_GOOD
    from agents.app import Agent, run_until_told  # noqa: PLC0415 - the quick answers stay quick
    from agents.member.access import AccessError  # noqa: PLC0415 - see above
    from agents.orders.journal import JournalError  # noqa: PLC0415 - see above
    from agents.sensors.sensor import ReplayError  # noqa: PLC0415 - see above

    try:
        if arguments.print:
            return _print(settings)
        with only_process(data_dir):
            boot = begin_boot(data_dir)
            agent = Agent(settings, key, boot, SystemClock(), random.Random(), __version__)  # noqa: S311 - jitter
            return asyncio.run(run_until_told(agent))
    except (AccessError, ReplayError) as error:
        return _failed(str(error), EXIT_USAGE)
    except JournalError as error:
        return _failed(str(error), EXIT_NO)


def _print(settings: Settings) -> int:
    from agents.print_report import one_report  # noqa: PLC0415 - see _chosen

    tree = asyncio.run(one_report(settings, __version__))
    sys.stdout.write(json.dumps(tree, indent=2, ensure_ascii=False) + "\n")
    return EXIT_GOOD


def _failed(message: str, code: int) -> int:
    sys.stderr.write(f"kapok-agent: {message}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kapok-agent",
        description="Reports what a site really has, and applies what the hub has signed.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="settings, as configs/agent.yaml"
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--print", action="store_true", help="look once and show the report as JSON")
    mode.add_argument(
        "--show-key", action="store_true", help="show the public key; makes one if new"
    )
    parser.add_argument(
        "--parent-pid", type=int, metavar="PID", help="end with this parent process (supervisors)"
    )
    parser.add_argument("--version", action="version", version=f"kapok-agent {__version__}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
