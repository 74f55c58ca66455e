"""Asks the hub whether a bearer token grants the right to read what the dashboard shows.

The question is a SelfSubjectAccessReview, sent with that token and without the scheduler's own
credentials. The dashboard therefore accepts the tokens that the hub accepts, with the same rights,
and never lends out rights of the scheduler.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Final, Protocol

import aiohttp
import msgspec

from scheduler.hub.kubeconfig import read_configuration, ssl_context_of

_TIMEOUT_SECONDS: Final = 10.0
_REVIEW_PATH: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class AccessReviewer(Protocol):
    """Asks the hub what the holder of a token may do."""

    async def __call__(
        self, token: str, namespace: str, subresource: str = "", resource: str = "workloads"
    ) -> bool:
        """Whether the holder may read objects; False when the hub does not answer.

        Args:
            token: the token.
            namespace: whose objects are read; "": those of all namespaces.
            subresource: of workloads, such as `log`; "": the workloads themselves.
            resource: the kind, in the plural.
        """
        ...


def access_review(
    namespace: str = "", subresource: str = "", resource: str = "workloads"
) -> dict[str, object]:
    """The question: may the caller list objects in all namespaces, or get those of one?"""
    scope = {"verb": "get", "namespace": namespace} if namespace else {"verb": "list"}
    if subresource:
        scope["subresource"] = subresource
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"group": "kapok.dev", "resource": resource, **scope}},
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

        async def may_read(
            token: str, namespace: str, subresource: str = "", resource: str = "workloads"
        ) -> bool:
            if not token.isascii() or not token.isprintable():
                return False
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            body = msgspec.json.encode(access_review(namespace, subresource, resource))
            try:
                async with session.post(root + _REVIEW_PATH, data=body, headers=headers) as answer:
                    if answer.status != HTTPStatus.CREATED:
                        return False
                    found = msgspec.json.decode(await answer.read())
            except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError):
                return False
            status = found.get("status") if isinstance(found, dict) else None
            return isinstance(status, dict) and status.get("allowed") is True

        yield may_read
