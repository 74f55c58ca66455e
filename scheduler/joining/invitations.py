"""Invitations: each lets one machine join as one site, once, for a short time.

An invitation is a Secret in the namespace kapok-joining. Its name is the hash of the token's
secret, so the hub holds nothing that lets a machine join, and finds an invitation by one read. All
replicas see the same ones; who uses it first is decided by the hub (resourceVersion).
"""

import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from agents.protocol.joining.token import SECRET_BYTES, hash_of_secret
from scheduler.control.ports.hub import (
    NAMESPACES,
    SECRETS,
    Conflict,
    Hub,
    NotFound,
    Object,
    Refused,
)
from scheduler.pki.authority import instant

JOINING_NAMESPACE = "kapok-joining"
"""The namespace of invitations and of the records of certificates; nothing else is there."""
_NAME_PREFIX = "join-"
_SITE_LABEL = "kapok.dev/joining"
"""Marks invitations; the name of a site may be longer than a label's value."""
_SITE, _EXPIRES, _REVOCATIONS = "kapok.dev/site", "kapok.dev/expires-at", "kapok.dev/revocations"
_USED_BY, _USED_AT = "kapok.dev/used-by", "kapok.dev/used-at"


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation as the hub holds it.

    Attributes:
        name: name of the Secret.
        site: the name of the Site.
        expires_at: from then on it is refused.
        revocations: how often the site had been revoked when it was made.
        used_by: the public key that has joined with it; empty: none yet.
        resource_version: of the Secret.
        used_at: when it was used; None: not yet.
    """

    name: str
    site: str
    expires_at: datetime
    revocations: int
    used_by: str
    resource_version: str
    used_at: datetime | None = None


async def ensure_namespace(hub: Hub) -> None:
    """Makes the namespace if it is missing.

    A caller who may not make namespaces goes on: the next write says whether it is there.
    """
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": JOINING_NAMESPACE}}
    with suppress(Conflict, Refused):
        await hub.create(NAMESPACES, body)


async def invite(
    hub: Hub, site: str, *, revocations: int, now: datetime, lifetime: timedelta
) -> bytes:
    """Makes an invitation; returns the secret of its token, which is kept nowhere.

    Raises:
        HubError: the hub refuses it.
    """
    secret = secrets.token_bytes(SECRET_BYTES)
    facts = {
        _SITE: site,
        _EXPIRES: str(int((now + lifetime).timestamp())),
        _REVOCATIONS: str(revocations),
    }
    body: Object = {
        "apiVersion": SECRETS.api_version,
        "kind": SECRETS.kind,
        "metadata": {
            "name": _NAME_PREFIX + hash_of_secret(secret),
            "namespace": JOINING_NAMESPACE,
            "labels": {_SITE_LABEL: "invitation"},
            "annotations": facts,
        },
        "type": "kapok.dev/invitation",
    }
    await hub.create(SECRETS, body)
    return secret


async def find_invitation(hub: Hub, secret: bytes) -> Invitation | None:
    """The invitation of a token's secret; None: there is none, or it is damaged.

    Raises:
        HubError: the hub does not answer.
    """
    try:
        body = await hub.get(SECRETS, _NAME_PREFIX + hash_of_secret(secret), JOINING_NAMESPACE)
    except NotFound:
        return None
    return _read(body)


async def use_invitation(hub: Hub, one: Invitation, key: str, now: datetime) -> None:
    """Writes down which key has used an invitation.

    Raises:
        Conflict: another machine was first.
        HubError: the hub does not answer.
    """
    facts = {_USED_BY: key, _USED_AT: str(int(now.timestamp()))}
    patch = {"metadata": {"resourceVersion": one.resource_version, "annotations": facts}}
    await hub.merge_patch(SECRETS, one.name, patch, namespace=JOINING_NAMESPACE)


async def withdraw_invitations(hub: Hub, site: str) -> int:
    """Deletes the invitations of a site; returns how many.

    Raises:
        HubError: the hub does not answer.
    """
    count = 0
    for one in await _list(hub):
        if one.site == site:
            await hub.delete(SECRETS, one.name, JOINING_NAMESPACE)
            count += 1
    return count


async def drop_expired_invitations(hub: Hub, now: datetime, *, keep: timedelta) -> int:
    """Deletes invitations that ended long ago; returns how many.

    Raises:
        HubError: the hub does not answer.
    """
    count = 0
    for one in await _list(hub):
        if one.expires_at + keep < now:
            await hub.delete(SECRETS, one.name, JOINING_NAMESPACE)
            count += 1
    return count


async def _list(hub: Hub) -> Iterable[Invitation]:
    try:
        found = (await hub.list(SECRETS, JOINING_NAMESPACE)).items
    except NotFound:
        return ()
    invitations = (one for one in found if one["metadata"]["name"].startswith(_NAME_PREFIX))
    return [read for one in invitations if (read := _read(one)) is not None]


def _read(body: Object) -> Invitation | None:
    metadata = body["metadata"]
    facts = metadata.get("annotations") or {}
    try:
        used_at = facts.get(_USED_AT)
        return Invitation(
            name=str(metadata["name"]),
            site=str(facts[_SITE]),
            expires_at=instant(int(facts[_EXPIRES])),
            revocations=int(facts[_REVOCATIONS]),
            used_by=str(facts.get(_USED_BY, "")),
            resource_version=str(metadata["resourceVersion"]),
            used_at=instant(int(used_at)) if used_at else None,
        )
    except (KeyError, ValueError, OverflowError, OSError):
        return None
