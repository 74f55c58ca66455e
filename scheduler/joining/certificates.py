"""Records of the certificates that sites were given, so that they can be revoked.

One ConfigMap for each site in the namespace kapok-joining, named by a hash of the site's name,
which may be longer than an object's name allows beside a prefix. A record outlives its Site: a
certificate must be revocable when the Site is gone. Certificates that have ended are dropped.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256

from scheduler.control.ports.hub import CONFIG_MAPS, Conflict, Hub, NotFound, Object
from scheduler.joining.invitations import JOINING_NAMESPACE
from scheduler.pki.authority import Issued, instant

MAX_CERTIFICATES = 32
"""The most certificates of a site that are valid at the same time."""
_NAME_PREFIX = "certificates-"
_ATTEMPTS = 8


class TooManyCertificates(Exception):
    """A site has as many valid certificates as one may have."""


@dataclass(frozen=True, slots=True)
class IssuedRecord:
    """A certificate that was given to a site.

    Attributes:
        serial: its serial number, in hex.
        key: the public key in it, `ed25519:BASE64`.
        not_after: when it ends, POSIX time.
        revoked_at: since when it is revoked, POSIX time; 0: it is not.
    """

    serial: str
    key: str
    not_after: int
    revoked_at: int = 0


async def record_certificate(
    hub: Hub, site: str, issued: Issued, key: str, *, now: datetime
) -> None:
    """Writes a certificate down, before it is handed out.

    Raises:
        TooManyCertificates: the site has `MAX_CERTIFICATES` valid ones.
        HubError: the hub does not answer.
    """
    one = IssuedRecord(f"{issued.serial:x}", key, int(issued.not_after.timestamp()))

    def add(known: list[IssuedRecord]) -> list[IssuedRecord]:
        if len(known) >= MAX_CERTIFICATES:
            raise TooManyCertificates(
                f"{site} has {len(known)} valid certificates; kapok site revoke {site} ends them"
            )
        return [*known, one]

    await _edit(hub, site, add, now)


async def revoke_certificates(hub: Hub, site: str, *, now: datetime) -> int:
    """Marks all certificates of a site as revoked; returns how many were not before.

    Raises:
        HubError: the hub does not answer.
    """
    count = 0

    def mark(known: list[IssuedRecord]) -> list[IssuedRecord]:
        nonlocal count
        count = sum(1 for one in known if not one.revoked_at)
        since = int(now.timestamp())
        return [
            IssuedRecord(one.serial, one.key, one.not_after, one.revoked_at or since)
            for one in known
        ]

    await _edit(hub, site, mark, now)
    return count


@dataclass(frozen=True, slots=True)
class Revoked:
    """What is revoked.

    Attributes:
        serials: serial numbers, and since when.
        sites: names of the sites of which every valid certificate is revoked.
    """

    serials: tuple[tuple[int, datetime], ...]
    sites: tuple[str, ...]


async def list_revoked(hub: Hub, *, now: datetime) -> Revoked:
    """What is revoked and has not ended.

    Raises:
        HubError: the hub does not answer.
    """
    try:
        found = (await hub.list(CONFIG_MAPS, JOINING_NAMESPACE)).items
    except NotFound:
        return Revoked((), ())
    serials: list[tuple[int, datetime]] = []
    sites: list[str] = []
    for body in found:
        if not str(body["metadata"]["name"]).startswith(_NAME_PREFIX):
            continue
        known = _valid(_read(body), now)
        revoked = [one for one in known if one.revoked_at]
        serials += [(int(one.serial, 16), instant(one.revoked_at)) for one in revoked]
        if revoked == known != []:
            sites.append(str((body.get("data") or {}).get("site", "")))
    return Revoked(tuple(sorted(serials)), tuple(sorted(filter(None, sites))))


async def revoked_keys(hub: Hub, site: str, *, now: datetime) -> frozenset[str]:
    """The public keys of a site whose certificates are revoked and have not ended.

    Raises:
        HubError: the hub does not answer.
    """
    try:
        body = await hub.get(CONFIG_MAPS, _name_of(site), JOINING_NAMESPACE)
    except NotFound:
        return frozenset()
    return frozenset(one.key for one in _valid(_read(body), now) if one.revoked_at)


async def _edit(
    hub: Hub,
    site: str,
    change: Callable[[list[IssuedRecord]], list[IssuedRecord]],
    now: datetime,
) -> None:
    name = _name_of(site)
    for attempt in range(_ATTEMPTS):
        try:
            try:
                body = await hub.get(CONFIG_MAPS, name, JOINING_NAMESPACE)
            except NotFound:
                if known := change([]):
                    await hub.create(CONFIG_MAPS, _body(site, known))
            else:
                known = change(_valid(_read(body), now))
                patch = {
                    "metadata": {"resourceVersion": body["metadata"]["resourceVersion"]},
                    "data": _body(site, known)["data"],
                }
                await hub.merge_patch(CONFIG_MAPS, name, patch, namespace=JOINING_NAMESPACE)
        except Conflict:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return


def _body(site: str, known: list[IssuedRecord]) -> Object:
    return {
        "apiVersion": CONFIG_MAPS.api_version,
        "kind": CONFIG_MAPS.kind,
        "metadata": {"name": _name_of(site), "namespace": JOINING_NAMESPACE},
        "data": {"site": site, "certificates": json.dumps([asdict(one) for one in known])},
    }


def _name_of(site: str) -> str:
    return _NAME_PREFIX + sha256(site.encode()).hexdigest()[:40]


def _read(body: Object) -> list[IssuedRecord]:
    """The certificates of a record; one that cannot be read is left out."""
    found: list[IssuedRecord] = []
    try:
        listed = json.loads((body.get("data") or {}).get("certificates", "[]"))
    except ValueError:
        return []
    for one in listed if isinstance(listed, list) else []:
        try:
            record = IssuedRecord(
                str(one["serial"]), str(one["key"]), int(one["not_after"]), int(one["revoked_at"])
            )
            int(record.serial, 16)
            instant(record.not_after)
        except (TypeError, KeyError, ValueError, OverflowError, OSError):
            continue
        found.append(record)
    return found


def _valid(known: list[IssuedRecord], now: datetime) -> list[IssuedRecord]:
    return [one for one in known if one.not_after > now.timestamp()]
