"""`kapok explain`: why a workload runs where it does, why not elsewhere, and what would change it.

Without files it explains the last recorded decision, from the record and the fleet of that time, so
the explanation fits the decision. With files it decides first, and explains that decision.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from scheduler.cli.looking.explanation_table import HELD_NOTE, print_explanation
from scheduler.cli.looking.references import named_references
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
)
from scheduler.cli.support.output import print_error, print_json
from scheduler.cli.support.versus import UnknownSite, compare_with_site
from scheduler.control.ports.hub import HubError
from scheduler.ledger.errors import LedgerError
from scheduler.ledger.reader import RecordSource, find_undoing, share_about
from scheduler.ledger.record import EVICTIONS_SUBJECT, REFERENCES, UNDOES, Record
from scheduler.ledger.replay import read_recorded_decision
from scheduler.model.canonical import digest_of_bytes
from scheduler.model.decision import (
    Decision,
    Explanation,
    SiteExplanation,
    SuggestedChange,
    decision_bytes,
)
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.demand.identity import is_kept_at_one_site
from scheduler.model.demand.terms import DEFAULT_TERMS, Terms
from scheduler.model.formatters import format_list, format_rfc3339_exact
from scheduler.model.kinds.workload import Workload, WorkloadSpec
from scheduler.model.manifests.references import references_of
from scheduler.model.overrides.shown import steps_at
from scheduler.model.words.sentence import json_of
from scheduler.placement.explain.explain import explain
from scheduler.placement.explain.suggest import suggest_changes
from scheduler.placement.fleet.context import decision_context
from scheduler.placement.fleet.fleet import Fleet
from scheduler.words.catalogue import sentence_json
from scheduler.words.explained import offer_json, plain_reasons

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


class _NothingToExplain(Exception):
    """There is no decision to explain; the message says where it was looked for."""


@dataclass(frozen=True, kw_only=True)
class _ExplainedDecision:
    """A decision with its inputs.

    Attributes:
        key: namespace/name of the workload.
        record_id: ID of the ledger record; empty: decided offline.
        now: the time that the decision was made for.
        demand: what the workload asks, or why it was not accepted.
        decision: None for a workload that was not accepted.
        fleet: the sites as the decision saw them.
        terms: settings and prices of the decision.
        notes: what the decision left out.
        spec: of the workload, as it was decided; None: it is not known.
        references: what goes along, as recorded.
    """

    key: str
    record_id: str
    now: datetime
    demand: Demand | NotAccepted
    decision: Decision | None
    fleet: Fleet
    terms: Terms
    notes: tuple[str, ...] = ()
    spec: WorkloadSpec | None = None
    references: Sequence[Mapping[str, str]] = ()


def run(arguments: argparse.Namespace) -> int:
    """Explains one workload."""
    key = arguments.workload if "/" in arguments.workload else f"default/{arguments.workload}"
    try:
        explained = (_decide_offline if arguments.filename else _read_recorded)(arguments, key)
        answer = _explain_as_json(explained)
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
        _NothingToExplain,
    ) as error:
        print_error("explain", error)
        return EXIT_USAGE
    if arguments.output == "json":
        print_json(answer)
    else:
        print_explanation(answer)
    return EXIT_GOOD if answer["phase"] == "Placed" else EXIT_NO


def _decide_offline(arguments: argparse.Namespace, key: str) -> _ExplainedDecision:
    inputs = read_offline_input(arguments.filename)
    fleet = fleet_of(inputs)
    now = now_of(arguments)
    for decided in decide_all(inputs, fleet, now=now):
        # The decision is not assumed in the fleet yet, so the fleet is what the decision saw.
        if decided.workload.metadata.key == key:
            return _ExplainedDecision(
                key=key,
                record_id="",
                now=now,
                demand=decided.demand,
                decision=decided.decision,
                fleet=fleet,
                terms=DEFAULT_TERMS,
                notes=(*inputs.notes, *_references_note(decided.workload)),
                spec=decided.workload.spec,
            )
    known = ", ".join(sorted(each.metadata.key for each in inputs.workloads)) or "none"
    raise _NothingToExplain(f"workload {key} not found; workloads in the files: {known}")


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


def _read_recorded(arguments: argparse.Namespace, key: str) -> _ExplainedDecision:
    with open_ledger(arguments) as reader:
        record = _find_record(reader, key, arguments.decision)
        if record is None:
            raise _NothingToExplain(
                f"the ledger holds no decision about {key}; `kapok get workloads` lists the "
                "workloads of the hub, and -f FILE decides offline"
            )
        if "refusal" in record.content:
            refusal = msgspec.convert(record.content["refusal"], NotAccepted)
            at = datetime.fromisoformat(record.at)
            return _ExplainedDecision(
                key=key,
                record_id=record.id,
                now=at,
                demand=refusal,
                decision=None,
                fleet=Fleet(),
                terms=DEFAULT_TERMS,
            )
        if UNDOES in record.content:
            raise _NothingToExplain(
                f"record {record.id} holds no decision: {record.content.get('line')}"
            )
        if "decision" not in record.content:
            raise _NothingToExplain(
                f"{key} was deleted at {record.at}; `kapok ledger list --subject {key}` lists what"
                " was decided before"
            )
        recorded = read_recorded_decision(reader, record)
        undoing = find_undoing(reader, record)
        held = _held_note(reader, recorded.decision) if arguments.decision is None else ""
        spec = _recorded_spec(reader, record)
    line = str(undoing.content.get("line", "")) if undoing else ""
    notes = tuple(filter(None, (line, held)))
    return _ExplainedDecision(
        key=key,
        record_id=record.id,
        now=recorded.decision.decided_at,
        demand=recorded.demand,
        decision=recorded.decision,
        fleet=recorded.fleet,
        terms=recorded.terms,
        notes=notes,
        spec=spec,
        references=record.content.get(REFERENCES, ()),
    )


def _recorded_spec(reader: RecordSource, record: Record) -> WorkloadSpec | None:
    digest = record.content.get("spec")
    if not digest:
        return None
    try:
        return msgspec.convert(reader.blob(str(digest)), WorkloadSpec)
    except msgspec.ValidationError:  # of another version; the decision itself can be read
        return None


def _held_note(reader: RecordSource, decision: Decision) -> str:
    """Why silent sites of the newest decision keep their replicas; "": no record says so."""
    record = reader.last_about(EVICTIONS_SUBJECT)
    if record is None or not (record.content.get("frozen") or record.content.get("held")):
        return ""
    silent = set(record.content.get("silent") or ())
    sites = ", ".join(one.site for one in decision.assignment if one.site in silent)
    if not sites:
        return ""
    return f"{HELD_NOTE} {sites}: {record.content.get('line', '')} ({record.id}, {record.at})"


def _find_record(reader: RecordSource, key: str, decision: str | None) -> Record | None:
    """The record to explain: that of `--decision`, else the newest one of the workload.

    Raises:
        _NothingToExplain: the record does not exist or is about something else.
    """
    if decision is None:
        return reader.last_about(key)
    record = reader.find(decision)
    about = None if record is None else share_about(record, key)
    if about is None:
        what = "not found" if record is None else f"about {record.subject}, not about {key}"
        raise _NothingToExplain(
            f"record {decision}: {what}; `kapok ledger list --workload {key}` lists its records"
        )
    return about


def _explain_as_json(explained: _ExplainedDecision) -> dict[str, Any]:
    demand, decision = explained.demand, explained.decision
    if isinstance(demand, NotAccepted) or decision is None:
        return _format_refusal(explained)
    explanation = explain(
        demand, explained.fleet, now=explained.now, terms=explained.terms, decision=decision
    )
    changes: tuple[SuggestedChange, ...] = ()
    # A workload with a planned start is not placed either, but needs no change to be.
    is_stuck = decision.phase != "Placed" and decision.start_at is None
    if is_stuck:
        context = decision_context(explained.now, explained.terms)
        changes = suggest_changes(demand, explained.fleet, context)
    answer = _format_explanation(explanation, changes)
    for site in answer["sites"]:
        if site["replicas"] and (applied := _applied_at(explained, site["name"], site["replicas"])):
            site["applied"] = applied
    if any(is_kept_at_one_site(demand, rule) for rule in demand.spread):
        what = demand.numbered_set or demand.key
        answer["notes"].append(f"{what} stays at one site (placement.identity: Whole)")
    if is_stuck and not changes:
        answer["notes"].append("none of the changes that were tried would make it fit")
    answer["references"] = named_references(explained.spec, explained.key, explained.references)
    return answer | ({"decision": explained.record_id} if explained.record_id else {})


def _applied_at(explained: _ExplainedDecision, site: str, replicas: int) -> list[dict[str, Any]]:
    """The steps from the workload's manifests to those of a site; none if all sites have these."""
    if explained.spec is None:
        return []
    facts, namespace = explained.fleet.facts_of(site), explained.key.partition("/")[0]
    steps = steps_at(explained.spec, namespace, site, facts.labels, facts.spec, replicas=replicas)
    return [
        {"source": one.source, "object": one.object, "changes": list(one.changes)} for one in steps
    ]


def _format_explanation(
    explanation: Explanation, changes: tuple[SuggestedChange, ...]
) -> dict[str, Any]:
    decision = explanation.decision
    return {
        "workload": decision.workload,
        "decision": digest_of_bytes(decision_bytes(decision)),
        "decidedAt": format_rfc3339_exact(decision.decided_at),
        "line": decision.line,
        "phase": decision.phase,
        "sites": [_format_site(each) for each in explanation.sites],
        "smallestChange": [offer_json(each) for each in changes],
        "plain": plain_reasons(decision.reasons),
        "notes": list(decision.notes),
    }


def _format_site(site: SiteExplanation) -> dict[str, Any]:
    return {
        "name": site.name,
        "admitted": site.admitted,
        "verdicts": [
            {
                "rule": verdict.rule,
                "reason": verdict.reason,
                "passed": verdict.passed,
                "sentence": verdict.sentence,
                **json_of(verdict.sentence),
            }
            for verdict in site.verdicts
        ],
        "room": site.room,
        "costs": [
            {
                "term": cost.term,
                "cnyPerReplicaHour": cost.cny_per_replica_hour,
                "origin": cost.origin,
                "ageSeconds": cost.age_seconds,
            }
            for cost in site.costs
        ],
        "totalCnyPerReplicaHour": site.total_cny_per_replica_hour,
        "replicas": site.replicas,
    }


def _format_refusal(explained: _ExplainedDecision) -> dict[str, Any]:
    message = explained.demand.message if isinstance(explained.demand, NotAccepted) else ""
    return {
        "workload": explained.key,
        "decision": explained.record_id,
        "decidedAt": format_rfc3339_exact(explained.now),
        "line": f"not accepted: {message}",
        "phase": "Refused",
        "sites": [],
        "smallestChange": [],
        "references": [],
        "plain": [],
        "notes": [],
    }
