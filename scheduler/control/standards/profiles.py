"""The ClusterProfiles that the hub has, and those that it should have: one for each site."""

from dataclasses import dataclass, field

from scheduler.control.ports.hub import NAMESPACE, SITES, HubError, Object
from scheduler.control.standards.cluster_profile import (
    cluster_profile,
    granted_class,
    manager_of,
    profile_content,
    status_content,
    urgent_content,
)
from scheduler.control.standards.names import CLUSTER_PROFILES, fingerprint
from scheduler.control.standards.requests import StandardRequests
from scheduler.control.state.objects import HubObjects
from scheduler.model.kinds.fields import DataClass
from scheduler.model.kinds.site import Site
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

FIGURES_SECONDS = 60.0
"""Time between two writes of the figures of one site; what is urgent is written at once."""
_SLICE = 500
"""So many sites are looked at before others have a turn."""


@dataclass(slots=True)
class _WrittenProfile:
    """A ClusterProfile as the hub has it, and the site that it was made of.

    Attributes:
        content: fingerprint of all but the status.
        status: fingerprint of the status; None: not known.
        at_seconds: when the status was written last.
        site: the site that was compared last; None: none yet.
        urgent: what of the site is shown at once.
        has_new_figures: the site changed since the status was written.
    """

    content: int
    status: int | None = None
    at_seconds: float = float("-inf")
    site: Site | None = None
    urgent: tuple[object, ...] | None = None
    has_new_figures: bool = False


@dataclass(slots=True, kw_only=True)
class ProfileMirror:
    """Keeps the ClusterProfiles in `kapok-system` as the sites are.

    Attributes:
        objects: the sites and grants.
        requests: writes to the hub.
        clock: for grants that begin and end, and for the intervals.
        faults: handles the faults that single sites cause.
        manager: names this hub among all cluster managers.
        referable: the sites that exist and have a profile of ours.
        version: changes with `referable`.
    """

    objects: HubObjects
    requests: StandardRequests
    clock: Clock
    faults: Faults
    manager: str
    referable: frozenset[str] = frozenset()
    version: int = 0
    _written: dict[str, _WrittenProfile] = field(default_factory=dict)
    _foreign: set[str] = field(default_factory=set)

    def forget(self) -> None:
        """Knows nothing of the hub any more: the kind is not served."""
        self._written.clear()
        self._foreign.clear()
        self.update_referable()

    async def list_written(self) -> None:
        """Compares with what the hub has; of another manager's profiles only the names are kept.

        Raises:
            HubError: the hub does not list them.
        """
        found: dict[str, _WrittenProfile] = {}
        foreign: set[str] = set()
        async for page in self.requests.hub.list_pages(CLUSTER_PROFILES):
            for body in page.items:
                meta = body["metadata"]
                if meta.get("namespace") != NAMESPACE:
                    continue
                if manager_of(body) != self.manager:
                    foreign.add(meta["name"])
                    continue
                found[meta["name"]] = self._as_listed(meta["name"], body)
            await self.clock.sleep(0)
        # What was written last stays last: figures are written in that order.
        ordered = sorted(found.items(), key=lambda one: one[1].at_seconds)
        self._written, self._foreign = dict(ordered), foreign

    def _as_listed(self, name: str, body: Object) -> _WrittenProfile:
        known = self._written.get(name)
        return _WrittenProfile(
            content=fingerprint(profile_content(body)),
            status=fingerprint(status_content(body)),
            at_seconds=known.at_seconds if known else float("-inf"),
        )

    async def write_changed(self) -> None:
        """Writes the profiles that are missing, and what is urgent of the others.

        Raises:
            HubError: the hub does not serve the scheduler.
        """
        now = self.clock.now()
        for index, name in enumerate(list(self.objects.sites)):
            if index % _SLICE == 0:
                await self.clock.sleep(0)
                now = self.clock.now()
            site = self.objects.sites.get(name)
            if site is None:  # it went while others were written
                continue
            data_class = granted_class(self.objects.grants_of(name), now)
            known, urgent = self._written.get(name), urgent_content(site, data_class)
            if name in self._foreign or not self.faults.admits("standards", name):
                continue
            if known is not None and known.urgent == urgent:
                known.has_new_figures |= known.site is not site
                known.site = site
                continue
            await self._write_one(name, site, data_class)

    async def write_figures(self, until_seconds: float) -> None:
        """Writes figures that are due, those first that wait longest, until a monotonic time.

        Raises:
            HubError: the hub does not serve the scheduler.
        """
        for name, known in list(self._written.items()):
            now = self.clock.monotonic()
            if now >= until_seconds or known.at_seconds + FIGURES_SECONDS > now:
                return
            site = self.objects.sites.get(name)
            if site is None or not known.has_new_figures:
                continue
            grants = self.objects.grants_of(name)
            if self.faults.admits("standards", name):
                await self._write_one(name, site, granted_class(grants, self.clock.now()))

    async def delete_gone(self) -> None:
        """Deletes the profiles of sites that are gone, to which no decision refers any more.

        Raises:
            HubError: the hub does not serve the scheduler.
        """
        for name in [name for name in self._written if name not in self.referable]:
            if await self.requests.delete(CLUSTER_PROFILES, NAMESPACE, name):
                del self._written[name]

    def update_referable(self) -> None:
        """Takes in which sites decisions may refer to."""
        referable = frozenset(name for name in self._written if self._exists(name))
        if referable != self.referable:
            self.referable = referable
            self.version += 1

    def _exists(self, name: str) -> bool:
        # An object that cannot be decoded is not gone.
        return name in self.objects.sites or (SITES.kind, ("", name)) in self.objects.invalid

    async def _write_one(self, name: str, site: Site, data_class: DataClass | None) -> None:
        with self.faults.barrier("standards", name, passing=(HubError,)):
            body = cluster_profile(site, manager=self.manager, data_class=data_class)
            known = await self._write_content(name, body)
            if known is None or not await self._write_status(name, body, known):
                return
            known.site, known.urgent = site, urgent_content(site, data_class)

    async def _write_content(self, name: str, body: Object) -> _WrittenProfile | None:
        """Writes all but the status, which is a subresource; None: the hub refuses it."""
        content, known = fingerprint(profile_content(body)), self._written.get(name)
        if known is None or known.content != content:
            plain = {key: value for key, value in body.items() if key != "status"}
            if not await self.requests.apply(CLUSTER_PROFILES, plain, is_ours=known is not None):
                return None
        if known is None:
            known = self._written[name] = _WrittenProfile(content)
        known.content = content
        return known

    async def _write_status(self, name: str, body: Object, known: _WrittenProfile) -> bool:
        status = fingerprint(status_content(body))
        if known.status != status:
            plain = {key: value for key, value in body.items() if key != "spec"}
            meta = {key: body["metadata"][key] for key in ("name", "namespace")}
            if not await self.requests.apply(
                CLUSTER_PROFILES, {**plain, "metadata": meta}, is_ours=True, subresource="status"
            ):
                return False
            known.status = status
        known.at_seconds, known.has_new_figures = self.clock.monotonic(), False
        self._written[name] = self._written.pop(name)  # the last one
        return True
