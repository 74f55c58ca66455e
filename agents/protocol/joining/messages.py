"""What a machine asks over HTTPS when it joins, and the answers.

The machine first fetches `GET /ca` without trusting the server, compares the certificate with the
token, and only then sends its secret, over TLS that this certificate verifies.
"""

from dataclasses import dataclass, field
from typing import Annotated, Final

from agents.protocol.bounds import AtMost, Between, SiteName
from agents.protocol.codec import Codec

MAX_JOIN_BYTES: Final = 64 * 1024
"""The most bytes of a request or an answer of joining."""
_LAST_PORT: Final = 65_535

_Pem = Annotated[str, AtMost(32_768)]
_KeyText = Annotated[str, AtMost(128)]
_Host = Annotated[str, AtMost(253)]
_TcpPort = Annotated[int, Between(1, _LAST_PORT)]


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRequest:
    """`POST /join`: asks for the certificate of a site.

    Attributes:
        site: the name of the Site, as in the token.
        secret: the token's secret, base32.
        request: a certificate request (CSR) in PEM of the machine's Ed25519 key.
    """

    site: SiteName
    secret: Annotated[str, AtMost(64)] = field(repr=False)
    request: _Pem


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewRequest:
    """`POST /renew`: asks for a new certificate of a key that the Site lists.

    The request is signed by the key, so no certificate is needed: one that has ended is renewed
    too.

    Attributes:
        site: the name of the Site.
        request: as in `JoinRequest`.
    """

    site: SiteName
    request: _Pem


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedRequest:
    """`POST /received`: asks whether the hub has received a report of the site since it joined.

    Attributes:
        site: the name of the Site.
        secret: the secret of the token that the site has joined with, base32.
    """

    site: SiteName
    secret: Annotated[str, AtMost(64)] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerPlace:
    """Where the broker is."""

    host: _Host
    port: _TcpPort


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinAnswer:
    """The answer of `/join` and `/renew`.

    Attributes:
        site: the name of the Site; the common name of the certificate.
        certificate: the certificate in PEM.
        authority: the certificates of the authority in PEM.
        broker: where the agent connects to.
        hub_keys: the public keys that sign orders.
        root_keys: the public keys of the offline root that certifies them; none: there is none.
    """

    site: SiteName
    certificate: _Pem
    authority: _Pem
    broker: BrokerPlace
    hub_keys: Annotated[tuple[_KeyText, ...], AtMost(8)]
    root_keys: Annotated[tuple[_KeyText, ...], AtMost(8)] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedAnswer:
    """The answer of `/received`: whether the site reports, and what it still lacks."""

    received: bool
    note: Annotated[str, AtMost(1024)] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityAnswer:
    """The answer of `GET /ca`; nothing in it is believed but what the token's fingerprint proves.

    Attributes:
        authority: the certificate of the authority in PEM.
        now_seconds: the hub's clock, POSIX time; a machine whose clock is far off refuses to join.
    """

    authority: _Pem
    now_seconds: Annotated[float, Between(0, 253_402_300_799)]


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRefusal:
    """Any other answer: why not, as a stable slug and as a sentence with the way out."""

    reason: Annotated[str, AtMost(64)]
    message: Annotated[str, AtMost(1024)]


JOIN_REQUEST: Final = Codec(JoinRequest, max_bytes=MAX_JOIN_BYTES)
RENEW_REQUEST: Final = Codec(RenewRequest, max_bytes=MAX_JOIN_BYTES)
RECEIVED_REQUEST: Final = Codec(ReceivedRequest, max_bytes=MAX_JOIN_BYTES)
JOIN_ANSWER: Final = Codec(JoinAnswer, max_bytes=4 * MAX_JOIN_BYTES)
RECEIVED_ANSWER: Final = Codec(ReceivedAnswer, max_bytes=MAX_JOIN_BYTES)
AUTHORITY_ANSWER: Final = Codec(AuthorityAnswer, max_bytes=MAX_JOIN_BYTES)
JOIN_REFUSAL: Final = Codec(JoinRefusal, max_bytes=MAX_JOIN_BYTES)
