"""`kapok admit SITE --key …`: lets the holder of a key report as a site and receive orders."""

import argparse
import asyncio
import re
import sys
from pathlib import Path

from scheduler.cli.hub_access import HubNotFound, add_hub_arguments, find_kubeconfig
from scheduler.control.ports.hub import SITES, Conflict, HubError
from scheduler.hub.client import HubClient, open_hub
from scheduler.model.kinds.fields import NAME_PATTERN
from scheduler.mqtt.keyring import canonical_public_key

EXIT_NO, EXIT_USAGE = 1, 2

_EPILOG = """examples:
  kapok get sites --pending                    who waits, with the command for each
  kapok admit gz-nansha-edge --key ed25519:…   makes the Site, or adds the key to it

An admitted site reports, and takes nothing yet: what it may hold is granted by the authority with a
SiteGrant. Where it stands and what it costs is written with `kubectl edit site NAME`."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok admit`."""
    parser.epilog = _EPILOG
    parser.add_argument("site", help="the name that the agent reports as")
    parser.add_argument("--key", required=True, help="its public key, ed25519:BASE64")
    parser.add_argument("--tier", choices=["edge", "regional", "central"], default="edge")
    add_hub_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Makes the Site, or adds the key to the one that is there."""
    try:
        key = canonical_public_key(arguments.key)
        kubeconfig = find_kubeconfig(arguments.kubeconfig, arguments.data_dir)
    except (ValueError, HubNotFound) as error:
        sys.stderr.write(f"kapok admit: {error}\n")
        return EXIT_USAGE
    if not re.fullmatch(NAME_PATTERN, arguments.site):
        sys.stderr.write(f"kapok admit: {arguments.site!r}: lower-case letters, digits, - and .\n")
        return EXIT_USAGE
    try:
        said = asyncio.run(_admit(kubeconfig, arguments.site, key, arguments.tier))
    except HubError as error:
        sys.stderr.write(f"kapok admit: {error}\n")
        return EXIT_NO
    sys.stdout.write(said + "\n")
    return 0


async def _admit(kubeconfig: Path, name: str, key: str, tier: str) -> str:
    async with open_hub(kubeconfig) as client:
        body = {
            "apiVersion": SITES.api_version,
            "kind": SITES.kind,
            "metadata": {"name": name},
            "spec": {"tier": tier, "delivery": {"mode": "Pull", "agentKeys": [key]}},
        }
        try:
            await client.create(SITES, body)
        except Conflict:
            return await _add_key(client, name, key)
    return f"site {name} is admitted; it takes work once a SiteGrant names it"


async def _add_key(client: HubClient, name: str, key: str) -> str:
    site = await client.get(SITES, name)
    keys = ((site.get("spec") or {}).get("delivery") or {}).get("agentKeys") or []
    if key in keys:
        return f"site {name} admits this key already"
    patch = {
        "metadata": {"resourceVersion": site["metadata"]["resourceVersion"]},
        "spec": {"delivery": {"agentKeys": [*keys, key]}},
    }
    await client.merge_patch(SITES, name, patch)
    return f"site {name} admits this key too; take the old one out once the agent has changed"
