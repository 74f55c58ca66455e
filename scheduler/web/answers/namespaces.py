"""Which namespaces a request may see: all for who may list all workloads, else one by one."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from aiohttp import web

from scheduler.web.auth import bearer_token_of
from scheduler.web.sessions import Sessions

MAX_NAMESPACES: Final = 256
"""Of so many namespaces the right is asked for one request, by name; the others are not shown."""


class NamespaceRights:
    """Answers by reviews of the hub, which sessions keep for a short time.

    Args:
        sessions: asks for the rights of tokens.
        namespaces: gives the namespaces that hold workloads.
    """

    def __init__(self, sessions: Sessions, namespaces: Callable[[], Iterable[str]]) -> None:
        self._sessions, self._namespaces = sessions, namespaces

    async def may_see_namespace(self, request: web.Request, namespace: str) -> bool:
        """Whether a request may see the workloads of a namespace."""
        token = bearer_token_of(request)
        if not token or await self._sessions.admits_token(token):
            return True  # a session is given to those who may list all workloads
        return await self._sessions.admits_token(token, namespace)

    async def visible_namespaces(self, request: web.Request) -> frozenset[str] | None:
        """The namespaces whose workloads a request may see; None: all."""
        token = bearer_token_of(request)
        if not token or await self._sessions.admits_token(token):
            return None
        names = sorted(set(self._namespaces()))[:MAX_NAMESPACES]
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(self._sessions.admits_token(token, one)) for one in names]
        return frozenset(name for name, one in zip(names, asked, strict=True) if one.result())
