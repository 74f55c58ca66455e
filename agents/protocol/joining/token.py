"""The token with which a machine joins as the agent of a site: one word of some 110 characters.

A token is `kapok1` and base32 (RFC 4648, lower case, no padding) of: the first 16 bytes of the
SHA-256 of the authority's certificate, a secret of 16 bytes, the port, the host, the site, and 4
bytes of a checksum that separates a mistyped token from a refused one. It has letters and digits
only, so that a double click selects it whole. Spaces, line ends, capitals and full-width letters of
an input method are taken too.
"""

import base64
import binascii
import re
import secrets
import unicodedata
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from agents.protocol.topics import is_site_name

PREFIX: Final = "kapok1"
SECRET_BYTES: Final = 16
FINGERPRINT_BYTES: Final = 16
_CHECK_BYTES: Final = 4
_MAX_TOKEN_CHARACTERS: Final = 2048
_HOST_PATTERN: Final = re.compile(r"[A-Za-z0-9.:-]{1,253}")
_LAST_PORT: Final = 65_535


class TokenError(ValueError):
    """The text is no token; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinToken:
    """What a technician needs to let one machine join.

    Attributes:
        host: where the hub is asked to join: a name or an IP address.
        port: the TCP port there.
        site: the name of the Site.
        secret: proves that an operator has invited; used once.
        fingerprint: the first bytes of the SHA-256 of the authority's certificate in DER.
    """

    host: str
    port: int
    site: str
    secret: bytes = field(repr=False)
    fingerprint: bytes

    def __str__(self) -> str:
        host, site = self.host.encode("ascii"), self.site.encode("ascii")
        body = b"".join(
            (
                self.fingerprint,
                self.secret,
                self.port.to_bytes(2, "big"),
                bytes((len(host),)),
                host,
                bytes((len(site),)),
                site,
            )
        )
        text = base64.b32encode(body + _check_of(body)).decode().rstrip("=").lower()
        return PREFIX + text


def parse_token(text: str) -> JoinToken:
    """Reads a token as a technician has typed or pasted it.

    Raises:
        TokenError: it is no token, or is cut short or mistyped.
    """
    if len(text) > _MAX_TOKEN_CHARACTERS:
        raise TokenError("this is too long for a token; copy the line that kapok site join prints")
    plain = "".join(unicodedata.normalize("NFKC", text).split()).lower()
    if not plain.startswith(PREFIX):
        raise TokenError(f"a token begins with {PREFIX}; copy the line that kapok site join prints")
    packed = plain.removeprefix(PREFIX).upper()
    try:
        data = base64.b32decode(packed + "=" * (-len(packed) % 8))
    except (binascii.Error, ValueError):
        raise TokenError("the token is damaged: copy it again, whole") from None
    body, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
    if len(data) <= _CHECK_BYTES or not secrets.compare_digest(_check_of(body), check):
        raise TokenError("the token is cut short or mistyped: copy it again, whole")
    return _parse_body(body)


def _parse_body(body: bytes) -> JoinToken:
    at = FINGERPRINT_BYTES + SECRET_BYTES
    try:
        port = int.from_bytes(body[at : at + 2], "big")
        host, rest = _take_text(body[at + 2 :])
        site, rest = _take_text(rest)
    except (IndexError, UnicodeDecodeError):
        raise TokenError("the token is damaged: ask for another one") from None
    if rest or not port or not _HOST_PATTERN.fullmatch(host) or not is_site_name(site):
        raise TokenError("the token is of another version of kapok: ask for another one")
    return JoinToken(
        host=host,
        port=port,
        site=site,
        secret=body[FINGERPRINT_BYTES:at],
        fingerprint=body[:FINGERPRINT_BYTES],
    )


def _take_text(data: bytes) -> tuple[str, bytes]:
    size = data[0]
    if len(data) < 1 + size:
        raise IndexError
    return data[1 : 1 + size].decode("ascii"), data[1 + size :]


def _check_of(body: bytes) -> bytes:
    return sha256(b"kapok-join-token\n" + body).digest()[:_CHECK_BYTES]


def hash_of_secret(secret: bytes) -> str:
    """What the hub keeps of a token: SHA-256 in hex, which names the invitation."""
    return sha256(b"kapok-join-secret\n" + secret).hexdigest()


def secret_text(secret: bytes) -> str:
    """A secret as it is written in requests."""
    return base64.b32encode(secret).decode()


def parse_secret(text: str) -> bytes | None:
    """The secret of a request; None if it is none."""
    try:
        data = base64.b32decode(text)
    except (binascii.Error, ValueError):
        return None
    return data if len(data) == SECRET_BYTES else None
