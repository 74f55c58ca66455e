"""`kapok completion SHELL`: prints what makes a shell complete commands, options and choices."""

import argparse
import importlib
import os

from scheduler.cli.support.arguments import EXIT_GOOD
from scheduler.cli.support.command_parser import CommandParser
from scheduler.cli.support.output import print_text

_EPILOG = """examples:
  source <(kapok completion bash)                                  bash, this session
  kapok completion bash > ~/.local/share/bash-completion/completions/kapok
  eval "$(kapok completion zsh)"                                   zsh, in ~/.zshrc
  kapok completion fish > ~/.config/fish/completions/kapok.fish    fish

Exit code: 0 printed, 2 wrong usage."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok completion`."""
    parser.epilog = _EPILOG
    parser.add_argument("shell", choices=["bash", "zsh", "fish"], help="the shell")


def run(arguments: argparse.Namespace) -> int:
    """Prints the script."""
    from argcomplete.shell_integration import shellcode  # noqa: PLC0415 - only for this command

    print_text(shellcode(["kapok"], shell=arguments.shell))
    return EXIT_GOOD


def complete(commands: dict[str, str]) -> None:
    """Answers a shell that asks how the present line goes on; ends the process.

    Only the parser of the command on the line is built: a key press must not import all of them.

    Args:
        commands: every command with its purpose.
    """
    import argcomplete  # noqa: PLC0415 - only a shell that completes needs it

    line = os.environ.get("COMP_LINE", "").split()
    parser = CommandParser(prog="kapok")
    found = parser.add_subparsers()
    for name, purpose in commands.items():
        one = found.add_parser(name, help=purpose)
        if name in line[1:2]:
            module = importlib.import_module(f"scheduler.cli.{name.replace('-', '_')}")
            if hasattr(module, "register"):
                module.register(one)
    argcomplete.autocomplete(parser, always_complete_options="long")
