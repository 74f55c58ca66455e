"""The `kapok-agent` command."""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from agents import __version__
from agents.config.load import AgentSettingsError, load_push_settings, load_settings
from agents.config.settings import AgentSettings
from agents.runtime.clock import AgentSystemClock
from agents.runtime.data_checks import adopt_boots, check_data_files, check_no_boots_lost
from agents.runtime.data_dir import (
    JOURNAL_FILE,
    IdentityError,
    check_mounted_secret_mode,
    ensure_data_dir,
    load_or_create_key,
    lock_data_dir,
    record_boot,
)
from agents.runtime.deferred_modules import defer_module
from agents.runtime.log_limit import limit_log_rate
from agents.runtime.log_lines import configure_logging

EXIT_GOOD: Final = 0
EXIT_NO: Final = 1
EXIT_USAGE: Final = 2

_PR_SET_PDEATHSIG: Final = 1

_EPILOG: Final = """examples:
  kapok-agent join TOKEN                      become the agent of a site; kapok site join prints it
  kapok-agent --config agent.yaml             report, and apply what the hub orders
  kapok-agent --config agent.yaml --print     print one report as JSON, send nothing
  kapok-agent --config agent.yaml --show-key  print the public key for Site.spec.delivery.agentKeys
  kapok-agent --config agent.yaml doctor      what would keep it from its work
  kapok-agent upgrade FILE                    another version; --help says how it goes back
  kapok-agent --config push.yaml push         beside the hub: agents of all sites of mode Push
  kapok-agent --config push.yaml push --site gz-nansha-edge --show-key
                                              the public key of one of these
  KAPOK_AGENT_SITE=gz-nansha-edge KAPOK_AGENT_HUB_KEYS=ed25519:... kapok-agent
                                              every setting can come from the environment:
                                              broker.password is KAPOK_AGENT_BROKER_PASSWORD

The hub admits the site once its Site object names the key:
  KEY=$(kapok-agent --config agent.yaml --show-key)
  kubectl patch site gz-nansha-edge --type merge \\
    -p '{"spec": {"delivery": {"mode": "Pull", "agentKeys": ["'"$KEY"'"]}}}'

exit codes: 0 stopped on request, 1 cannot run (the message says why),
            2 wrong arguments or settings"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the agent.

    Args:
        argv: arguments after `kapok-agent`; None takes them from the process.

    Returns:
        The exit code: 0 for a good end, 1 if the agent cannot run, 2 for wrong arguments or
        settings.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == ["join"]:
        from agents.joining.command import main as join  # noqa: PLC0415 - only for this command

        return join(words[1:])
    config, rest = _split_config(words)
    if rest[:1] == ["upgrade"]:
        from agents.upgrade.command import main as upgrade  # noqa: PLC0415 - only for this command

        return upgrade(config, rest[1:])
    if rest[:1] == ["doctor"]:
        from agents.doctor.examination import main as doctor  # noqa: PLC0415 - as above

        return doctor(config, rest[1:])
    parser = _build_parser()
    arguments = parser.parse_args(words)
    if arguments.command == "join":
        parser.error("write join first: kapok-agent join TOKEN [options]")
    if arguments.command in ("doctor", "upgrade"):
        parser.error(f"write kapok-agent [--config FILE] {arguments.command} [options]")
    return _run_command(arguments)


def _split_config(words: list[str]) -> tuple[Path | None, list[str]]:
    """The settings file that is named before a command, and what follows it."""
    if words[:1] == ["--config"] and len(words) > 1:
        return Path(words[1]), words[2:]
    if words and words[0].startswith("--config="):
        return Path(words[0].partition("=")[2]), words[1:]
    return None, words


def _run_command(arguments: argparse.Namespace) -> int:
    if arguments.parent_pid and not tie_to_parent(arguments.parent_pid):
        return EXIT_GOOD
    is_push = arguments.command == "push"
    try:
        load = load_push_settings if is_push else load_settings
        settings = load(arguments.config, os.environ)
    except AgentSettingsError as error:
        return _exit_with_error(str(error), EXIT_USAGE)
    configure_logging(settings.log_level, sys.stderr, os.environ)
    limit_log_rate(AgentSystemClock())
    try:
        return (_run_push if is_push else _run_chosen_mode)(arguments, settings)
    except (IdentityError, OSError) as error:
        return _exit_with_error(str(error), EXIT_NO)
    except Exception as error:  # noqa: BLE001 - the edge of files and settings at the start
        return _exit_with_error(f"{type(error).__name__}: {str(error)[:300]!a}", EXIT_NO)


def _run_chosen_mode(arguments: argparse.Namespace, settings: AgentSettings) -> int:
    data_dir = ensure_data_dir(Path(settings.data_dir))
    _check_files(settings, data_dir)
    key = load_or_create_key(data_dir)
    if arguments.print_heads:
        return _print_heads(settings, data_dir)
    if arguments.adopt:
        with lock_data_dir(data_dir):
            number = adopt_boots(data_dir, now_seconds=int(AgentSystemClock().now().timestamp()))
        sys.stdout.write(f"the next start counts as boot {number + 1}\n")
        return EXIT_GOOD
    if arguments.show_key:
        sys.stdout.write(f"{key.public}\n")
        return EXIT_GOOD
    defer_module("urllib.request")
    from agents.app import build_agent, run_until_signalled  # noqa: PLC0415 - --show-key and errors stay quick
    from agents.member.access import AccessError  # noqa: PLC0415 - see above
    from agents.sensors.sensor import ReplayError  # noqa: PLC0415 - see above

    try:
        if arguments.print:
            return _print_report(settings)
        with lock_data_dir(data_dir):
            check_no_boots_lost(data_dir)
            boot = record_boot(data_dir)
            agent = build_agent(
                settings,
                key=key,
                boot=boot,
                clock=AgentSystemClock(),
                jitter=random.Random(),  # noqa: S311 - jitter is no secret
                version=__version__,
            )
            return asyncio.run(run_until_signalled(agent))
    except (AccessError, ReplayError) as error:
        return _exit_with_error(str(error), EXIT_USAGE)


def _run_push(arguments: argparse.Namespace, settings: AgentSettings) -> int:
    """Runs the agents of all sites of mode Push, or shows the key of one."""
    from agents.member.access import AccessError  # noqa: PLC0415 - errors stay quick
    from agents.protocol.topics import is_site_name  # noqa: PLC0415 - as above
    from agents.push.member import load_member_key, member_folder  # noqa: PLC0415 - as above
    from agents.push.run import build_host, run_host_until_signalled  # noqa: PLC0415 - as above

    data_dir = ensure_data_dir(Path(settings.data_dir))
    if arguments.show_key:
        if not is_site_name(arguments.site or ""):
            return _exit_with_error("push --show-key needs --site NAME", EXIT_USAGE)
        folder = ensure_data_dir(member_folder(settings, arguments.site))
        sys.stdout.write(f"{load_member_key(folder).public}\n")
        return EXIT_GOOD
    if arguments.print or arguments.print_heads or arguments.adopt:
        return _exit_with_error("push runs, or prints a key with --show-key", EXIT_USAGE)
    for name in (settings.broker.password_file, settings.push.kubeconfig):
        if name:
            check_mounted_secret_mode(Path(name))
    try:
        with lock_data_dir(data_dir):
            host = build_host(
                settings,
                clock=AgentSystemClock(),
                jitter=random.Random(),  # noqa: S311 - jitter is no secret
                version=__version__,
            )
            return asyncio.run(run_host_until_signalled(host))
    except AccessError as error:
        return _exit_with_error(str(error), EXIT_USAGE)


def _check_files(settings: AgentSettings, data_dir: Path) -> None:
    """Refuses damaged files, and secrets that other users of the machine may read.

    Raises:
        IdentityError: the message names the file and the command.
    """
    check_data_files(data_dir)
    broker = settings.broker
    for name in (broker.password_file, broker.tls_key_file, settings.cluster.kubeconfig):
        if name:
            check_mounted_secret_mode(Path(name))


def _print_report(settings: AgentSettings) -> int:
    from agents.print_report import collect_report  # noqa: PLC0415 - only for --print

    tree = asyncio.run(collect_report(settings, __version__))
    sys.stdout.write(json.dumps(tree, indent=2, ensure_ascii=False) + "\n")
    return EXIT_GOOD


def _print_heads(settings: AgentSettings, data_dir: Path) -> int:
    from agents.orders.heads import load_heads  # noqa: PLC0415 - only for --print-heads

    held = load_heads(data_dir / JOURNAL_FILE, settings.site)
    heads = [asdict(one.head) | {"epoch": one.epoch, "sequence": one.sequence} for one in held]
    tree = {"site": settings.site, "heads": heads}
    sys.stdout.write(json.dumps(tree, indent=2, ensure_ascii=False) + "\n")
    return EXIT_GOOD


def tie_to_parent(parent_pid: int) -> bool:
    """Makes this process end with the one that started it, also when that one is killed.

    Linux sends SIGTERM to this process when its parent dies (prctl(2), PR_SET_PDEATHSIG); elsewhere
    the parent has to stop it. A copy of the scheduler's function on purpose: the two programs share
    the wire protocol and nothing else.

    Args:
        parent_pid: id of the parent when it started this process.

    Returns:
        False if that parent is already gone; this process should end then.
    """
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - only a supervised agent needs it

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    return os.getppid() == parent_pid


def _exit_with_error(message: str, code: int) -> int:
    sys.stderr.write(f"kapok-agent: {message}\n")
    return code


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kapok-agent",
        description="Reports what a site has, and applies the orders that the hub has signed.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="settings file; configs/agent.yaml is an example",
    )
    parser.add_argument(
        "command",
        nargs="?",
        choices=["doctor", "join", "push", "upgrade"],
        help="join: become the agent of a site by a token (kapok-agent join --help); doctor: "
        "what would keep it from its work, and what to do (kapok-agent doctor --help); "
        "upgrade: replace this version (kapok-agent upgrade --help); "
        "push: run beside the hub, with an agent for each Site of mode Push",
    )
    parser.add_argument(
        "--site", metavar="NAME", help="with push --show-key: the site whose key is printed"
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--print", action="store_true", help="read the sensors once and print the report as JSON"
    )
    mode.add_argument(
        "--print-heads",
        action="store_true",
        help="print the heads of the hub's ledger that this site holds, for `kapok ledger verify"
        " --witness`; the agent may be running",
    )
    mode.add_argument(
        "--show-key",
        action="store_true",
        help="print the public key; generates a key if there is none",
    )
    mode.add_argument(
        "--adopt",
        choices=["boots"],
        help="accept that the count of starts is lost, and go on above every count before",
    )
    parser.add_argument(
        "--parent-pid",
        type=int,
        metavar="PID",
        help="end when this parent process ends (for supervisors)",
    )
    parser.add_argument("--version", action="version", version=f"kapok-agent {__version__}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
