"""Figures of Prometheus endpoints: what counts, what wraps, what is refused."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.config.settings import ExporterSettings, FigureSettings
from agents.protocol.report import ReportedPower
from agents.sensors.exporter import ExporterSensor, read_series
from agents.sensors.sensor import SensorError
from tests.support.fake_clock import FakeClock

COUNTER = FigureSettings(figure="energy_joules_total", series="kepler_node_cpu_joules_total")
KEPLER = b"""# HELP kepler_node_cpu_joules_total Energy
# TYPE kepler_node_cpu_joules_total counter
kepler_node_cpu_joules_total{zone="package",path="/sys/a"} %f
kepler_node_cpu_joules_total{zone="package",path="/sys/b"} %f
kepler_node_cpu_joules_total{zone="dram",path="/sys/c"} 99
kepler_node_cpu_joules_total_other 5
"""
UPS = b"""
snmp_upsOutputPower{upsOutputLineIndex="1"} 2000
snmp_upsOutputPower{upsOutputLineIndex="2"} 1000 1700000000
upsEstimatedChargeRemaining 87
pdu_total_watts 4.5e3
inverter_pv_watts 0
grid_gco2 441.9
"""


def sensor_of(*figures: FigureSettings, url: str = "http://127.0.0.1:1/metrics") -> ExporterSensor:
    settings = ExporterSettings(name="one", url=url, figures=figures)
    return ExporterSensor(settings, FakeClock())


def figure(name: str, series: str, **more: float) -> FigureSettings:
    return FigureSettings(figure=name, series=series, **more)  # type: ignore[arg-type]


def test_gauges_of_a_ups_an_inverter_and_a_meter() -> None:
    look = sensor_of(
        figure("power_watts", "snmp_upsOutputPower"),
        figure("battery_ratio", "upsEstimatedChargeRemaining", scale=0.01),
        figure("facility_watts", "pdu_total_watts"),
        figure("pv_watts", "inverter_pv_watts"),
        figure("intensity_gco2_per_kwh", "grid_gco2"),
    ).observe_page(UPS, 0.0)
    assert look.power == ReportedPower(watts=3000, origin="measured")
    assert look.battery_ratio == pytest.approx(0.87)
    assert (look.pue, look.pv_watts) == (1.5, 0.0)
    assert look.intensity is not None
    assert look.intensity.gco2_per_kwh == 441.9


def test_a_counter_becomes_power_by_its_increase() -> None:
    one = FigureSettings(figure=COUNTER.figure, series=COUNTER.series, labels=("zone=package",))
    sensor = sensor_of(one)
    assert sensor.observe_page(KEPLER % (100, 200), 0.0).power is None, "unknown, not 0"
    assert sensor.observe_page(KEPLER % (1100, 700), 10.0).power == ReportedPower(
        watts=150, origin="measured"
    )
    assert sensor.observe_page(KEPLER % (1100, 700), 20.0).power is None, "it has not measured"
    restarted = sensor.observe_page(KEPLER % (50, 150), 30.0).power
    assert restarted == ReportedPower(watts=20, origin="measured"), "counted from 0"


def test_a_counter_that_wraps_counts_on() -> None:
    sensor = sensor_of(figure("energy_joules_total", "j", wraps_at=1000))
    sensor.observe_page(b"j 990", 0.0)
    look = sensor.observe_page(b"j 10", 1.0)
    assert look.power == ReportedPower(watts=20, origin="measured")


def test_without_one_of_its_series_a_sum_is_unknown() -> None:
    sensor = sensor_of(figure("power_watts", "a"), figure("energy_joules_total", "b"))
    assert sensor.observe_page(b"a 100\nb 0", 0.0).power is None
    assert sensor.observe_page(b"a 100\nb 50", 1.0).power == ReportedPower(
        watts=150, origin="measured"
    )
    assert sensor.observe_page(b'a 100\nb{x="new"} 9', 2.0).power is None
    assert sensor.observe_page(b"a 100", 3.0).power is None
    too_many = b"\n".join(b'a{n="%d"} 1' % number for number in range(3_000))
    assert sensor_of(figure("power_watts", "a")).observe_page(too_many, 0.0).power is None


@pytest.mark.parametrize("page", [b"a -5", b"a 0", b"a NaN", b"a +Inf", b"a 1e300", b"a", b'a{x="'])
def test_what_is_implausible_is_unknown(page: bytes) -> None:
    assert sensor_of(figure("power_watts", "a")).observe_page(page, 0.0).power is None


def test_labels_may_hold_any_text() -> None:
    one = FigureSettings(figure="power_watts", series="a", labels=('x=a"}b', "y=1"))
    page = '木棉 1\na{x="a\\"}b",y="1"} 7\n'.encode()
    assert list(read_series(page, [one])[0].values()) == [], "an escaped quote is not unescaped"
    two = FigureSettings(figure="power_watts", series="a", labels=("y=1",))
    assert list(read_series(page, [two])[0].values()) == [7.0]


@given(st.binary(max_size=300))
def test_any_bytes_are_read(page: bytes) -> None:
    figures = [figure("power_watts", "a"), COUNTER]
    assert len(read_series(b"a" + page, figures)) == 2


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that answers once with these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/metrics?a=b"
        thread.join()


async def test_it_reads_a_real_server() -> None:
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\na 100") as url:
        look = await sensor_of(figure("power_watts", "a"), url=url).observe()
    assert look.power == ReportedPower(watts=100, origin="measured")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 Busy\r\n\r\n",
        b"no HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\na 100",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n",
        b"",
    ],
)
async def test_a_server_that_fails_is_named(answer: bytes) -> None:
    with answering(answer) as url, pytest.raises(SensorError, match=r"127\.0\.0\.1"):
        await sensor_of(figure("power_watts", "a"), url=url).observe()


def test_an_exemplar_is_not_the_value() -> None:
    page = b"""\
a_total{x="1"} 17 # {id="q"} 0.5
a_total{x="b}c\\"{",} 3 1700
a_total {y="1"} 4
a_total 5 # {id="q"} 0.5
a_total{x="open} 6
a_total{x=1}} 7
a_total{}
"""
    [found] = read_series(page, [FigureSettings(figure="power_watts", series="a_total")])
    assert sorted(found.values()) == [3.0, 4.0, 5.0, 17.0]


@pytest.mark.parametrize("line", [b" " * 16_000 + b"{", b'{"' * 8_000, b'{x="' + b"\\" * 16_000])
def test_a_hostile_line_takes_no_long_time(line: bytes) -> None:
    table, started = [FigureSettings(figure="power_watts", series="a")], process_time()
    assert read_series((b"a" + line + b"\n") * 20, table) == [{}]
    assert process_time() - started < 1.0
