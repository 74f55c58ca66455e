"""`kapok carbon report`: what a month used, emitted and cost, by site and department."""

import argparse
import sys

from scheduler.cli.accounting.months import DEFAULT_ZONE, MonthError, month_of
from scheduler.cli.accounting.rows import (
    SITE_ITSELF,
    csv_text,
    report_notes,
    report_object,
    table_rows,
)
from scheduler.cli.support.arguments import EXIT_GOOD, EXIT_NO, EXIT_USAGE
from scheduler.cli.support.hub_access import HubNotFound
from scheduler.cli.support.ledger_access import add_ledger_options, open_ledger
from scheduler.cli.support.output import print_error, print_json, print_notice, print_table
from scheduler.control.ports.hub import HubError
from scheduler.energy.accounts.month import month_report
from scheduler.ledger.accounts.energy_pages import rows_of
from scheduler.ledger.errors import LedgerCorruptError, LedgerError

NAME = "carbon report"
PURPOSE = "energy, carbon by two ledgers, money and PUE of a month, by site and department"
_DESCRIPTION = """Sums up what sites used in a month, from the pages of energy in the ledger. Carbon
stands in two ledgers that are never mixed: location (the grid's factor) and market (evidenced green
power at 0, the rest at the residual factor). A figure that is not known is empty, never 0, and the
energy that it is missing for stands beside it."""
_EPILOG = """examples:
  kapok carbon report --month 2026-11
  kapok carbon report --month 2026-11 -o csv > november.csv
  kapok carbon report --month 2026-11 -o csv --bom > november.csv    for Excel
  kapok carbon report --month 2026-11 --site gz-core -o json
  kapok carbon report --month 2026-11 --kubeconfig FILE              over the network

Exit code: 0 success, 1 no energy is recorded for the month, 2 wrong usage or no ledger."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok carbon report`."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_ledger_options(parser)
    parser.add_argument("--month", metavar="YYYY-MM", required=True, help="the month")
    parser.add_argument(
        "--time-zone",
        metavar="ZONE",
        default=DEFAULT_ZONE,
        help="where the month begins and ends (default: %(default)s)",
    )
    parser.add_argument("--site", metavar="NAME", help="of this site only")
    parser.add_argument("--department", metavar="TENANT", help="of this tenant only")
    parser.add_argument(
        "--bom", action="store_true", help="begin CSV with a mark by which Excel knows UTF-8"
    )
    parser.add_argument(
        "-o", "--output", choices=["csv", "json", "table"], default="table", help="form"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the report."""
    try:
        month = month_of(arguments.month, arguments.time_zone)
        with open_ledger(arguments) as source:
            rows = [
                row
                for row in rows_of(source, month.first_hour, month.end_hour)
                if arguments.site in (None, row.site)
            ]
    except LedgerCorruptError as error:
        print_error(NAME, error)
        return EXIT_NO
    except (MonthError, HubError, HubNotFound, LedgerError) as error:
        print_error(NAME, error)
        return EXIT_USAGE
    report = month_report(rows)
    if arguments.department is not None:
        is_itself = arguments.department == SITE_ITSELF
        report = report.of_department("" if is_itself else arguments.department)
    if arguments.output == "json":
        print_json(report_object(month, report))
        return EXIT_GOOD if report.accounts else EXIT_NO
    if arguments.output == "csv":
        sys.stdout.write(("\ufeff" if arguments.bom else "") + csv_text(month, report))
    elif report.accounts:
        print_table(table_rows(report), fixed=2)
    for note in report_notes(month, report):
        print_notice(note)
    return EXIT_GOOD if report.accounts else EXIT_NO
