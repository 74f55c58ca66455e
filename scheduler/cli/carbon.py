"""`kapok carbon`: power, location-based carbon and cost now, by site, tenant or workload."""

import argparse
import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from scheduler.cli.accounting import report_command
from scheduler.cli.moving.at_site import with_slices
from scheduler.cli.seeing.forms import CSV_HELP, Row, ShownColumn, add_form_option, print_listed
from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_NO,
    EXIT_USAGE,
    UsageError,
)
from scheduler.cli.support.hub_access import HubNotFound, add_hub_arguments, find_kubeconfig
from scheduler.cli.support.offline_input import (
    OfflineInput,
    OfflineInputError,
    input_of_objects,
    read_offline_input,
)
from scheduler.cli.support.output import print_error, print_notice
from scheduler.control.ports.hub import (
    CLUSTER_POLICIES,
    POLICIES,
    SCHEMES,
    SITES,
    TENANTS,
    WORKLOADS,
    HubError,
)
from scheduler.hub.client import open_hub
from scheduler.inquiry.energy_account import EnergyAccount, EnergyRates, add_up, by_name
from scheduler.model.demand.accept import demand_of
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.demand.facts import SiteFacts, site_facts_of
from scheduler.model.demand.tenancy import tenant_of
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.workload import Workload
from scheduler.model.quantities import NotAQuantity
from scheduler.model.units import GRAMS_PER_KILOGRAM, WATTS_PER_KILOWATT
from scheduler.runtime.clock import SystemClock

NO_TENANT: Final = "<none>"
_EPILOG = f"""examples:
  kapok carbon                       what the equipment of each site draws, and its emission now
  kapok carbon --by tenant           what the placed work of each tenant draws
  kapok carbon --by workload -n health
  kapok carbon -f city/              offline, from files as for `kapok place`
  kapok carbon --by tenant -o csv
  kapok carbon report --month 2026-11     what a month used, by both ledgers; --help says more

By site, power is what the site's agent reports. By tenant and workload it is modelled from requests
at full use, as decisions do, since no meter sees single workloads; what equipment draws beyond that
belongs to no workload, so the two sums differ. Carbon is location-based: power x PUE x the average
intensity of the grid; certificates do not enter it. Cost is energy, and for work also cores; a
tariff counts with the mean of its day.
MEASURED is the share of the inputs (power, PUE, intensity) that is measured, weighted by power;
ORIGIN is the least credible of them. ? is what is not known; a sum is of what is known.
{CSV_HELP}
Exit code: 0 success, 1 the hub refused, 2 wrong usage, or no hub was found."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok carbon`."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "--by", choices=["site", "tenant", "workload"], default="site", help="default: %(default)s"
    )
    parser.add_argument("-n", "--namespace", metavar="NS", help="only workloads of this namespace")
    parser.add_argument(
        "-f",
        "--filename",
        action="append",
        default=[],
        metavar="FILE",
        help="offline, from files as for `kapok place`; may be repeated",
    )
    add_hub_arguments(parser)
    add_form_option(parser)
    commands = parser.add_subparsers(dest="carbon_command", metavar="COMMAND")
    purpose = report_command.PURPOSE
    report_command.register(commands.add_parser("report", help=purpose, description=purpose))


def run(arguments: argparse.Namespace) -> int:
    """Prints what is drawn, emitted and spent now, or the report of a month."""
    if arguments.carbon_command == "report":
        return report_command.run(arguments)
    try:
        inputs = _read(arguments)
        answer = account_of(inputs, arguments.by, SystemClock().now(), arguments.namespace)
    except (HubNotFound, OfflineInputError, UsageError) as error:
        print_error("carbon", error)
        return EXIT_USAGE
    except HubError as error:
        print_error("carbon", error)
        return EXIT_NO
    _print(arguments, answer)
    return EXIT_GOOD


def _read(arguments: argparse.Namespace) -> OfflineInput:
    if arguments.namespace and arguments.by == "site":
        raise UsageError("equipment has no namespace: add --by workload or --by tenant")
    if arguments.filename:
        return read_offline_input(arguments.filename)
    kubeconfig = find_kubeconfig(arguments.kubeconfig, arguments.data_dir)
    return asyncio.run(_read_hub(kubeconfig, arguments.by, arguments.namespace))


async def _read_hub(kubeconfig: Path, by: str, namespace: str | None) -> OfflineInput:
    async with open_hub(kubeconfig) as client:
        objects = list((await client.list(SITES)).items)
        if by != "site":
            for kind in (SCHEMES, TENANTS, POLICIES, CLUSTER_POLICIES):
                scope = namespace if kind.namespaced else None
                objects += (await client.list(kind, scope)).items
            workloads = await client.list(WORKLOADS, namespace)
            objects += await with_slices(client, list(workloads.items))
    return input_of_objects(objects)


def account_of(
    inputs: OfflineInput, by: str, now: datetime, namespace: str | None = None
) -> dict[str, Any]:
    """The whole answer.

    Args:
        inputs: the objects.
        by: "site", "tenant" or "workload".
        now: when it is asked.
        namespace: the only namespace whose workloads count; None: all.

    Raises:
        OfflineInputError: a quantity in a site's status cannot be read.
    """
    facts = _facts_of(inputs)
    rates = EnergyRates(facts, DEFAULT_TERMS)
    if by == "site":
        entries = [_site_entry(rates, one) for one in facts]
    else:
        entries = _work_entries(inputs, rates, namespace)
    if by == "tenant":
        pairs = ((str(fields["tenant"]), account) for _, fields, account in entries)
        entries = [(name, {}, account) for name, account in by_name(pairs).items()]
    rows = [{"name": name, **fields, **account.as_json()} for name, fields, account in entries]
    rows.sort(key=lambda row: (-(row["gco2PerHour"] or 0.0), -(row["watts"] or 0.0), row["name"]))
    total = add_up(account for _, _, account in entries).as_json()
    return {"by": by, "at": now.isoformat(), "rows": rows, "total": total}


_Entry = tuple[str, Row, EnergyAccount]
"""A name, what else is said of it, and its account."""


def _facts_of(inputs: OfflineInput) -> list[SiteFacts]:
    """The sites by name. Rights and what is in flight there change no figure of energy."""
    try:
        found = [site_facts_of(one, ()) for one in inputs.sites]
    except NotAQuantity as error:
        raise OfflineInputError(str(error)) from error
    return sorted(found, key=lambda one: one.name)


def _site_entry(rates: EnergyRates, facts: SiteFacts) -> _Entry:
    draw = rates.equipment(facts.name)
    fields = {"province": facts.spec.location.province, "reporting": not facts.is_silent}
    return facts.name, fields, EnergyAccount([draw] if draw else [], 0 if draw else 1)


def _work_entries(inputs: OfflineInput, rates: EnergyRates, namespace: str | None) -> list[_Entry]:
    """An entry for each workload that has replicas and is not over."""
    return [
        (one.metadata.key, {"tenant": _tenant(inputs, one)}, _work_account(inputs, rates, one))
        for one in inputs.workloads
        if namespace in (None, one.metadata.namespace)
        and one.status.phase != "Completed"
        and any(group.replicas for group in one.status.placement.groups)
    ]


def _work_account(inputs: OfflineInput, rates: EnergyRates, workload: Workload) -> EnergyAccount:
    # Only affinities read the other workloads, and looking at all of them for each takes long.
    demand = _demand(inputs, workload, ())
    if not isinstance(demand, Demand):
        demand = _demand(inputs, workload, inputs.workloads)
    if not isinstance(demand, Demand):  # its spec cannot be read now, but what it placed runs
        return EnergyAccount([], 1)
    placed = demand.placed_replicas.items()
    return EnergyAccount([rates.work(demand, site, replicas) for site, replicas in placed])


def _demand(
    inputs: OfflineInput, workload: Workload, others: Sequence[Workload]
) -> Demand | NotAccepted:
    return demand_of(
        workload,
        scheme=inputs.scheme,
        policies=inputs.policies,
        cluster_policies=inputs.cluster_policies,
        others=others,
    )


def _tenant(inputs: OfflineInput, workload: Workload) -> str:
    tenant = tenant_of(workload, inputs.tenants)
    return NO_TENANT if tenant is None else tenant.metadata.name


def _print(arguments: argparse.Namespace, answer: Mapping[str, Any]) -> None:
    rows: Sequence[Row] = answer["rows"]
    is_table = arguments.output in (None, "wide")
    if is_table and rows:
        rows = [*rows, {"name": "TOTAL", **answer["total"]}]
    columns = [ShownColumn(arguments.by.upper(), lambda row: row["name"]), *_COLUMNS]
    if arguments.by == "workload":
        columns.append(ShownColumn("TENANT", lambda row: row.get("tenant", ""), is_wide=True))
    print_listed(arguments.output, answer, rows, columns, name_of=lambda row: str(row["name"]))
    if is_table and not rows:
        print_notice(f"no {arguments.by} found")
    if is_table and answer["total"]["unknownPower"]:
        what = "sites" if arguments.by == "site" else "workloads"
        print_notice(f"the power of {answer['total']['unknownPower']} {what} is not known")


def _thousandth(name: str, per: int) -> Callable[[Row], float | None]:
    def value(row: Row) -> float | None:
        return None if row[name] is None else row[name] / per

    return value


def _three_digits(value: float) -> str:
    return f"{value:.3f}"


def _percent(value: float) -> str:
    return f"{value:.0%}"


_COLUMNS = (
    ShownColumn("KILOWATTS", _thousandth("watts", WATTS_PER_KILOWATT), _three_digits),
    ShownColumn("KGCO2E/H", _thousandth("gco2PerHour", GRAMS_PER_KILOGRAM), _three_digits),
    ShownColumn("CNY/H", lambda row: row["cnyPerHour"], lambda value: f"{value:.2f}"),
    ShownColumn("ORIGIN", lambda row: row["origin"]),
    ShownColumn("MEASURED", lambda row: row["measuredRatio"], _percent),
    ShownColumn("CARBON-KNOWN", lambda row: row["carbonKnownRatio"], _percent, is_wide=True),
    ShownColumn("COST-KNOWN", lambda row: row["costKnownRatio"], _percent, is_wide=True),
    ShownColumn("UNKNOWN-POWER", lambda row: row["unknownPower"], is_wide=True),
)
