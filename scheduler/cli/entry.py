"""The `kapok` command: finds the command's module and runs it.

The list of commands is data, so `kapok --help` answers at once, without importing any of them.
"""

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from io import TextIOWrapper

from scheduler.cli.support.arguments import EXIT_INTERRUPTED, EXIT_USAGE
from scheduler.cli.support.command_parser import CommandParser
from scheduler.cli.support.output import print_error
from scheduler.words.languages import (
    LANGUAGES,
    UnknownLanguage,
    choose_language,
    language_of,
    parse_language,
)

COMMANDS: dict[str, str] = {
    "up": "run the scheduler, with an embedded hub and MQTT broker unless configured otherwise",
    "demo": "run a small city on this machine: sites, agents, workloads",
    "place": "decide offline, from files, where workloads would run",
    "explain": "explain why a workload runs where it does, and why not elsewhere",
    "diff": "compare two recorded decisions and their inputs",
    "open": "print an address that opens the dashboard in a browser",
    "get": "list sites and workloads as a table or JSON",
    "status": "show the pods of a workload at its sites, why some are not ready, and events",
    "logs": "show what a workload's containers have written, at its sites",
    "top": "follow sites and workloads in the terminal, as a live table",
    "history": "show what was decided about a workload, what moved, and why",
    "carbon": "show power, carbon and cost now, or a month by site and department",
    "admit": "admit a site: let its agent report and receive orders",
    "freeze": "evict nothing from silent sites until it is thawed",
    "thaw": "let replicas of silent sites be replaced again",
    "apply": "apply manifests to the hub",
    "drill": "treat a site as lost for a while, and measure what follows",
    "failover": "replace a workload's replicas at a site that is silent or to be left",
    "rebalance": "move running work to where it costs less, within its policy's budget",
    "rollout": "show, pause, resume and undo how a change goes out by groups of sites",
    "site": "cordon, drain and open sites",
    "wrap": "make a Workload of plain manifests, such as a Deployment and its Service",
    "kubectl": "run the packaged kubectl against the hub",
    "ledger": "list, show and verify recorded decisions",
    "replay": "repeat a recorded decision and compare the result",
    "capacity": "show what of a shape still fits where, and what to buy next",
    "survive": "say which losses of sites can be survived, before they come",
    "whatif": "answer what a loss, a drain, a price or more load would do",
    "simulate": "replay a trace of real pods through the placement code",
    "simulate-cluster": "simulate nodes and controllers of member clusters",
    "serve-api": "run the embedded Kubernetes API server alone",
    "completion": "print what makes bash, zsh or fish complete these commands",
    "config": "check a settings file, and say what to write instead",
    "broker": "write the settings of a production broker, and probe one",
    "keys": "replace the hub's signing key while agents go on, with an offline root",
    "hub": "back up and restore the hub, accept what it lost, and create access tokens",
    "version": "show the versions of Kapok and its dependencies",
}

_LANGUAGE_OPTION = "--lang"
_TAKE_WORDS_AS_THEY_ARE = frozenset({"kubectl"})
"""Commands whose words belong to another program; `--lang` comes before them."""

# All packages of the extra [hub] are installed together, and every command imports msgspec, so
# its presence stands for the whole extra.
_HUB_PACKAGE = "msgspec"
_HUB_IS_MISSING = (
    "kapok needs the extra [hub], which is not installed: pip install 'PATH/TO/kapok[hub]'"
)

_EPILOG = """examples:
  kapok demo                                  a small city; settles about 15 s after its start-up
  kapok up                                    the scheduler with its hub and broker
  kapok place -f sites.yaml -f workload.yaml  a decision from files; nothing is started
  kapok explain health/appointment            why a workload runs where it runs

`kapok COMMAND --help` explains a command, with examples and exit codes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the arguments after `kapok`; None takes those of the process.

    Returns:
        The exit code: 0 success, 1 the answer is no, 2 wrong usage, 130 interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if find_spec(_HUB_PACKAGE) is None:
        sys.stderr.write(_HUB_IS_MISSING + "\n")
        return EXIT_USAGE
    _write_all_characters()
    if "_ARGCOMPLETE" in os.environ:
        from scheduler.cli.completion import complete  # noqa: PLC0415 - only for a shell that asks

        complete(COMMANDS)
    try:
        words = _take_language(words)
    except UnknownLanguage as error:
        print_error("", f"--lang: {error}")
        return EXIT_USAGE
    command = next((word for word in words if not word.startswith("-")), None)
    try:
        return _dispatch(command, words)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `kapok get sites | head`: the reader closed the pipe
        # Python flushes stdout at exit; into the closed pipe that would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _write_all_characters() -> None:
    """Lets stdout escape what its encoding lacks, as stderr does, instead of failing at it."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _take_language(words: list[str]) -> list[str]:
    """Chooses the language of `--lang`, else of the environment; the words without that option.

    Raises:
        UnknownLanguage: there is no catalogue of it.
    """
    language, left = language_of(os.environ), list[str]()
    rest = iter(words)
    for word in rest:
        name, _, value = word.partition("=")
        if name == _LANGUAGE_OPTION:
            language = parse_language(value if "=" in word else next(rest, ""))
            continue
        left.append(word)
        if word == "--" or left[0] in _TAKE_WORDS_AS_THEY_ARE:
            break
    choose_language(language)
    return [*left, *rest]


def _dispatch(command: str | None, words: Sequence[str]) -> int:
    if command == "version" or "--version" in words[:1]:
        words = ["version", *[w for w in words if w not in ("version", "--version")]]
        command = "version"
    if command is not None and command not in COMMANDS and words[0] == command:
        near = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else "`kapok --help` lists all commands"
        print_error("", f"no command {command!r}; {hint}")
        return EXIT_USAGE
    if command not in COMMANDS or words[0] != command:
        _overview_parser().parse_args(words)  # prints --help, or an error about a wrong command
        _overview_parser().print_help(sys.stderr)
        return EXIT_USAGE
    module = importlib.import_module(f"scheduler.cli.{command.replace('-', '_')}")
    parser = CommandParser(
        prog=f"kapok {command}",
        description=COMMANDS[command],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if getattr(module, "PASSES_WORDS_THROUGH", False):
        return int(module.run(argparse.Namespace(words=list(words[1:]))))
    module.register(parser)
    return int(module.run(parser.parse_words(words[1:])))


def _overview_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kapok",
        description="Places Kubernetes workloads on many sites, within the law, and explains why.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help=COMMANDS["version"])
    parser.add_argument(
        _LANGUAGE_OPTION,
        choices=LANGUAGES,
        help="language of tables and sentences, before or after COMMAND "
        "(default: by $LC_ALL, $LC_MESSAGES or $LANG, else en); JSON and --help stay English",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, purpose in COMMANDS.items():
        commands.add_parser(name, help=purpose, add_help=False)
    return parser


if __name__ == "__main__":
    sys.exit(main())
