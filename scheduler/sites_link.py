"""The way to the sites and back: whose keys count, what arrives, the session with the broker."""

import random
from collections.abc import Callable
from typing import Protocol

from scheduler.control.standby import Standby
from scheduler.control.state.objects import HubObjects
from scheduler.key_rotation.announcer import KeyAnnouncer
from scheduler.mqtt.ingest import Ingest
from scheduler.mqtt.keyring import Keyring
from scheduler.mqtt.order_publisher import OrderPublisher
from scheduler.mqtt.outbox import Outbox
from scheduler.mqtt.questions.site_questions import SiteQuestions
from scheduler.mqtt.receiver import Receiver
from scheduler.mqtt.session import BrokerSession
from scheduler.mqtt.site_asker import SiteAsker
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults
from scheduler.services import Services
from scheduler.web.metrics import Metrics


class SitesConnection(Protocol):
    """The way to the sites; `scheduler.mqtt.session` implements it."""

    @property
    def is_connected(self) -> bool:
        """Whether messages come and go now."""
        ...

    @property
    def connected_since_seconds(self) -> float | None:
        """Since when, on the monotonic clock; None: they do not."""
        ...

    async def run(self) -> None:
        """Receives and sends until cancelled."""
        ...


OpenConnection = Callable[[Receiver, Outbox, Callable[[], None]], SitesConnection]
"""Makes the way to the sites: it hands what arrives to the receiver, and sends what the outbox
holds; the function is called each time it is connected."""


class SitesLink:
    """What receives the messages of sites and sends what the outbox holds.

    Args:
        services: the broker's address, what was received before, and who joins.
        reserved: names that no site has.
        objects: the sites and their keys.
        standby: receives what sites say while no term has begun.
        asker: asks sites for proofs that they are there.
        publisher: asks sites for reports.
        questions: what sites are asked about single orders.
        outbox: what is to be sent.
        announcer: receives which keys agents trust; None: no keys are announced.
        epoch: that of the term.
        clock: the time.
        metrics: the counters.
        faults: handles the faults of single messages.
        jitter: the random numbers of pauses.
        open_connection: makes the way to the sites; None: a session with the broker.
    """

    def __init__(
        self,
        *,
        services: Services,
        reserved: frozenset[str],
        objects: HubObjects,
        standby: Standby,
        asker: SiteAsker,
        publisher: OrderPublisher,
        questions: SiteQuestions,
        outbox: Outbox,
        announcer: KeyAnnouncer | None,
        epoch: Callable[[], int],
        clock: Clock,
        metrics: Metrics,
        faults: Faults,
        jitter: random.Random,
        open_connection: OpenConnection | None,
    ) -> None:
        self._joining, self._objects, self._asker = services.joining, objects, asker
        self._publisher, self._epoch, self._clock = publisher, epoch, clock
        self.keyring = Keyring(reserved)
        self.ingest = Ingest(
            keyring=self.keyring,
            listener=standby,
            telemetry=metrics,
            clock=clock,
            faults=faults,
            asker=asker,
            received=services.received,
            questions=questions,
        )
        if announcer:
            self.ingest.on_trusted_keys = announcer.note_trusted
        self.receiver = Receiver(ingest=self.ingest, telemetry=metrics, clock=clock, faults=faults)

        def open_session(
            receiver: Receiver, outbox: Outbox, on_connected: Callable[[], None]
        ) -> SitesConnection:
            return BrokerSession(
                address=services.broker_address,
                receiver=receiver,
                outbox=outbox,
                clock=clock,
                jitter=jitter,
                on_connected=on_connected,
                faults=faults,
            )

        self.session = (open_connection or open_session)(
            self.receiver, outbox, self._on_broker_connected
        )

    def _on_broker_connected(self) -> None:
        self.ingest.listener.on_broker_connected()

    def admit_keys(self, name: str) -> None:
        """Takes messages of a site by the keys that its object names now."""
        site = self._objects.sites.get(name)
        if site is None:
            self.keyring.forget(name)
            self.receiver.forget(name)
            self._asker.forget(name)
            self._note_keys_changed()
            return
        self._asker.admit(name)
        if self.keyring.admit(name, site.spec.delivery.agent_keys):
            self.receiver.forget(name)
            self._note_keys_changed()

    def _note_keys_changed(self) -> None:
        """A site whose keys change may have been revoked: the broker reads it too."""
        if self._joining:
            self._joining.note_keys_changed()

    async def request_full_reports(self) -> None:
        """Requests a full report from sites whose deltas cannot be applied without one."""
        while True:
            await self._clock.sleep(0.5)
            while self.ingest.sites_needing_full_report:
                site = self.ingest.sites_needing_full_report.pop()
                self._publisher.request_reports(
                    site, self._epoch(), want_status=False, want_report=True
                )
