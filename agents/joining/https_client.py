"""Asks the hub over HTTPS with the standard library; every wait and every answer is bounded."""

import http.client
import ssl
from dataclasses import dataclass
from typing import Final

from agents.protocol.errors import WireError
from agents.protocol.joining.messages import (
    AUTHORITY_ANSWER,
    JOIN_REFUSAL,
    MAX_JOIN_BYTES,
    AuthorityAnswer,
)

_TIMEOUT_SECONDS: Final = 10.0
_MAX_ANSWER_BYTES: Final = 4 * MAX_JOIN_BYTES
_OK: Final = 200


class JoinFailed(Exception):
    """The machine could not join; the message says why and what to do.

    Attributes:
        reason: a slug of the hub, or "unreachable", "not-the-hub", "clock", "answer".
        may_retry: whether the same may succeed a little later.
    """

    def __init__(self, reason: str, message: str, *, may_retry: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.may_retry = may_retry


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinServer:
    """Where the hub is asked.

    Attributes:
        host: a name or an IP address.
        port: the TCP port.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def fetch_authority(self) -> AuthorityAnswer:
        """The authority that the server names; no server is trusted yet, so nothing secret is sent.

        Raises:
            JoinFailed: there is no answer, or it is no hub's.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        data = self._ask("GET", "/ca", None, context)
        try:
            return AUTHORITY_ANSWER.decode(data)
        except WireError:
            raise JoinFailed("not-the-hub", f"{self} answers, but is no hub of kapok") from None

    def post(self, path: str, body: bytes, authority: str) -> bytes:
        """The answer of a server whose certificate the authority has signed.

        Raises:
            JoinFailed: there is no answer, the server is another one, or it refuses.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(cadata=authority)
        return self._ask("POST", path, body, context)

    def _ask(self, method: str, path: str, body: bytes | None, context: ssl.SSLContext) -> bytes:
        connection = http.client.HTTPSConnection(
            self.host, self.port, timeout=_TIMEOUT_SECONDS, context=context
        )
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            data = answer.read(_MAX_ANSWER_BYTES + 1)
        except ssl.SSLCertVerificationError as error:
            raise JoinFailed(
                "not-the-hub",
                f"{self} is not the hub of this token, or its clock or ours is wrong: "
                f"{error.verify_message}; nothing secret was sent",
            ) from None
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            what = str(error) or type(error).__name__
            raise JoinFailed(
                "unreachable",
                f"{self} does not answer: {what}; check the cable, the route and the firewall",
                may_retry=True,
            ) from None
        finally:
            connection.close()
        if len(data) > _MAX_ANSWER_BYTES:
            raise JoinFailed("answer", f"{self} answers with more than {_MAX_ANSWER_BYTES} bytes")
        if answer.status == _OK:
            return data
        raise _refusal_of(self, answer.status, data)


def _refusal_of(server: JoinServer, status: int, data: bytes) -> JoinFailed:
    try:
        refusal = JOIN_REFUSAL.decode(data)
    except WireError:
        return JoinFailed("answer", f"{server} answers with HTTP status {status}")
    printable = "".join(each if each.isprintable() else "?" for each in refusal.message)
    return JoinFailed(
        refusal.reason, printable, may_retry=refusal.reason in ("busy", "rate", "error")
    )
