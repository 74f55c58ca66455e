"""`kapok admit SITE --key …`: lets the agent with this key report as a site and receive orders."""

import argparse
import asyncio
import re
from pathlib import Path

from scheduler.cli.support.arguments import EXIT_GOOD, EXIT_NO, EXIT_USAGE
from scheduler.cli.support.hub_access import HubNotFound, add_hub_arguments, find_kubeconfig
from scheduler.cli.support.output import print_error, print_text
from scheduler.control.ports.hub import SITES, TENANTS, Conflict, HubError
from scheduler.hub.client import HubClient, open_hub
from scheduler.model.kinds.fields import NAME_PATTERN
from scheduler.model.kinds.site import RESERVED_NAMES
from scheduler.mqtt.keyring import canonical_public_key

_EPILOG = """examples:
  kapok get sites --pending                    unadmitted sites, each with its admit command
  kapok admit gz-nansha-edge --key ed25519:…   creates the Site, or adds the key to it

An admitted site reports, but runs no workload until the authority allows it to with a SiteGrant.
Set its location and prices with `kapok kubectl edit site NAME`.

Workloads run only in namespaces that exactly one Tenant lists; an administrator writes it:
  kapok kubectl apply -f - <<EOF
  apiVersion: kapok.dev/v1alpha1
  kind: Tenant
  metadata: {name: health}
  spec: {namespaces: [health], classes: [general-1, general-2], maxPriority: 100, quota: {cpu: 64}}
  EOF

Exit code: 0 admitted, 1 the hub refused, 2 wrong usage."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok admit`."""
    parser.epilog = _EPILOG
    parser.add_argument("site", help="name of the site, as in `site` of the agent's settings")
    parser.add_argument(
        "--key",
        required=True,
        help="public key of its agent, ed25519:BASE64; `kapok-agent --show-key` prints it",
    )
    parser.add_argument(
        "--tier",
        choices=["edge", "regional", "central"],
        default="edge",
        help="tier of a new Site (default: %(default)s)",
    )
    add_hub_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Creates the Site, or adds the key to an existing one."""
    if arguments.site in RESERVED_NAMES:
        print_error(
            "admit",
            f"{arguments.site} is the scheduler's own user name at the broker; the agent needs"
            " another name, in `site` of its settings",
        )
        return EXIT_USAGE
    try:
        key = canonical_public_key(arguments.key)
        kubeconfig = find_kubeconfig(arguments.kubeconfig, arguments.data_dir)
    except (ValueError, HubNotFound) as error:
        print_error("admit", error)
        return EXIT_USAGE
    if not re.fullmatch(NAME_PATTERN, arguments.site):
        print_error(
            "admit",
            f"invalid site name {arguments.site!r}: use lower-case letters, digits, '-' and '.'",
        )
        return EXIT_USAGE
    try:
        message = asyncio.run(_admit(kubeconfig, arguments.site, key, arguments.tier))
    except HubError as error:
        print_error("admit", error)
        return EXIT_NO
    print_text(message)
    return EXIT_GOOD


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
        tenants = await client.list(TENANTS)
    message = f"site {name} is admitted; it receives workloads once a SiteGrant names it"
    if tenants.items:
        return f"{message}, of namespaces that a Tenant lists"
    return f"{message} and a Tenant lists their namespace; `kapok admit --help` shows a Tenant"


async def _add_key(client: HubClient, name: str, key: str) -> str:
    site = await client.get(SITES, name)
    keys = ((site.get("spec") or {}).get("delivery") or {}).get("agentKeys") or []
    if key in keys:
        return f"site {name} already admits this key"
    patch = {
        # With the version, a change that another client makes meanwhile is a conflict, not lost.
        "metadata": {"resourceVersion": site["metadata"]["resourceVersion"]},
        "spec": {"delivery": {"agentKeys": [*keys, key]}},
    }
    await client.merge_patch(SITES, name, patch)
    return (
        f"site {name} now admits this key too; remove the old key from spec.delivery.agentKeys"
        " once the agent uses the new one"
    )
