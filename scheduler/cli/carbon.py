"""`kapok carbon`: what workloads use and emit."""

import argparse

from scheduler.cli.accounting import report_command


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the commands of `kapok carbon`."""
    commands = parser.add_subparsers(dest="carbon_command", metavar="COMMAND", required=True)
    report = commands.add_parser(
        "report", help=report_command.PURPOSE, description=report_command.PURPOSE
    )
    report_command.register(report)


def run(arguments: argparse.Namespace) -> int:
    """Runs report."""
    return report_command.run(arguments)
