"""Large contents are made in a thread, and nothing that needs one goes out before it."""

import asyncio
import base64
import threading
from dataclasses import replace

import pytest

from agents.protocol.keys import SigningKey
from agents.protocol.sealing.box import SealingKey
from scheduler.control.orders.dispatch import Dispatcher
from scheduler.control.ports.agents import OrderForSite, OrderState, OrderStatusReport
from scheduler.mqtt.order_publisher import OrderPublisher
from scheduler.mqtt.outbox import Outbox
from scheduler.runtime.clock import SystemClock
from tests.support.faults import make_faults
from tests.support.null_telemetry import NullTelemetry

SECRET, WEB = "hub/ns/secret:db/along", "hub/ns/app/1"
SITE_KEY = SealingKey(bytes(range(32)))


def secret_order(size: int) -> OrderForSite:
    value = base64.b64encode(bytes(size)).decode()
    tree: dict[str, object] = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}}
    tree["data"] = {"k": value}
    return OrderForSite(
        id=SECRET, generation=1, namespace="ns", name="secret:db", manifests=(), secrets=(tree,)
    )


def web_order() -> OrderForSite:
    tree: dict[str, object] = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
    return OrderForSite(
        id=WEB, generation=1, namespace="ns", name="app", manifests=(tree,), needs=(SECRET,)
    )


class Publisher(OrderPublisher):
    """Notes the thread in which each content is made, and what each index lists."""

    def _prepare(self, site: str, order: OrderForSite):  # type: ignore[no-untyped-def] # noqa: ANN202
        MADE.append((order.id, threading.current_thread() is threading.main_thread()))
        if order.secrets and FAULTS:
            raise FAULTS.pop()
        return super()._prepare(site, order)

    def publish_index(self, site, site_uid, version, orders, **words):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN003, ANN201
        LISTED.append(set(orders))
        return super().publish_index(site, site_uid, version, orders, **words)


MADE: list[tuple[str, bool]] = []
LISTED: list[set[str]] = []
FAULTS: list[Exception] = []


@pytest.fixture
def dispatcher() -> Dispatcher:
    for noted in (MADE, LISTED, FAULTS):
        noted.clear()
    clock = SystemClock()
    made = Dispatcher(
        publisher=Publisher(
            key=SigningKey(bytes(range(32))),
            outbox=Outbox(),
            sealing_key_of=lambda _: SITE_KEY.public,
        ),
        clock=clock,
        telemetry=NullTelemetry(),
        repeat_seconds=0.0,
        on_higher_epoch=lambda _: None,
        on_refusal=lambda _: None,
        faults=make_faults(clock),
    )
    made.admit("m1", "u")
    made.start_epoch(7)
    made.start_publishing()
    return made


def report(*orders: str, missing: tuple[str, ...] = ()) -> OrderStatusReport:
    states = {one: OrderState(id=one, generation=1, phase="Ready") for one in orders}
    return OrderStatusReport(
        site="m1", site_uid="u", version=None, digest="", orders=states, missing=missing
    )


async def run_until(dispatcher: Dispatcher, wanted: set[str]) -> None:
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        task = group.create_task(dispatcher.run())
        while not LISTED or LISTED[-1] != wanted:
            await SystemClock().sleep(0.005)
        task.cancel()


@pytest.mark.timeout(60)
async def test_what_needs_a_large_content_goes_out_with_it(dispatcher: Dispatcher) -> None:
    other = replace(web_order(), id="hub/ns/other/1", name="other", needs=())
    dispatcher.set_orders(("ns", "other"), {"m1": other})
    dispatcher.set_orders(("ns", "app"), {"m1": web_order()})
    dispatcher.set_orders(("ns", "secret:db"), {"m1": secret_order(500_000)})
    dispatcher.on_order_status(report())
    await run_until(dispatcher, {SECRET, WEB, other.id})
    assert LISTED[0] == {other.id}
    assert (SECRET, False) in MADE
    assert (SECRET, True) not in MADE


@pytest.mark.timeout(60)
async def test_what_a_site_runs_is_listed_in_its_first_index(dispatcher: Dispatcher) -> None:
    dispatcher.set_orders(("ns", "app"), {"m1": web_order()})
    dispatcher.set_orders(("ns", "secret:db"), {"m1": secret_order(500_000)})
    dispatcher.on_order_status(report(SECRET, WEB))
    await run_until(dispatcher, {SECRET, WEB})
    assert LISTED[0] == {SECRET, WEB}


@pytest.mark.timeout(60)
async def test_a_content_that_is_small_goes_out_at_once(dispatcher: Dispatcher) -> None:
    dispatcher.set_orders(("ns", "secret:db"), {"m1": secret_order(500)})
    dispatcher.on_order_status(report())
    await run_until(dispatcher, {SECRET})
    assert MADE == [(SECRET, True)]


@pytest.mark.timeout(60)
async def test_a_large_content_that_a_site_lacks_is_made_again_in_a_thread(
    dispatcher: Dispatcher,
) -> None:
    dispatcher.set_orders(("ns", "secret:db"), {"m1": secret_order(500_000)})
    dispatcher.on_order_status(report())
    await run_until(dispatcher, {SECRET})
    MADE.clear()
    dispatcher.on_order_status(report(missing=(SECRET,)))
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        task = group.create_task(dispatcher.run())
        while not MADE:
            await SystemClock().sleep(0.005)
        task.cancel()
    assert MADE == [(SECRET, False)]


@pytest.mark.timeout(60)
async def test_a_fault_while_a_large_content_is_made_delays_nothing_else(
    dispatcher: Dispatcher,
) -> None:
    FAULTS[:] = [ValueError("first"), ValueError("second")]
    dispatcher.set_orders(("ns", "secret:db"), {"m1": secret_order(500_000)})
    dispatcher.set_orders(("ns", "app"), {"m1": replace(web_order(), needs=())})
    dispatcher.on_order_status(report())
    await run_until(dispatcher, {WEB})
    assert "the log has the fault" in dispatcher.refusal_at("m1", SECRET) or FAULTS
