"""Decides who may join: a token, a Site and a machine's key become a certificate.

Of what a machine sends only two things count: the secret of its token, and the key that signed its
certificate request. The certificate's name is that of the invitation's site, whatever the request
says. An invitation is used by the first key; the same key may ask again until the invitation ends,
because answers get lost on bad links, and gains nothing by it.

Revocation needs no clock: an invitation carries how often its site had been revoked, and the Site
is written only at the version that was read with that same count.
"""

import base64
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agents.protocol.joining.messages import (
    BrokerPlace,
    JoinAnswer,
    JoinRequest,
    ReceivedAnswer,
    ReceivedRequest,
    RenewRequest,
)
from agents.protocol.joining.token import parse_secret
from scheduler.control.ports.hub import SITES, Conflict, Hub, NotFound, Object, Refused
from scheduler.joining.certificates import TooManyCertificates, record_certificate, revoked_keys
from scheduler.joining.invitations import Invitation, find_invitation, use_invitation
from scheduler.model.kinds.site import RESERVED_NAMES
from scheduler.pki.authority import MAX_NAME_CHARACTERS, Authority, Issued
from scheduler.pki.certificate_request import RequestRefused, read_request
from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

REVOCATIONS = "kapok.dev/revocations"
"""The annotation of a Site that counts how often it was revoked."""
_CLUSTER_UNREACHABLE = "ClusterUnreachable"
_ATTEMPTS = 8
_BAD_REQUEST, _FORBIDDEN, _CONFLICT, _TOO_MANY = 400, 403, 409, 429

REFUSALS = (
    "bad-request",
    "unknown-token",
    "expired-token",
    "used-token",
    "revoked",
    "revoked-key",
    "no-site",
    "push-site",
    "unknown-key",
    "full",
    "busy",
    "rate",
)
"""Why a machine is refused; stable slugs, also in a metric."""


class JoinRefused(Exception):
    """A machine may not join; the message is for the technician.

    Attributes:
        reason: one of `REFUSALS`.
        status: the HTTP status.
    """

    def __init__(self, reason: str, message: str, status: int = _FORBIDDEN) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Lets machines join.

    Attributes:
        hub: holds Sites, invitations and records of certificates.
        authority: signs certificates.
        broker: where agents connect to.
        hub_keys: the public keys that sign orders now.
        root_keys: the public keys of the offline root; none: there is none.
        lifetime: how long a certificate is valid.
        clock: the hub's time.
        reserved_names: names that no certificate of a site may have; the broker gives them more.
    """

    hub: Hub
    authority: Authority
    broker: BrokerPlace
    hub_keys: Callable[[], tuple[str, ...]]
    root_keys: Callable[[], tuple[str, ...]] = lambda: ()
    lifetime: timedelta
    clock: Clock
    reserved_names: frozenset[str] = RESERVED_NAMES

    async def join(self, request: JoinRequest) -> JoinAnswer:
        """The certificate of a machine that has a token.

        Raises:
            JoinRefused: it may not join.
            HubError: the hub does not answer; the machine may ask again.
        """
        key = _key_of(request.request)
        for attempt in range(_ATTEMPTS):
            try:
                return await self._join_once(request, key)
            except Conflict:
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("every attempt returns or raises")

    async def _join_once(self, request: JoinRequest, key: str) -> JoinAnswer:
        """As `join`; `Conflict`: the invitation or the Site has changed meanwhile."""
        now = self.clock.now()
        invitation = await self._invitation_of(request.secret, request.site)
        if invitation.used_by and invitation.used_by != key:
            raise JoinRefused(
                "used-token",
                f"another machine has joined {invitation.site} with this token; if that was not "
                f"you, call the operator at once: kapok site revoke {invitation.site}",
            )
        if invitation.expires_at <= now:
            raise JoinRefused(
                "expired-token",
                f"the token has ended at {invitation.expires_at:%Y-%m-%d %H:%M} UTC; the operator "
                f"prints another one with kapok site join {invitation.site}",
            )
        site = await self._site_of(invitation)
        if key in await revoked_keys(self.hub, invitation.site, now=now):
            raise JoinRefused(
                "revoked-key",
                "this machine's key is revoked; kapok-agent join --again makes another one",
            )
        if not invitation.used_by:
            await use_invitation(self.hub, invitation, key, now)
        issued = await self._issue(invitation.site, key, now)
        await self._list_key(invitation.site, site, key)
        _log.info(
            "%s has joined with key %s", invitation.site, key, extra={"site": invitation.site}
        )
        return self._answer(invitation.site, issued)

    async def renew(self, request: RenewRequest) -> JoinAnswer:
        """A new certificate of a key that the Site lists.

        Raises:
            JoinRefused: the Site does not list the key.
            HubError: the hub does not answer.
        """
        key, name = _key_of(request.request), request.site
        before = await self._listed(name, key)
        issued = await self._issue(name, key, self.clock.now())
        # A revocation meanwhile may not have seen this certificate, so it is not handed out.
        if await self._listed(name, key) != before:
            raise JoinRefused("revoked", f"{name} was revoked; it joins again with a new token")
        return self._answer(name, issued)

    async def received(self, request: ReceivedRequest) -> ReceivedAnswer:
        """Whether the site that has joined with a token reports.

        Raises:
            JoinRefused: the token is unknown.
            HubError: the hub does not answer.
        """
        invitation = await self._invitation_of(request.secret, request.site)
        site = await self._site_of(invitation)
        status = site.get("status") or {}
        conditions = status.get("conditions") or []
        ready: Object = next((one for one in conditions if one.get("type") == "Ready"), {})
        since = invitation.used_at
        seen = _instant_of(status.get("observedAt"))
        # A report of another machine of the site, before this one joined, does not count.
        is_new = since is not None and seen is not None and seen >= since - timedelta(seconds=1)
        # An agent whose cluster does not answer it reports all the same.
        is_received = ready.get("status") == "True" or ready.get("reason") == _CLUSTER_UNREACHABLE
        note = str(ready.get("message") or "")[:1000]
        return ReceivedAnswer(received=is_received and is_new, note=note)

    async def _invitation_of(self, secret_text: str, site: str) -> Invitation:
        secret = parse_secret(secret_text)
        found = await find_invitation(self.hub, secret) if secret else None
        # One answer for both, so that a guess shows nothing of which sites are invited.
        if found is None or found.site != site:
            raise JoinRefused(
                "unknown-token",
                f"the hub knows no such token: it was withdrawn, or has ended long ago; the "
                f"operator prints another one with kapok site join {site}",
            )
        return found

    async def _site_of(self, invitation: Invitation) -> Object:
        """The Site of an invitation, as it is now."""
        name = invitation.site
        try:
            site = await self.hub.get(SITES, name)
        except NotFound:
            raise JoinRefused(
                "no-site", f"the operator has removed the site {name}; ask for another token"
            ) from None
        if revocations_of(site) != invitation.revocations:
            raise JoinRefused(
                "revoked",
                f"{name} was revoked after this token was printed; the operator prints another "
                f"one with kapok site join {name}",
            )
        if ((site.get("spec") or {}).get("delivery") or {}).get("mode") == "Push":
            raise JoinRefused(
                "push-site", f"{name} is reached from beside the hub (delivery.mode: Push)"
            )
        return site

    async def _listed(self, name: str, key: str) -> int:
        """How often the site was revoked; its Site lists the key.

        Raises:
            JoinRefused: it does not.
        """
        try:
            site = await self.hub.get(SITES, name)
        except NotFound:
            site = {}
        if key not in _keys_of(site):
            raise JoinRefused(
                "unknown-key",
                f"the hub does not list this machine's key for {name}: it was revoked, or the site "
                f"is gone; the operator prints a token with kapok site join {name}",
            )
        return revocations_of(site)

    async def _issue(self, name: str, key: str, now: datetime) -> Issued:
        if len(name) > MAX_NAME_CHARACTERS or name in self.reserved_names:
            raise JoinRefused(
                "bad-request", f"no certificate can have the name {name[:80]!r}", _BAD_REQUEST
            )
        issued = self.authority.issue_client(
            name, _public_key_of(key), now=now, lifetime=self.lifetime
        )
        try:
            await record_certificate(self.hub, name, issued, key, now=now)
        except TooManyCertificates as error:
            raise JoinRefused("full", str(error), _TOO_MANY) from None
        return issued

    async def _list_key(self, name: str, site: Object, key: str) -> None:
        """Adds the key to the Site, at the version that was read."""
        keys = _keys_of(site)
        if key in keys:
            return
        patch = {
            "metadata": {"resourceVersion": site["metadata"]["resourceVersion"]},
            "spec": {"delivery": {"mode": "Pull", "agentKeys": [*keys, key]}},
        }
        try:
            await self.hub.merge_patch(SITES, name, patch)
        except Refused as error:
            raise JoinRefused(
                "full",
                f"the hub does not list another key for {name} ({str(error)[:200]}); the operator "
                f"removes one from spec.delivery.agentKeys, or runs kapok site revoke {name}",
                _CONFLICT,
            ) from error

    def _answer(self, site: str, issued: Issued) -> JoinAnswer:
        return JoinAnswer(
            site=site,
            certificate=issued.pem.decode(),
            authority=self.authority.certificate_pem.decode(),
            broker=self.broker,
            hub_keys=self.hub_keys(),
            root_keys=self.root_keys(),
        )


def revocations_of(site: Object) -> int:
    """How often a Site was revoked."""
    text = str((site["metadata"].get("annotations") or {}).get(REVOCATIONS, "0"))
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0  # noqa: PLR2004 - digits


def _keys_of(site: Object) -> list[str]:
    keys = ((site.get("spec") or {}).get("delivery") or {}).get("agentKeys") or []
    return [str(one) for one in keys]


def _key_of(request: str) -> str:
    try:
        key = read_request(request)
    except RequestRefused as error:
        raise JoinRefused("bad-request", str(error), _BAD_REQUEST) from None
    return f"ed25519:{base64.b64encode(key.public_bytes_raw()).decode()}"


def _public_key_of(text: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(text.partition(":")[2]))


def _instant_of(text: object) -> datetime | None:
    """An instant of a status; None if there is none."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else None
