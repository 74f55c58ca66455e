"""Whatever becomes of messages, a site works by an index that was its plan, and ends at the newest.

The hub's dispatcher and publisher and the agent's intake are the real ones; between them is a
broker that loses, repeats, reorders and rolls back what it retains.
"""

import random
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given, settings
from hypothesis import strategies as st

from agents.orders.intake import Intake
from agents.orders.journal import Journal
from agents.protocol.errors import WireError
from agents.protocol.keys import SigningKey, TrustedKeys
from scheduler.control.orders.dispatch import Dispatcher
from scheduler.control.ports.agents import OrderForSite, OrderStatusReport
from scheduler.mqtt.order_publisher import OrderPublisher
from scheduler.mqtt.outbox import Outbox
from tests.support.fake_clock import FakeClock
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry

KEY = SigningKey(bytes(range(32)))
DESIRED, DELTA = "kapok/v1/m1/desired", "kapok/v1/m1/desired/delta"
REPEAT_SECONDS = 5.0
MANY = 120
"""Orders that are always there, so that the index is large enough for deltas."""

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 9), st.integers(1, 3)),
        st.tuples(st.just("remove"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("burst"), st.integers(0, MANY - 1), st.integers(1, 60)),
        st.tuples(
            st.sampled_from(["publish", "deliver", "status", "forget_journal"]), *[st.just(0)] * 2
        ),
        st.tuples(st.sampled_from(["lose", "repeat", "roll back"]), st.integers(0, 9), st.just(0)),
        st.tuples(
            st.sampled_from(["reconnect", "restart", "new leader", "old agent", "new session"]),
            *[st.just(0)] * 2,
        ),
    ),
    max_size=40,
)


class World:
    """One hub, one broker, one site."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.journals = folder, 0
        self.clock, self.outbox = FakeClock(), Outbox()
        self.takes_deltas, self.epoch = True, 0
        self.generations: dict[str, int] = {}
        self.planned: dict[tuple[int, int], frozenset[tuple[str, int]]] = {}
        self.sent: list[tuple[str, bytes]] = []
        self.waiting: list[tuple[str, bytes]] = []
        self.retained: dict[str, bytes] = {}
        self.is_faithful = True
        self.start_hub()
        self.forget_journal()
        for number in range(MANY):
            self.set(f"w{number:03}x", 1)
        self.status()

    # ------------------------------------------------------------ the hub

    def start_hub(self) -> None:
        """A new leader, which knows the plan from the objects alone."""
        self.epoch += 1
        self.publisher = OrderPublisher(key=KEY, outbox=self.outbox)
        self.dispatcher = Dispatcher(
            publisher=self.publisher,
            clock=self.clock,
            telemetry=NullTelemetry(),
            repeat_seconds=REPEAT_SECONDS,
            on_higher_epoch=lambda epoch: self.raise_epoch(epoch + 1),
            on_refusal=lambda _key: None,
            faults=make_faults(self.clock),
        )
        self.dispatcher.admit("m1", "u")
        self.dispatcher.start_epoch(self.epoch)
        self.dispatcher.start_publishing()
        for name, generation in dict(self.generations).items():
            self.set(name, generation)

    def raise_epoch(self, epoch: int) -> None:
        self.epoch = epoch
        self.dispatcher.start_epoch(epoch)

    def set(self, name: str, generation: int) -> None:
        self.generations[name] = generation
        order = OrderForSite(
            id=f"kapok/n/{name}/abcdefghij",
            generation=generation,
            namespace="n",
            name=name,
            manifests=(),
        )
        self.dispatcher.set_orders(("n", name), {"m1": order})

    def remove(self, name: str) -> None:
        if self.generations.pop(name, None):
            self.dispatcher.set_orders(("n", name), {})

    def publish(self) -> None:
        before = self.dispatcher.sequence
        self.dispatcher.flush()
        if self.dispatcher.sequence != before:
            version = (self.dispatcher.epoch, self.dispatcher.sequence)
            self.planned[version] = frozenset(self.generations.items())
        for message in list(self.outbox._waiting.values()):  # noqa: SLF001 - without waiting
            if message.topic in (DESIRED, DELTA):
                payload = message.seal() if message.seal else message.payload
                self.sent.append((message.topic, payload))
                self.waiting.append((message.topic, payload))
                self.retained[message.topic] = payload
        self.outbox._waiting.clear()  # noqa: SLF001 - as above

    # ------------------------------------------------------------ the site

    def forget_journal(self) -> None:
        """The agent's disk is lost."""
        self.journals += 1
        self.restart()
        # A broker that retains what it was given leads even this site to nothing of the past.
        self.newest = max(self.planned, default=(0, 0)) if self.is_faithful else (0, 0)

    def restart(self) -> None:
        self.intake = Intake(
            site="m1",
            trusted_keys=TrustedKeys([KEY.public]),
            journal=Journal(self.folder / f"{self.journals}.sqlite"),
        )
        self.reconnect()

    def reconnect(self) -> None:
        """What is retained arrives, and nothing that was under way."""
        self.waiting = [(topic, self.retained[topic]) for topic in self.retained]
        if self.dispatcher.sequence % 2:
            self.waiting.reverse()  # some brokers deliver them in another order

    def deliver(self) -> None:
        for topic, payload in self.waiting:
            if payload:
                self.hear(topic, payload)
        self.waiting = []

    def hear(self, topic: str, payload: bytes) -> None:
        try:
            if topic == DESIRED:
                self.intake.accept_index(payload)
            else:
                self.intake.accept_delta(payload)
        except WireError:
            pass
        self.check()

    def status(self) -> None:
        echo = self.intake.echo
        self.dispatcher.on_order_status(
            OrderStatusReport(
                site="m1",
                site_uid="u",
                version=(echo.epoch, echo.sequence) if echo else None,
                digest=echo.digest if echo else "",
                orders={},
                agent="main",
                takes_deltas=self.takes_deltas,
                wants_full_index=self.intake.wants_full_index,
            )
        )

    # ------------------------------------------------------------ what must hold

    def runs(self) -> frozenset[tuple[str, int]]:
        entries = self.intake.index.orders if self.intake.index else ()
        return frozenset((entry.id.split("/")[2], entry.generation) for entry in entries)

    def check(self) -> None:
        """It works by a plan that the hub had at that version, and goes back in no case."""
        index = self.intake.index
        if index is None:
            return
        assert self.runs() == self.planned[index.version]
        assert index.version >= self.newest
        self.newest = index.version

    def settle(self) -> None:
        """After some quiet rounds the site works by the plan."""
        for _ in range(6):
            self.clock._seconds += REPEAT_SECONDS + 1  # noqa: SLF001 - time passes
            self.status()
            self.publish()
            self.deliver()
        self.status()
        plan = self.dispatcher.plans["m1"]
        assert plan.is_echoed
        assert self.runs() == frozenset(self.generations.items())

    def take(self, word: str, number: int, count: int) -> None:
        """Does one step."""
        if word in ("set", "remove", "burst"):
            self.change(word, number, count)
        elif word in ("lose", "repeat", "roll back"):
            self.disturb(word, number)
        elif word == "new leader":
            self.start_hub()
        elif word == "old agent":
            self.takes_deltas = not self.takes_deltas
        elif word == "new session":
            self.dispatcher.republish_all()
        else:
            getattr(self, word)()

    def change(self, word: str, number: int, count: int) -> None:
        """Changes the plan."""
        if word == "set":
            self.set(f"v{number}", count)
        elif word == "remove":
            self.remove(f"v{number}")
        else:
            for each in range(number, min(number + count, MANY)):
                self.set(f"w{each:03}x", self.generations[f"w{each:03}x"] + 1)

    def disturb(self, word: str, number: int) -> None:
        """Does what a broker must not do to messages."""
        if word == "lose":
            self.waiting = self.waiting[number:]
        elif self.sent:
            self.is_faithful = False
            topic, payload = self.sent[-1 - number % len(self.sent)]
            if word == "roll back":
                self.retained[topic] = payload
            self.waiting.append((topic, payload))
            random.Random(number).shuffle(self.waiting)  # noqa: S311 - no secret


def _lost_disk(changes: int) -> list[tuple[str, int, int]]:
    """A site whose disk is lost after some changes, whose order of messages depends on how many."""
    each = [("set", 1, 1), ("publish", 0, 0), ("deliver", 0, 0)]
    more = [("set", 2, 1), ("publish", 0, 0), ("set", 3, 1), ("publish", 0, 0)]
    return [*each, *more[: 2 * changes], ("forget_journal", 0, 0), ("deliver", 0, 0)]


@settings(max_examples=15, deadline=None)
@example(_lost_disk(1))
@example(_lost_disk(2))
@given(STEPS)
def test_a_site_works_by_plans_of_the_hub_alone_and_ends_at_the_newest(
    steps: list[tuple[str, int, int]],
) -> None:
    with TemporaryDirectory() as folder:
        world = World(Path(folder))
        world.publish()
        world.deliver()
        for step in steps:
            world.take(*step)
        world.settle()
        world.intake.journal.close()
