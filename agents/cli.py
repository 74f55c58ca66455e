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
from agents.config.load import AgentSettingsError, load_settings
from agents.config.settings import AgentSettings
from agents.runtime.clock import AgentSystemClock
from agents.runtime.identity import (
    IdentityError,
    ensure_data_dir,
    load_or_create_key,
    lock_data_dir,
    record_boot,
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
    arguments = _build_parser().parse_args(argv)
    if arguments.parent_pid and not tie_to_parent(arguments.parent_pid):
        return EXIT_GOOD
    try:
        settings = load_settings(arguments.config, os.environ)
    except AgentSettingsError as error:
        return _exit_with_error(str(error), EXIT_USAGE)
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)-7s %(message)s",
        stream=sys.stderr,
    )
    try:
        return _run_chosen_mode(arguments, settings)
    except (IdentityError, OSError) as error:
        return _exit_with_error(str(error), EXIT_NO)


def _run_chosen_mode(arguments: argparse.Namespace, settings: AgentSettings) -> int:
    data_dir = ensure_data_dir(Path(settings.data_dir))
    key = load_or_create_key(data_dir)
    if arguments.show_key:
        sys.stdout.write(f"{key.public}\n")
        return EXIT_GOOD
    from agents.app import Agent, run_until_signalled  # noqa: PLC0415 - the quick answers stay quick
    from agents.member.access import AccessError  # noqa: PLC0415 - see above
    from agents.orders.journal import JournalError  # noqa: PLC0415 - see above
    from agents.sensors.sensor import ReplayError  # noqa: PLC0415 - see above

    try:
        if arguments.print:
            return _print_report(settings)
        with lock_data_dir(data_dir):
            boot = record_boot(data_dir)
            agent = Agent(settings, key, boot, AgentSystemClock(), random.Random(), __version__)  # noqa: S311 - jitter
            return asyncio.run(run_until_signalled(agent))
    except (AccessError, ReplayError) as error:
        return _exit_with_error(str(error), EXIT_USAGE)
    except JournalError as error:
        return _exit_with_error(str(error), EXIT_NO)


def _print_report(settings: AgentSettings) -> int:
    from agents.print_report import collect_report  # noqa: PLC0415 - see _chosen

    tree = asyncio.run(collect_report(settings, __version__))
    sys.stdout.write(json.dumps(tree, indent=2, ensure_ascii=False) + "\n")
    return EXIT_GOOD


def _exit_with_error(message: str, code: int) -> int:
    sys.stderr.write(f"kapok-agent: {message}\n")
    return code


def _build_parser() -> argparse.ArgumentParser:
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
