"""`kapok site revoke`: nothing that the site's keys sign counts from now on, on any broker.

The order matters, because a machine may be joining meanwhile. The invitations go first. The Site's
count of revocations goes up in the same write that takes its keys, so a machine that has read the
Site before cannot write its key. The certificates are marked before that write, which is what the
scheduler notices, and once more after it.
"""

from contextlib import suppress
from typing import Any

from scheduler.control.ports.hub import SITES, Conflict, NotFound, Refused
from scheduler.hub.client import HubClient
from scheduler.joining.admission import REVOCATIONS, revocations_of
from scheduler.joining.certificates import revoke_certificates
from scheduler.joining.invitations import withdraw_invitations
from scheduler.runtime.clock import SystemClock

EPILOG = """examples:
  kapok site revoke gz-nansha-edge       a machine is stolen, or a token went to the wrong hands

The hub drops what the site's keys sign at once, whatever the broker does. The broker of kapok up
--listen also refuses its certificates, and takes all rights from a session that is open; another
broker needs the revocation list that the scheduler writes (certificates/crl.pem of its data
directory). What runs at the site runs on there, unobserved: kapok failover or the workloads' own
rules replace it. The site joins again only with a new token and a new key:
  kapok site join NAME
Exit code: 0 done, 1 the hub refused, 2 wrong usage or no such site."""

_ATTEMPTS = 8


async def revoke_site(client: HubClient, name: str) -> dict[str, Any]:
    """Revokes all keys, certificates and tokens of a site.

    Returns:
        How many there were of each.

    Raises:
        NotFound: there is neither such a Site nor anything of it to revoke.
        HubError: the hub refuses or does not answer; run it again.
    """
    invitations = await withdraw_invitations(client, name)
    certificates = await revoke_certificates(client, name, now=SystemClock().now())
    try:
        keys = await _take_keys(client, name)
    except NotFound:
        if not invitations and not certificates:
            raise
        keys = 0
    invitations += await withdraw_invitations(client, name)
    certificates += await revoke_certificates(client, name, now=SystemClock().now())
    return {
        "site": name,
        "done": True,
        "moves": [],
        "stuck": [],
        "keys": keys,
        "certificates": certificates,
        "tokens": invitations,
    }


async def revoke_remains(client: HubClient, name: str) -> None:
    """Revokes certificates and tokens of a site whose object is gone, if there are any.

    An operator who may forget sites and not revoke them goes on: the hub drops what the site sends
    in any case, because no Site lists its keys.
    """
    with suppress(Refused):
        await withdraw_invitations(client, name)
        await revoke_certificates(client, name, now=SystemClock().now())


async def _take_keys(client: HubClient, name: str) -> int:
    """Empties the Site's list of keys; returns how many there were."""
    for attempt in range(_ATTEMPTS):
        site = await client.get(SITES, name)
        keys = ((site.get("spec") or {}).get("delivery") or {}).get("agentKeys") or []
        patch = {
            "metadata": {
                "resourceVersion": site["metadata"]["resourceVersion"],
                "annotations": {REVOCATIONS: str(revocations_of(site) + 1)},
            },
            "spec": {"delivery": {"agentKeys": []}} if keys else {},
        }
        try:
            await client.merge_patch(SITES, name, patch)
        except Conflict:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return len(keys)
    raise AssertionError("every attempt returns or raises")
