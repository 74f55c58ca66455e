"""Asks the hub whether the holder of a bearer token may read what our own page shows.

A SelfSubjectAccessReview, sent with that token and nothing of ours: whatever the hub accepts as a
token is accepted here, with the same rights, and no right of the scheduler's is lent to anybody.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from scheduler.hub.client import read_configuration, ssl_context_of

_TIMEOUT_SECONDS: Final = 10.0
_REVIEW_PATH: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_ACCESS_REVIEW: Final = {
    "apiVersion": "authorization.k8s.io/v1",
    "kind": "SelfSubjectAccessReview",
    "spec": {"resourceAttributes": {"group": "kapok.dev", "resource": "workloads", "verb": "list"}},
}
"""May you list workloads in all namespaces?"""


@asynccontextmanager
async def open_reviewer(
    kubeconfig: Path | None, *, context: str | None = None
) -> AsyncIterator[Callable[[str], Awaitable[bool]]]:
    """Gives the function that asks. When the hub cannot be asked, the answer is no.

    Raises:
        Refused: the kubeconfig is missing or does not make sense.
    """
    configuration = await read_configuration(kubeconfig, context)
    root = str(configuration.host).rstrip("/")
    # Our certificate would come before the token, and the hub would answer about us.
    tls = ssl_context_of(configuration, with_certificate=False)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls, limit=4),
        timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS),
    ) as session:

        async def may_read(token: str) -> bool:
            if not token.isascii() or not token.isprintable():
                return False
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            body = msgspec.json.encode(_ACCESS_REVIEW)
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
