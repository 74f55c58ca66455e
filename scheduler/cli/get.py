"""`kapok get KIND [NAME…]`: lists objects of ours, with kubectl's manners and forms of output."""

import argparse
import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from shlex import quote

from scheduler.cli.looking.endpoint_list import ENDPOINT_KINDS, print_endpoints
from scheduler.cli.looking.left_volumes import VOLUME_KINDS, print_volumes
from scheduler.cli.seeing.forms import CSV_HELP, Value, format_csv
from scheduler.cli.support.arguments import EXIT_GOOD, EXIT_NO, EXIT_USAGE, UsageError
from scheduler.cli.support.freeze_words import frozen_notice
from scheduler.cli.support.hub_access import HubNotFound, add_hub_arguments, find_kubeconfig
from scheduler.cli.support.kind_names import find_kinds, kind_names
from scheduler.cli.support.object_lists import (
    ListedObjects,
    ObjectQuery,
    list_objects,
    watch_objects,
)
from scheduler.cli.support.output import (
    flush_output,
    format_object_as_yaml,
    print_error,
    print_json,
    print_notice,
    print_raw,
    print_table,
    print_text,
)
from scheduler.cli.support.signals import leaf_errors, run_until_signalled
from scheduler.control.failover.clearing import CONDITION as SCHEDULABLE
from scheduler.control.failover.freeze_word import EVICTIONS_MAP, read_evictions
from scheduler.control.ports.hub import (
    CONFIG_MAPS,
    NAMESPACE,
    SITES,
    WORKLOADS,
    HubError,
    NotFound,
    Object,
)
from scheduler.control.sites.unadmitted_sites import CONFIG_MAP
from scheduler.hub.client import HubClient, open_hub
from scheduler.runtime.clock import SystemClock

_MAX_CLOSED = 8
_EPILOG = f"""examples:
  kapok get sites                    state, free CPU and age of the last report of each site
  kapok get sites --pending          unadmitted sites that report, each with its admit command
  kapok get kw                       workloads of all namespaces; -n health: of one
  kapok get workload portal -o yaml  one workload; health/portal names the namespace too
  kapok get sites -l kapok.dev/province=CN-GD -o name
  kapok get kw -w                    goes on with every change, until Ctrl-C; it waits for a hub
                                     that is away, and goes on when it is back
  kapok get kw -o csv                the same columns for a spreadsheet
  kapok get endpoints health/portal  where it is reachable: site, address, port, ready; -o json
  kapok get volumes                  claims that workloads left behind, and at which site
  kapok get all -o wide              every kind of Kapok, with all columns

Kinds: sites, sitegrants, dataclassschemes, tenants, workloads (kw), placementpolicies (pp),
clusterplacementpolicies (cpp). `kapok kubectl get` lists every other kind.
{CSV_HELP}
Exit code: 0 success, also when the list is empty, 1 the hub refused or does not have the object,
2 wrong usage, or no hub was found."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok get`."""
    parser.epilog = _EPILOG
    kind = parser.add_argument("what", metavar="KIND", help="what to list: kinds, or KIND/NAME")
    kind.completer = lambda **_: kind_names()  # type: ignore[attr-defined]  # read by argcomplete
    parser.add_argument(
        "names", metavar="NAME", nargs="*", default=[], help="only these, as NAME or NS/NAME"
    )
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument("-n", "--namespace", metavar="NS", help="only objects of this namespace")
    scope.add_argument(
        "-A", "--all-namespaces", action="store_true", help="objects of all namespaces (default)"
    )
    parser.add_argument("-l", "--selector", default="", metavar="LABELS", help="such as tier=edge")
    parser.add_argument("-w", "--watch", action="store_true", help="go on with every change")
    parser.add_argument("--no-headers", action="store_true", help="print no header of the table")
    parser.add_argument(
        "--pending", action="store_true", help="list sites that report but are not admitted"
    )
    parser.add_argument(
        "-o", "--output", choices=["json", "yaml", "csv", "wide", "name"], help="form of the output"
    )
    add_hub_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints objects of the hub."""
    try:
        queries = _queries(arguments)
        kubeconfig = find_kubeconfig(arguments.kubeconfig, arguments.data_dir)
    except (HubNotFound, UsageError) as error:
        print_error("get", error)
        return EXIT_USAGE
    code: int | None = EXIT_NO
    work = _get(kubeconfig, arguments, queries)
    try:
        code = asyncio.run(run_until_signalled(work, name="get") if arguments.watch else work)
    except* HubError as group:
        for one in leaf_errors(group):
            print_error("get", one)
    return EXIT_GOOD if code is None else code  # None: Ctrl-C, the way to end a watch


def _queries(arguments: argparse.Namespace) -> list[ObjectQuery]:
    """What the arguments ask for, kind by kind.

    Raises:
        UsageError: a kind or the combination is wrong.
    """
    what, names, namespace = arguments.what, list(arguments.names), arguments.namespace
    if "/" in what:
        what, _, name = what.partition("/")
        names.insert(0, name)
    if what in VOLUME_KINDS:
        if names or arguments.watch or arguments.selector or arguments.output not in (None, "json"):
            raise UsageError("volumes take -n and -o json only")
        return []
    if what in ENDPOINT_KINDS:
        if arguments.watch or arguments.output not in (None, "json"):
            raise UsageError("endpoints take names, -n, -l and -o json only")
        what = WORKLOADS.plural
    kinds = find_kinds(what)
    if arguments.pending and kinds != [SITES]:
        raise UsageError("--pending lists sites: kapok get sites --pending")
    if (names or arguments.watch) and len(kinds) > 1:
        raise UsageError("names and --watch go with one kind")
    spaces = {name.partition("/")[0] for name in names if "/" in name}
    if len(spaces | ({namespace} if namespace else set())) > 1:
        raise UsageError("all names must be of one namespace")
    if spaces and not kinds[0].namespaced:
        raise UsageError(f"{kinds[0].plural} have no namespace: write the name alone")
    return [
        ObjectQuery(
            resource=kind,
            namespace=(namespace or next(iter(spaces), None)) if kind.namespaced else None,
            names=tuple(name.rpartition("/")[2] for name in names),
            labels=arguments.selector,
        )
        for kind in kinds
    ]


async def _get(kubeconfig: Path, arguments: argparse.Namespace, queries: list[ObjectQuery]) -> int:
    async with open_hub(kubeconfig) as client:
        if arguments.pending:
            return await _print_pending(client, arguments)
        if arguments.what in VOLUME_KINDS:
            found = (await client.list(WORKLOADS, arguments.namespace)).items
            print_volumes(found, as_json=arguments.output == "json", now=SystemClock().now())
            return EXIT_GOOD
        listed = [(query, await list_objects(client, query)) for query in queries]
        if arguments.what.partition("/")[0] in ENDPOINT_KINDS:
            bodies = [body for _, body in listed[0][1].rows]
            is_one = len(bodies) == len(queries[0].names) == 1
            print_endpoints(bodies, as_json=arguments.output == "json", is_one=is_one)
            return EXIT_GOOD
        if arguments.watch:
            return await _print_changes(client, arguments, *listed[0])
        if arguments.output in (None, "wide") and any(one.resource is SITES for one in queries):
            await _print_freeze(client)
            _print_operations([body for _, found in listed for _, body in found.rows])
    _print_lists(arguments, listed)
    return EXIT_GOOD


async def _print_freeze(client: HubClient) -> None:
    """Says above a list of sites that nothing is evicted, and why."""
    with suppress(HubError):  # who may not read it sees the sites all the same
        body = await client.get(CONFIG_MAPS, EVICTIONS_MAP, NAMESPACE)
        if notice := frozen_notice(read_evictions(body)[0]):
            print_notice(notice)


def _print_operations(bodies: Sequence[Object]) -> None:
    """Says above a list of sites which of them take no new work, and why."""
    closed = [
        f"{body['metadata']['name']}: {one.get('message') or one.get('reason')}"
        for body in bodies
        if body.get("kind", SITES.kind) == SITES.kind
        for one in (body.get("status") or {}).get("conditions") or ()
        if one.get("type") == SCHEDULABLE
    ]
    for text in closed[:_MAX_CLOSED]:
        print_notice(text)
    if len(closed) > _MAX_CLOSED:
        print_notice(f"{len(closed) - _MAX_CLOSED} more sites take no new work: -o wide shows them")


def _print_lists(
    arguments: argparse.Namespace, listed: list[tuple[ObjectQuery, ListedObjects]]
) -> None:
    bodies = [body for _, found in listed for _, body in found.rows]
    if arguments.output in ("json", "yaml"):
        is_one = len(bodies) == len(arguments.names) == 1 or "/" in arguments.what
        value = bodies[0] if is_one else {"apiVersion": "v1", "kind": "List", "items": bodies}
        _print_object(value, arguments.output)
        return
    if not bodies:
        kinds = ", ".join(query.resource.plural for query, _ in listed)
        where = f" in namespace {arguments.namespace}" if arguments.namespace else ""
        print_notice(f"no {kinds} found{where}")
    for query, found in listed:
        if arguments.output == "name":
            for _, body in found.rows:
                print_text(_name_of(query, body))
        elif found.rows:
            _RowPrinter(arguments, query, found.headers).show(found.rows)


async def _print_changes(
    client: HubClient, arguments: argparse.Namespace, query: ObjectQuery, found: ListedObjects
) -> int:
    """Prints the objects and then each change; a table keeps the columns of its first rows."""
    rows = _RowPrinter(arguments, query, found.headers)

    def show(cells: Sequence[object], body: Object) -> None:
        if arguments.output in ("json", "yaml"):
            _print_object(body, arguments.output)
        elif arguments.output == "name":
            print_text(_name_of(query, body))
        else:
            rows.show([(cells, body)])

    if arguments.output in (None, "wide", "csv") and found.rows:
        rows.show(found.rows)
    else:
        for cells, body in found.rows:
            show(cells, body)
    flush_output()
    changes = watch_objects(client, query, found, clock=SystemClock(), notice=print_notice)
    async for cells, body in changes:
        show(cells, body)
        flush_output()
    return EXIT_GOOD


class _RowPrinter:
    """Prints rows of one kind; the header once."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        query: ObjectQuery,
        headers: Sequence[tuple[str, int]],
    ) -> None:
        self._is_csv = arguments.output == "csv"
        self._is_wide = arguments.output in ("wide", "csv")
        self._shown = [at for at, (_, level) in enumerate(headers) if self._is_wide or level == 0]
        self._has_namespace = query.resource.namespaced and query.namespace is None
        self._with_header = not arguments.no_headers
        self._header = [headers[at][0].upper() for at in self._shown]
        self._least: list[int] = []

    def show(self, rows: Sequence[tuple[Sequence[object], Object]]) -> None:
        """Prints rows; the first call sets the widths."""
        if self._is_csv:
            self._show_csv(rows)
            return
        table = [self._row(cells, body) for cells, body in rows]
        if self._with_header:
            table.insert(0, [*(["NAMESPACE"] if self._has_namespace else []), *self._header])
            self._with_header = False
        self._least = print_table(table, fixed=1 + self._has_namespace, least=self._least)

    def _show_csv(self, rows: Sequence[tuple[Sequence[object], Object]]) -> None:
        header = [*(["NAMESPACE"] if self._has_namespace else []), *self._header]
        values = [self._values(cells, body) for cells, body in rows]
        print_raw(format_csv(header if self._with_header else (), values))
        self._with_header = False

    def _values(self, cells: Sequence[object], body: Object) -> list[Value]:
        space = [str(body["metadata"].get("namespace", ""))] if self._has_namespace else []
        return [*space, *(_value(cells[at]) if at < len(cells) else None for at in self._shown)]

    def _row(self, cells: Sequence[object], body: Object) -> list[str]:
        space = [str(body["metadata"].get("namespace", ""))] if self._has_namespace else []
        return [*space, *(_cell(cells[at]) if at < len(cells) else "" for at in self._shown)]


def _value(cell: object) -> Value:
    if isinstance(cell, list):
        return ",".join(map(str, cell))
    return cell if cell is None or isinstance(cell, (str, int, float)) else str(cell)


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _name_of(query: ObjectQuery, body: Object) -> str:
    resource = query.resource
    return f"{resource.kind.lower()}.{resource.group}/{body['metadata']['name']}"


def _print_object(value: Object, form: str) -> None:
    if form == "json":
        print_json(value)
    else:
        print_text(f"---\n{format_object_as_yaml(value)}".rstrip("\n"))


async def _print_pending(client: HubClient, arguments: argparse.Namespace) -> int:
    rows = await _list_pending(client, _hub_flags(arguments))
    if arguments.output == "json":
        print_json({"pending": rows})
    elif rows:
        header = ("SITE", "FIRST-SEEN", "ADMIT WITH")
        cells = [(one["site"], one["firstSeen"], one["admitWith"]) for one in rows]
        print_table([header, *cells], fixed=3)  # a command that is cut cannot be pasted
    else:
        print_notice("no pending found")
    return EXIT_GOOD


async def _list_pending(client: HubClient, hub_flags: str) -> list[Object]:
    try:
        body = await client.get(CONFIG_MAPS, CONFIG_MAP, NAMESPACE)
    except NotFound:
        return []
    rows = []
    for site, text in sorted((body.get("data") or {}).items()):
        found = json.loads(text)
        command = f"kapok admit {site} --key {found['agentKey']}{hub_flags}"
        rows.append({"site": site, **found, "admitWith": command})
    return rows


def _hub_flags(arguments: argparse.Namespace) -> str:
    """The options that named the hub, for printed commands: pasted, they reach the same hub."""
    given = (("--kubeconfig", arguments.kubeconfig), ("--data-dir", arguments.data_dir))
    return "".join(f" {flag} {quote(str(value))}" for flag, value in given if value)
