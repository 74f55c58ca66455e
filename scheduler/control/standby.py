"""A scheduler that stands by: it follows the sites, and neither decides nor orders anything.

When it takes over, it decides on the sites that have reported so far instead of waiting for all.
"""

from dataclasses import dataclass, field, replace

from scheduler.control.ports.agents import OrderPublisherPort, OrderStatusReport, SiteReport
from scheduler.control.sites.sites import Sites
from scheduler.control.state.objects import HubObjects
from scheduler.runtime.clock import Clock


@dataclass(slots=True, kw_only=True)
class Standby:
    """Implements `scheduler.control.ports.agents.AgentEventHandler` while another one leads.

    Attributes:
        objects: the hub's Site objects; the others are read when this scheduler leads.
        sites: takes in what sites report.
        publisher: asks sites for reports, with this scheduler's own nonces.
        clock: for the time of listening.
        listening_since_seconds: when the present session with the broker began; None: there was
            none yet.
    """

    objects: HubObjects
    sites: Sites
    publisher: OrderPublisherPort
    clock: Clock
    listening_since_seconds: float | None = field(default=None, init=False)

    def on_site_changed(self, name: str) -> None:
        """Takes in a Site object that is new, changed or gone."""
        if name in self.objects.sites:
            is_new = name not in self.sites.states
            self.sites.admit(name)
            if is_new:
                self._request_reports(name)
        else:
            self.sites.forget(name)

    def on_report(self, report: SiteReport) -> None:
        """Keeps what a site has."""
        self.sites.on_report(report)

    def on_order_status(self, report: OrderStatusReport) -> None:
        """Keeps what a site says of its orders."""
        self.sites.on_order_status(replace(report, index_proof="", ledger_heads=()))

    def on_site_offline(self, site: str) -> None:
        """Notes that the session of a site ended."""
        self.sites.on_will(site)

    def on_unadmitted_site(self, site: str, public_key: str) -> None:
        """Does nothing: the leader lists these sites for an operator."""

    def on_broker_connected(self) -> None:
        """Asks all sites."""
        self.listening_since_seconds = self.clock.monotonic()
        for name in self.sites.states:
            self._request_reports(name)

    def _request_reports(self, name: str) -> None:
        # An epoch is a leader's; agents act on it in no request.
        self.publisher.request_reports(name, 0, want_status=True, want_report=True)
