"""Keeps the accesses to members by ClusterProfiles: runs plugins, and again before they expire.

A look at the hub never waits for a plugin. Each provider has threads of its own, so that one whose
plugin hangs delays no member of another.
"""

import http.client
import logging
import threading
from collections.abc import Container, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final

from agents.member.access import Access, AccessError
from agents.member.api import MemberApi, MemberApiError, quote_path_segment
from agents.push.cluster_profile import PROFILES, ProfileAccess, access_of_profile
from agents.push.credential_plugin import PLUGIN_SECONDS, Credential, run_plugin
from agents.push.kubeconfig import access_of_user
from agents.push.providers import AccessProvider
from agents.runtime.clock import AgentClock

_log = logging.getLogger(__name__)

_THREADS_OF_PROVIDER: Final = 4
_LEAST_PAUSE_SECONDS: Final = 10.0
_MOST_PAUSE_SECONDS: Final = 300.0
_REFRESH_SHARE: Final = 0.2
_REFRESH_SECONDS: Final = 30.0
_Key = tuple[str, str]


@dataclass(slots=True)
class _Member:
    """What is known of one profile.

    Attributes:
        target: how its cluster is reached; None: it cannot be.
        access: what is used now, or says its problem.
        problem: of the last run of the plugin.
        credential: the last that the plugin gave.
        refresh_at: when the wall clock says so, a new one is asked for.
        running: the plugin.
        next_run: no run before it, in monotonic seconds.
        failures: runs without a credential, since the last with one.
    """

    target: ProfileAccess | None
    access: Access
    problem: str = ""
    credential: Credential | None = None
    refresh_at: float | None = None
    running: Future[Credential] | None = None
    next_run: float = 0.0
    failures: int = 0


@dataclass(slots=True, kw_only=True)
class ProfileAccesses:
    """The accesses of all members that a ClusterProfile describes.

    Attributes:
        api: API of the hub.
        providers: of the operator, the preferred one first.
        clock: time as an input.
        plugin_seconds: the longest that a plugin may run.
    """

    api: MemberApi
    providers: Sequence[AccessProvider]
    clock: AgentClock
    plugin_seconds: float = PLUGIN_SECONDS
    _members: dict[_Key, _Member] = field(default_factory=dict, init=False)
    _pools: dict[str, ThreadPoolExecutor] = field(default_factory=dict, init=False)
    _forbidden: set[_Key] = field(default_factory=set, init=False)
    _stopped: threading.Event = field(default_factory=threading.Event, init=False)

    def access_of(self, key: _Key) -> Access:
        """The access by a profile; the same object as long as nothing has changed.

        Args:
            key: namespace and name of the ClusterProfile.

        Raises:
            MemberApiError: the hub does not answer; nothing is known of the profile.
        """
        source = f"ClusterProfile {key[0]}/{key[1]}"
        try:
            target = self._read_target(key, source)
        except AccessError as error:
            return self._end(key, str(error))
        member = self._members.get(key)
        if member is None or member.target != target:
            waiting = f"{source}: its credential plugin has not answered yet"
            before, member = member, _Member(target, _unusable(waiting))
            self._members[key] = member
            if before is not None:
                # Writing a profile again and again starts no plugin more often.
                member.next_run = before.next_run
                if before.running is not None:
                    before.running.cancel()
        return self._follow(member, target, source)

    def _read_target(self, key: _Key, source: str) -> ProfileAccess:
        """How the profile says that its cluster is reached.

        Raises:
            AccessError: it is gone, or its access cannot be used.
            MemberApiError: as `access_of`.
        """
        namespace, name = map(quote_path_segment, key)
        try:
            tree = self.api.find(PROFILES.format(namespace=namespace, name=name))
        except MemberApiError as error:
            if error.code != http.client.FORBIDDEN:
                raise
            kept = self._members.get(key)
            text = f"{source}: the hub forbids the push process to read it"
            if kept is None or kept.target is None:
                raise AccessError(text) from error
            if key not in self._forbidden:  # a right that was lost ends no access
                _log.warning("%s; what was read last is used", text)
            self._forbidden.add(key)
            return kept.target
        self._forbidden.discard(key)
        if tree is None:
            raise AccessError(f"{source}: not found on the hub, or its kind is not installed")
        return access_of_profile(tree, self.providers, source)

    def keep_only(self, wanted: Container[_Key | None]) -> None:
        """Forgets the profiles that no site names any more."""
        for key in [key for key in self._members if key not in wanted]:
            del self._members[key]
        self._forbidden &= self._members.keys()

    def close(self) -> None:
        """Kills the plugins that run, and starts none any more."""
        self._stopped.set()
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def _end(self, key: _Key, problem: str) -> Access:
        member = self._members.get(key)
        if member is None or member.access.problem != problem:
            next_run = member.next_run if member is not None else 0.0
            member = self._members[key] = _Member(None, _unusable(problem), next_run=next_run)
        return member.access

    def _follow(self, member: _Member, target: ProfileAccess, source: str) -> Access:
        """Takes what a plugin gave, and runs it where a new credential is due."""
        if member.running is not None and member.running.done():
            self._take(member, member.running, target, source)
            member.running = None
        if member.running is None and self._is_due(member):
            member.running = self._pool_of(target.provider).submit(
                run_plugin,
                target.provider,
                target.cluster,
                target.config,
                seconds=self.plugin_seconds,
                stopped=self._stopped,
            )
            member.next_run = self.clock.monotonic() + _LEAST_PAUSE_SECONDS
        credential = member.credential
        is_over = credential is not None and _is_over(credential, self._wall_seconds())
        if is_over or (credential is None and member.problem):
            words = member.problem or f"{source}: its credentials have expired"
            if member.access.problem != words:
                member.access = _unusable(words)
        return member.access

    def _take(
        self, member: _Member, done: Future[Credential], target: ProfileAccess, source: str
    ) -> None:
        now = self._wall_seconds()
        try:
            credential = _not_expired(done.result(), now, target.provider)
            access = access_of_user(target.cluster, credential.user, source)
        except Exception as error:  # noqa: BLE001 - whatever a plugin does, the others go on
            words = str(error) if isinstance(error, AccessError) else type(error).__name__
            words = words if words.startswith(source) else f"{source}: {words}"
            if words != member.problem:
                _log.warning("%s", words)
            member.problem = words
            member.failures += 1
            pause = _LEAST_PAUSE_SECONDS * 2 ** min(member.failures - 1, 8)
            member.next_run = self.clock.monotonic() + min(pause, _MOST_PAUSE_SECONDS)
            return
        member.problem, member.failures = "", 0
        member.credential = credential
        member.next_run = self.clock.monotonic() + _LEAST_PAUSE_SECONDS
        member.refresh_at = None
        if credential.expires_at is not None:
            left = credential.expires_at - now
            ahead = min(max(_REFRESH_SHARE * left, _REFRESH_SECONDS), left / 2)
            member.refresh_at = credential.expires_at - ahead
        member.access = replace(access, refused=threading.Event())

    def _is_due(self, member: _Member) -> bool:
        if self.clock.monotonic() < member.next_run:
            return False
        if member.credential is None or member.access.problem:
            return True
        if member.access.refused is not None and member.access.refused.is_set():
            return True
        return member.refresh_at is not None and self._wall_seconds() >= member.refresh_at

    def _wall_seconds(self) -> float:
        return self.clock.now().timestamp()

    def _pool_of(self, provider: AccessProvider) -> ThreadPoolExecutor:
        if provider.name not in self._pools:
            self._pools[provider.name] = ThreadPoolExecutor(
                _THREADS_OF_PROVIDER, thread_name_prefix="plugin"
            )
        return self._pools[provider.name]


def _is_over(credential: Credential, now: float) -> bool:
    return credential.expires_at is not None and credential.expires_at <= now


def _not_expired(credential: Credential, now: float, provider: AccessProvider) -> Credential:
    if _is_over(credential, now):
        raise AccessError(
            f"access provider {provider.name!r}: the plugin's credentials had expired when it gave "
            "them; compare its clock with that of this machine"
        )
    return credential


def _unusable(problem: str) -> Access:
    return Access(host="", port=0, problem=problem)
