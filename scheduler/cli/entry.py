"""The `kapok` command: finds the command's module and runs it.

The list of commands is data, so that `kapok --help` imports none of them and answers at once.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec

COMMANDS: dict[str, str] = {
    "up": "run the scheduler with an embedded hub and broker",
    "demo": "a small city on this machine: sites, agents, workloads",
    "place": "decide offline: where would these workloads run?",
    "explain": "why did it run there, and why not there?",
    "diff": "what changed between two decisions?",
    "open": "an address that opens the page in a browser",
    "get": "sites and workloads as tables or JSON",
    "admit": "let a site that reports take part",
    "apply": "hand manifests to the hub",
    "kubectl": "the packaged kubectl, pointed at the hub",
    "ledger": "list, show and verify the recorded decisions",
    "replay": "decide again from the record and compare",
    "simulate": "run a trace of real pods through the placement code",
    "simulate-cluster": "play the controllers of member clusters",
    "serve-api": "run the embedded Kubernetes API alone",
    "hub": "back up and restore the embedded hub",
    "version": "versions of Kapok and of what it uses",
}

# Each of these comes with the extra; msgspec is imported by every command, so it stands for all.
_HUB_PACKAGE = "msgspec"
_HUB_IS_MISSING = (
    "kapok needs the extra [hub], which is not installed: pip install 'kapok-scheduler[hub]'"
)

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

_EPILOG = """examples:
  kapok demo                                  a small city, settled in half a minute
  kapok up                                    the scheduler, with all it needs, on this machine
  kapok place -f sites.yaml -f workload.yaml  decide without running anything
  kapok explain health/appointment            why it runs where it runs

kapok COMMAND --help teaches each command."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the words after `kapok`; None takes them from the process.

    Returns:
        The exit code: 0 good, 1 the answer is no, 2 the call was wrong, 130 interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if find_spec(_HUB_PACKAGE) is None:
        sys.stderr.write(_HUB_IS_MISSING + "\n")
        return EXIT_USAGE
    command = next((word for word in words if not word.startswith("-")), None)
    try:
        return _dispatch(command, words)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `kapok get sites | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _dispatch(command: str | None, words: Sequence[str]) -> int:
    if command == "version" or "--version" in words[:1]:
        words = ["version", *[w for w in words if w not in ("version", "--version")]]
        command = "version"
    if command not in COMMANDS or words[0] != command:
        _overview_parser().parse_args(words)  # answers --help and names a wrong command
        _overview_parser().print_help(sys.stderr)
        return EXIT_USAGE
    module = importlib.import_module(f"scheduler.cli.{command.replace('-', '_')}")
    parser = argparse.ArgumentParser(
        prog=f"kapok {command}",
        description=COMMANDS[command],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if getattr(module, "PASSES_WORDS_THROUGH", False):
        return int(module.run(argparse.Namespace(words=list(words[1:]))))
    module.register(parser)
    return int(module.run(parser.parse_args(words[1:])))


def _overview_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kapok",
        description="Places workloads across the sites of a city, within the law, and says why.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help=COMMANDS["version"])
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, purpose in COMMANDS.items():
        commands.add_parser(name, help=purpose, add_help=False)
    return parser


if __name__ == "__main__":
    sys.exit(main())
