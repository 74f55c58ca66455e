"""`kapok thaw`: replicas of silent sites may be replaced again."""

import argparse

from scheduler.cli.support.freeze_words import add_freeze_arguments, run_freeze_command

_DESCRIPTION = """Lifts a freeze of evictions: one that an operator imposed, and one that the
scheduler imposed because many sites fell silent together. Sites that are silent now make no storm
any more, so that the scheduler freezes again only when others fall silent.

A doubt in the link of the hub stays: without a session with the broker, or without any
message at all, nothing could be ordered or seen."""
_EPILOG = """examples:
  kapok thaw                                   evictions may go on
  kapok thaw --why "the exchange burnt down"   the same, with the reason in the log

Exit code: 0 evictions are allowed, 1 they are still frozen or the hub refused, 2 wrong usage, or no
hub was found."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok thaw`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    add_freeze_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Thaws."""
    return run_freeze_command(arguments, "thaw", wants_frozen=False)
