"""Asks the hub what the holder of a bearer token may read.

The question is a SelfSubjectAccessReview, sent with that token and without the scheduler's own
credentials. The dashboard therefore accepts the tokens that the hub accepts, with the same rights,
and never lends out rights of the scheduler.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from scheduler.control.ports.access import AccessAnswer, AccessQuestion, AccessReviewer
from scheduler.hub.kubeconfig import read_configuration, ssl_context_of

_TIMEOUT_SECONDS: Final = 10.0
_REVIEW_PATH: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def access_review(question: AccessQuestion) -> dict[str, object]:
    """The question as an object of the hub."""
    attributes = {"group": "kapok.dev", "resource": question.resource, "verb": question.verb}
    if question.namespace:
        attributes["namespace"] = question.namespace
    if question.subresource:
        attributes["subresource"] = question.subresource
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }


@asynccontextmanager
async def open_reviewer(
    kubeconfig: Path | None, *, context: str | None = None
) -> AsyncIterator[AccessReviewer]:
    """Yields the function that asks the hub.

    Raises:
        Refused: the kubeconfig is missing or invalid.
    """
    configuration = await read_configuration(kubeconfig, context)
    root = str(configuration.host).rstrip("/")
    # With a client certificate the hub would answer for the scheduler instead of the token.
    tls = ssl_context_of(configuration, with_certificate=False)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls, limit=4),
        timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS),
    ) as session:

        async def review(token: str, question: AccessQuestion) -> AccessAnswer:
            if not token.isascii() or not token.isprintable():
                return "unauthenticated"
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            body = msgspec.json.encode(access_review(question))
            try:
                async with session.post(root + _REVIEW_PATH, data=body, headers=headers) as answer:
                    return _read(answer.status, await answer.read())
            except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError):
                return "unanswered"

        yield review


def _read(status: int, body: bytes) -> AccessAnswer:
    """The answer of the hub; one that is not understood gives no right."""
    if status == HTTPStatus.UNAUTHORIZED:
        return "unauthenticated"
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "unanswered"
    if status != HTTPStatus.CREATED:
        return "denied"
    found = msgspec.json.decode(body)
    answered = found.get("status") if isinstance(found, dict) else None
    is_allowed = isinstance(answered, dict) and answered.get("allowed") is True
    return "allowed" if is_allowed else "denied"
