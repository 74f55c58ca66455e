"""`kapok freeze`: nothing is evicted from silent sites until an operator thaws."""

import argparse

from scheduler.cli.support.freeze_words import add_freeze_arguments, run_freeze_command

_DESCRIPTION = """Freezes evictions: replicas of silent sites are not replaced, whatever happens,
until `kapok thaw`. What runs goes on, and everything else is decided as before. The freeze is kept
in the hub and outlives every scheduler.

The scheduler freezes evictions by itself too, when so many sites fall silent together that its own
link is more likely to be at fault; --status says so."""
_EPILOG = """examples:
  kapok freeze --why "works at the exchange"   nothing is evicted from now on
  kapok freeze --status                        says whether evictions are frozen, and why
  kapok freeze --status -o json                the same for scripts

Exit code: 0 done, 1 the hub refused, 2 wrong usage, or no hub was found."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok freeze`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument(
        "--status", action="store_true", help="say whether evictions are frozen; change nothing"
    )
    add_freeze_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Freezes, or says whether it is."""
    wants_frozen = None if arguments.status else True
    return run_freeze_command(arguments, "freeze", wants_frozen=wants_frozen)
