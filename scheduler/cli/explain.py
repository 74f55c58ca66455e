"""`kapok explain`: why a workload runs where it does, why not elsewhere, and what would change it.

Without files it explains the last recorded decision, from the record and the fleet of that time, so
the explanation fits the decision. With files it decides first, and explains that decision.
"""

import argparse
from dataclasses import replace

from scheduler.cli.looking.explanation_table import print_explanation
from scheduler.cli.looking.references import named_references
from scheduler.cli.looking.work_in_hub import work_in_hub
from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_NO,
    EXIT_USAGE,
    add_now_option,
    add_output_option,
    now_of,
)
from scheduler.cli.support.hub_access import HubNotFound
from scheduler.cli.support.ledger_access import add_ledger_options, open_ledger
from scheduler.cli.support.offline_input import (
    OfflineInputError,
    decide_all,
    fleet_of,
    read_offline_input,
    work_beside,
)
from scheduler.cli.support.output import print_error, print_json
from scheduler.control.ports.hub import HubError
from scheduler.inquiry.explanation import explain_as_json
from scheduler.inquiry.recorded import (
    ExplainedDecision,
    NothingToExplain,
    read_recorded,
)
from scheduler.inquiry.versus import UnknownSite, compare_with_site
from scheduler.ledger.errors import LedgerError
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.formatters import format_list
from scheduler.model.kinds.workload import Workload
from scheduler.model.manifests.references import references_of
from scheduler.words.catalogue import sentence_json

_MAX_REFERENCES_NAMED = 16
_EPILOG = """examples:
  kapok explain health/appointment                        the last recorded decision
  kapok explain health/appointment --decision 7-42        an older one
  kapok explain health/appointment --kubeconfig F         over the network, by the rights of F
  kapok explain health/appointment --versus tianfu        compare the chosen sites with tianfu
  kapok explain health/appointment -f city/ -o json       offline, from files
  kapok explain health/appointment -f city/ --now 2026-11-23T08:00:00Z

For every site it shows which rules refuse it and why, how many more replicas fit there (ROOM), and
each cost with the origin of its figure. For a workload that is not placed it shows the smallest
changes with which it would be placed; each was verified by running the decision with that change.
Where only room is missing it names the work that would have to give way (spec.preemption), or that
ends first by its stated duration.
Where overrides or the registries of a site apply, it shows them in order, as of the decision.
Of what pod templates refer to (ConfigMaps, Secrets, ...) it shows the names, and the digests or
versions that were known at the time of the decision, never content.
-o json adds the rules that passed and the age of each figure.
Exit code: 0 the workload is placed, 1 it is not placed, 2 wrong usage or workload not found."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok explain`."""
    parser.description = "Explains why a workload runs where it does, and why not elsewhere."
    parser.epilog = _EPILOG
    parser.add_argument(
        "workload", metavar="NAMESPACE/NAME", help="the workload; NAME alone is default/NAME"
    )
    parser.add_argument(
        "-f",
        "--filename",
        action="append",
        default=[],
        metavar="FILE",
        help="decide and explain offline, from files as for `kapok place`; may be repeated",
    )
    parser.add_argument(
        "--decision", metavar="ID", help="explain this recorded decision (default: the last one)"
    )
    parser.add_argument(
        "--versus", metavar="SITE", help="compare the chosen sites with SITE, and say why not SITE"
    )
    add_ledger_options(parser)
    add_now_option(parser)
    add_output_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Explains one workload."""
    key = arguments.workload if "/" in arguments.workload else f"default/{arguments.workload}"
    try:
        explained = _decide_offline(arguments, key) if arguments.filename else _read(arguments, key)
        answer = explain_as_json(explained)
        answer["references"] = named_references(explained.spec, key, explained.references)
        answer["notes"] += explained.notes
        answer["lineMessage"] = sentence_json(answer["line"])
        answer["noteMessages"] = [sentence_json(note) for note in answer["notes"]]
        if arguments.versus is not None:
            answer = compare_with_site(answer, arguments.versus, explained.demand)
    except (
        HubError,
        HubNotFound,
        LedgerError,
        OfflineInputError,
        UnknownSite,
        NothingToExplain,
    ) as error:
        print_error("explain", error)
        return EXIT_USAGE
    if arguments.output == "json":
        print_json(answer)
    else:
        print_explanation(answer)
    return EXIT_GOOD if answer["phase"] == "Placed" else EXIT_NO


def _read(arguments: argparse.Namespace, key: str) -> ExplainedDecision:
    with open_ledger(arguments) as reader:
        explained = read_recorded(reader, key, arguments.decision)
    decision = explained.decision
    if arguments.decision is not None or decision is None or decision.phase != "Waiting":
        return explained  # what runs beside it now is of no use to an old decision
    return replace(explained, others=work_in_hub(arguments, key))


def _decide_offline(arguments: argparse.Namespace, key: str) -> ExplainedDecision:
    inputs = read_offline_input(arguments.filename)
    fleet = fleet_of(inputs)
    now = now_of(arguments)
    for decided in decide_all(inputs, fleet, now=now):
        # The decision is not assumed in the fleet yet, so the fleet is what the decision saw.
        if decided.workload.metadata.key == key:
            return ExplainedDecision(
                key=key,
                record_id="",
                now=now,
                demand=decided.demand,
                decision=decided.decision,
                fleet=fleet,
                terms=DEFAULT_TERMS,
                notes=(*inputs.notes, *_references_note(decided.workload)),
                spec=decided.workload.spec,
                others=work_beside(inputs, key),
            )
    known = ", ".join(sorted(each.metadata.key for each in inputs.workloads)) or "none"
    raise NothingToExplain(f"workload {key} not found; workloads in the files: {known}")


def _references_note(workload: Workload) -> tuple[str, ...]:
    """Names what goes along with the orders of a workload."""
    found = references_of(workload.spec.manifests, workload.metadata.namespace)
    if not found:
        return ()
    names = format_list([str(one) for one in found], _MAX_REFERENCES_NAMED)
    note = (
        f"its pod templates refer to {names}; these go along from the hub, and condition"
        " References of the workload names what does not"
    )
    return (note,)
