"""What happens to sites, for operators: a line of the log and an Event on each Site concerned.

A site is admitted and removed, granted and no longer granted, silent and back.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from scheduler.control.events.recorder import EventRecorder
from scheduler.model.demand.facts import CLUSTER_UNREACHABLE
from scheduler.model.formatters import format_list, format_rfc3339
from scheduler.model.kinds.kinds import Site, SiteGrant

_log = logging.getLogger(__name__)

_MAX_LISTED = 12


@dataclass(slots=True, kw_only=True)
class SiteNotices:
    """Says what happened to sites.

    Attributes:
        events: writes the Events.
    """

    events: EventRecorder

    def admitted(self, site: Site) -> None:
        """A Site object appeared: what its agent sends counts from now on."""
        name = site.metadata.name
        _log.info("site %s is admitted", name, extra={"site": name})
        self.events.record(
            site, reason="Admitted", message="its agent's reports count now", is_warning=False
        )

    def removed(self, name: str) -> None:
        """A Site object is gone; no Event can be about it."""
        _log.info("site %s is no longer admitted: its Site is gone", name, extra={"site": name})

    def late(self, name: str, site: Site | None) -> None:
        """The reports of a site come later than they used to, and nothing else changes."""
        _log.info("site %s is late", name, extra={"site": name})
        if site is not None:
            message = "its reports are missing; nothing changes before it is silent"
            self.events.record(site, reason="Late", message=message, is_warning=False)

    def punctual(self, name: str, site: Site | None) -> None:
        """The reports of a late site come in time again."""
        _log.info("site %s reports in time again", name, extra={"site": name})
        if site is not None:
            message = "its reports come in time again"
            self.events.record(site, reason="Reporting", message=message, is_warning=False)

    def lost(self, name: str, site: Site | None, quiet_seconds: float) -> None:
        """A site was silent for so long that it counts as lost."""
        _log.warning(
            "site %s is lost: nothing for %.0f s", name, quiet_seconds, extra={"site": name}
        )
        if site is not None:
            message = "it is silent for so long that it counts as lost"
            self.events.record(site, reason="Lost", message=message, is_warning=True)

    def silent(self, name: str, site: Site | None) -> None:
        """A site sends nothing any more."""
        _log.warning("site %s is silent", name, extra={"site": name})
        if site is not None:
            self.events.record(
                site,
                reason="Silent",
                message="nothing is received of it; it gets no new work, and failover may begin",
                is_warning=True,
            )

    def cluster_unreachable(self, name: str, site: Site | None) -> None:
        """The agent of a site reports, and the API server of its cluster does not answer it."""
        text = "the API server of its cluster does not answer its agent"
        _log.warning("site %s: ClusterUnreachable: %s", name, text, extra={"site": name})
        if site is not None:
            message = f"{text}; it gets no new work, and what it runs stays"
            self.events.record(site, reason=CLUSTER_UNREACHABLE, message=message, is_warning=True)

    def returned(self, name: str, site: Site | None, silent_since: datetime | None) -> None:
        """A site reports: again, or first since this process began (`silent_since` is None)."""
        if silent_since is None:
            _log.info("site %s reports", name, extra={"site": name})
            return
        since = format_rfc3339(silent_since)
        text = f"it was silent since {since}"
        _log.info("site %s reports again; %s", name, text, extra={"site": name})
        if site is not None:
            self.events.record(site, reason="Returned", message=text, is_warning=False)

    def grant_changed(self, name: str, grant: SiteGrant | None, sites: Iterable[Site]) -> None:
        """A SiteGrant appeared, changed, began, lapsed or is gone.

        Args:
            name: of the grant.
            grant: as it is now; None: it is gone.
            sites: the sites that it names, or named.
        """
        now = self.events.clock.now()
        if grant is None:
            self._on_grant(name, "GrantEnded", "is gone", sites)
        elif grant.spec.valid_until is not None and grant.spec.valid_until <= now:
            self._on_grant(name, "GrantEnded", f"has lapsed{_until(grant)}", sites)
        elif grant.spec.valid_from is not None and grant.spec.valid_from > now:
            begin = format_rfc3339(grant.spec.valid_from)
            self._on_grant(name, "GrantPending", f"begins at {begin}", sites)
        else:
            spec = grant.spec
            text = f"holds: data class {spec.data_class}, protection level {spec.protection_level}"
            self._on_grant(name, "Granted", text + _until(grant), sites)

    def _on_grant(self, name: str, reason: str, text: str, sites: Iterable[Site]) -> None:
        concerned = sorted(sites, key=lambda one: one.metadata.name)
        names = [one.metadata.name for one in concerned]
        extra = {"grant": name} | ({"site": names[0]} if len(names) == 1 else {})
        _log.info(
            "grant %s of %s %s",
            name,
            format_list(names, _MAX_LISTED) or "no site",
            text,
            extra=extra,
        )
        for site in concerned:
            self.events.record(
                site,
                reason=reason,
                message=f"grant {name} {text}",
                is_warning=reason == "GrantEnded",
            )


def _until(grant: SiteGrant) -> str:
    until = grant.spec.valid_until
    return f", until {format_rfc3339(until)}" if until is not None else ""
