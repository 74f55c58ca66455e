"""`kapok site join`: invites machines to join as sites, and prints one line for each technician."""

import argparse
import re
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from scheduler.cli.joining.site_list import (
    COLUMNS,
    NewSite,
    SiteListError,
    name_problem,
    read_sites,
    site_from,
)
from scheduler.cli.support.output import print_notice
from scheduler.control.ports.hub import GRANTS, SITES, Conflict, HubError, NotFound, Object, Refused
from scheduler.hub.client import HubClient
from scheduler.joining.address import find_join_address
from scheduler.joining.admission import revocations_of
from scheduler.joining.invitations import invite
from scheduler.model.formatters import format_rfc3339
from scheduler.runtime.clock import SystemClock

EPILOG = f"""examples:
  kapok site join gz-nansha-edge --tier edge --province CN-GD --city guangzhou
  kapok site join gz-nansha-edge --ttl 2h        another token; the Site stays as it is
  kapok site join -f rooms.csv > lines.txt       30 rooms, one command, one line for each

Each line, kapok-agent join TOKEN, is for one technician: on the machine of the site it makes a
key, gets a certificate, writes the settings and waits until this hub receives its report; with
--install it also becomes a service. A token works once, until --ttl ends. Its holder can be the
site: send it as you would a password; kapok site revoke NAME takes it back.

The first line of a CSV file names its columns, of these: {", ".join(COLUMNS)}.
Only name is needed. The file is checked as a whole before anything is written.

A site reports as soon as it has joined, but takes no workload until the authority names it in a
SiteGrant. Exit code: 0 done, 1 the hub refused, 2 wrong usage."""

_TTL = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MAX_TTL = timedelta(days=30)
_MAX_KEYS = 4  # of Delivery.agent_keys


class JoinListError(HubError):
    """Some sites cannot join; nothing is written."""


def parse_ttl(text: str) -> timedelta:
    """Reads `90m`, `24h` or `7d`.

    Raises:
        argparse.ArgumentTypeError: it is none, or longer than 30 days.
    """
    found = _TTL.fullmatch(text)
    ttl = timedelta(seconds=int(found[1]) * _UNIT_SECONDS[found[2]]) if found else None
    if ttl is None or ttl > _MAX_TTL:
        raise argparse.ArgumentTypeError(f"invalid time {text!r}: expected 90m, 24h or at most 30d")
    return ttl


def register(command: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok site join`."""
    command.add_argument("name", nargs="?", metavar="NAME", help="the site")
    command.add_argument(
        "-f", "--file", type=Path, metavar="FILE", help="a CSV file of sites, instead of NAME"
    )
    command.add_argument(
        "--ttl",
        type=parse_ttl,
        default=timedelta(hours=24),
        metavar="TIME",
        help="how long a token can be used: 90m, 24h, 7d (default: 24h)",
    )
    for column in COLUMNS[1:]:
        flag = "--" + re.sub(r"([A-Z])", lambda found: "-" + found[1].lower(), column)
        command.add_argument(
            flag, dest=f"site_{column}", metavar=column.upper(), default="", help=_HELP[column]
        )


_HELP = {
    "tier": "of a new Site: edge, regional or central (default: edge)",
    "provider": "of a new Site: who runs it",
    "province": "of a new Site: CN-GD and the like (ISO 3166-2)",
    "city": "of a new Site",
    "metro": "of a new Site",
    "gridZone": "of a new Site: zone of the power grid",
    "latitude": "of a new Site, degrees",
    "longitude": "of a new Site, degrees",
    "pue": "of a new Site: total power over IT power",
}


def wanted_sites(arguments: argparse.Namespace) -> list[NewSite]:
    """The sites that the command line or its file names.

    Raises:
        SiteListError: neither or both do, or a value is wrong.
    """
    given = {column: getattr(arguments, f"site_{column}").strip() for column in COLUMNS[1:]}
    if bool(arguments.name) == bool(arguments.file):
        raise SiteListError("name one site, or a CSV file of sites with -f FILE")
    if arguments.file:
        if any(given.values()):
            raise SiteListError("with -f the columns of the file say this; leave out --tier etc.")
        return read_sites(arguments.file)
    if problem := name_problem(arguments.name):
        raise SiteListError(problem)
    site, wrong = site_from({"name": arguments.name, **given})
    if wrong:
        raise SiteListError("; ".join(f"--{column}: {text}" for column, text in wrong))
    return [site]


async def join_sites(
    client: HubClient, wanted: list[NewSite], ttl: timedelta
) -> list[dict[str, Any]]:
    """Makes the Sites that are missing, and an invitation for each.

    Returns:
        For each site its name, its token, the technician's line and when it ends.

    Raises:
        JoinListError: a site cannot join; nothing is written.
        HubError: the hub refuses or does not answer; a notice names what was done before.
    """
    address = await find_join_address(client)
    found: dict[str, Object] = {}
    for one in wanted:
        try:
            found[one.name] = await client.get(SITES, one.name)
        except NotFound:
            continue
    problems = [text for one in found.values() for text in _problems_of(one)]
    for one in wanted:
        if one.name not in found:
            problems += await _refusals_of(client, one)
    if problems:
        raise JoinListError("\n".join(problems))
    answers: list[dict[str, Any]] = []
    try:
        for one in wanted:
            site = found.get(one.name) or await _create(client, one)
            now = SystemClock().now()
            secret = await invite(
                client, one.name, revocations=revocations_of(site), now=now, lifetime=ttl
            )
            token = address.token_of(one.name, secret)
            answers.append(
                {
                    "site": one.name,
                    "done": True,
                    "moves": [],
                    "stuck": [],
                    "token": token,
                    "line": f"kapok-agent join {token}",
                    "expiresAt": format_rfc3339(now + ttl),
                }
            )
    except HubError:
        if answers:
            print_notice(
                f"{len(answers)} of {len(wanted)} sites were written; run the command again, and "
                "all of them get new tokens"
            )
        raise
    await _note_missing_grants(client, [one.name for one in wanted])
    return answers


def _problems_of(site: Object) -> Iterable[str]:
    delivery = (site.get("spec") or {}).get("delivery") or {}
    name = site["metadata"]["name"]
    if delivery.get("mode") == "Push":
        yield f"{name}: spec.delivery.mode is Push: it is reached from beside the hub"
    if len(delivery.get("agentKeys") or []) >= _MAX_KEYS:
        yield (
            f"{name}: {_MAX_KEYS} agents are listed in spec.delivery.agentKeys, and no more fit; "
            f"remove one, or run kapok site revoke {name}"
        )


async def _refusals_of(client: HubClient, one: NewSite) -> list[str]:
    """What the hub would say to a new Site; nothing is written (KEP-576, dry run)."""
    try:
        await client.raw("POST", SITES.path(), query={"dryRun": "All"}, body=_body_of(one))
    except (Conflict, Refused) as error:
        return [f"{one.name}: {error}"]
    return []


def _body_of(one: NewSite) -> Object:
    return {
        "apiVersion": SITES.api_version,
        "kind": SITES.kind,
        "metadata": {"name": one.name},
        "spec": {**one.spec, "delivery": {"mode": "Pull"}},
    }


async def _create(client: HubClient, one: NewSite) -> Object:
    try:
        return await client.create(SITES, _body_of(one))
    except Conflict:  # another operator was first
        return await client.get(SITES, one.name)


async def _note_missing_grants(client: HubClient, names: list[str]) -> None:
    """Says which sites no grant names yet: they take nothing."""
    try:
        grants = (await client.list(GRANTS)).items
    except HubError:
        return
    granted = {site for one in grants for site in (one.get("spec") or {}).get("sites") or []}
    lacking = [name for name in names if name not in granted]
    if lacking:
        shown = ", ".join(lacking[:5]) + (f" and {len(lacking) - 5} more" if lacking[5:] else "")
        print_notice(
            f"no SiteGrant names {shown}: a site without one reports, and takes no workload; the "
            "authority writes it"
        )
