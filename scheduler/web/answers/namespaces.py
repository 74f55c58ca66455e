"""Which namespaces a request may see: all for who may list all workloads, else one by one."""

from collections.abc import Callable, Iterable

from aiohttp import web

from scheduler.web.auth import bearer_token_of
from scheduler.web.sessions import Sessions


class NamespaceRights:
    """Answers by reviews of the hub, which `Sessions` keeps for a short time.

    Args:
        sessions: asks for the rights of tokens.
        namespaces: gives the namespaces that hold workloads.
    """

    def __init__(self, sessions: Sessions, namespaces: Callable[[], Iterable[str]]) -> None:
        self._sessions, self._namespaces = sessions, namespaces

    async def may_see_namespace(self, request: web.Request, namespace: str) -> bool:
        """Whether a request may see the workloads of a namespace, if it holds any or not."""
        token = bearer_token_of(request)
        if await self._sessions.admits_token(token):
            return True
        return await self._sessions.admits_token(token, namespace)

    async def visible_namespaces(self, request: web.Request) -> frozenset[str] | None:
        """The namespaces whose workloads a request may see; None: all."""
        token = bearer_token_of(request)
        return (await self._sessions.sight_of(token, self._namespaces())).namespaces

    async def sees_fleet(self, request: web.Request) -> bool:
        """Whether a request may see what is about all tenants and sites."""
        token = bearer_token_of(request)
        sight = await self._sessions.sight_of(token, self._namespaces())
        return sight.is_all
