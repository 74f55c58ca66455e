"""The sensors that need no cluster: they say what they know, with its origin, and nothing else."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from agents.config.settings import PeerSettings, StaticSettings
from agents.metrics.counters import Counters
from agents.observe import SensorCollector
from agents.protocol.report import ReportedMissing, ReportedPower, ReportedRtt
from agents.sensors.energy import EnergyMeter
from agents.sensors.host import HostSensor
from agents.sensors.replay import ReplaySensor, read_rows, row_at
from agents.sensors.rtt import RttSensor
from agents.sensors.sensor import Observation, ReplayError, SensorError, merge_observations
from agents.sensors.static import StaticSensor
from tests.support.fake_clock import FakeClock


def watts(number: float) -> Observation:
    return Observation(power=ReportedPower(watts=number, origin="measured"))


async def test_of_two_sensors_the_first_that_knows_is_heard() -> None:
    both = merge_observations(
        [
            Observation(faults=("a",)),
            watts(1),
            Observation(power=None, pue=1.3, faults=("b",)),
            watts(2),
        ]
    )
    assert both.power == ReportedPower(watts=1, origin="measured")
    assert (both.pue, both.faults, both.is_silent) == (1.3, ("a", "b"), False)


async def test_static_facts_carry_the_origin_that_was_stated() -> None:
    facts = StaticSettings(intensity_gco2_per_kwh=441.9, pue=1.45)
    look = await StaticSensor(facts).observe()
    assert look.power is None
    assert look.intensity is not None
    assert (look.intensity.origin, look.pue_origin) == ("yearly", "assumed")
    assert await StaticSensor(StaticSettings()).observe() == Observation()


# ---------------------------------------------------------------- host


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def rapl(root: Path, name: str, microjoules: int, kind: str = "package-0") -> None:
    folder = root / "sys/class/powercap" / name
    write(folder / "energy_uj", f"{microjoules}\n")
    write(folder / "max_energy_range_uj", "10000000\n")
    write(folder / "name", f"{kind}\n")


async def test_without_a_power_meter_power_is_unknown(tmp_path: Path) -> None:
    look = await HostSensor(FakeClock(), root=tmp_path).observe()
    assert look.power is None
    assert look.host is not None
    assert look.host.memory_bytes is None


async def test_power_comes_from_rapl_also_over_its_wrap(tmp_path: Path) -> None:
    clock = FakeClock()
    sensor = HostSensor(clock, root=tmp_path)
    rapl(tmp_path, "intel-rapl:0", 9_000_000)
    rapl(tmp_path, "intel-rapl:0:0", 5)  # a part of it
    rapl(tmp_path, "intel-rapl:1", 1_000_000, kind="psys")  # contains it
    assert (await sensor.observe()).power is None
    await clock.advance(2)
    rapl(tmp_path, "intel-rapl:0", 1_000_000)
    assert (await sensor.observe()).power == ReportedPower(watts=1.0, origin="estimated")


async def test_a_meter_of_the_whole_machine_counts_as_measured(tmp_path: Path) -> None:
    write(tmp_path / "sys/class/hwmon/hwmon0/power1_average", "123000000\n")
    look = await HostSensor(FakeClock(), root=tmp_path).observe()
    assert look.power == ReportedPower(watts=123.0, origin="measured")


async def test_the_host_is_described(tmp_path: Path) -> None:
    write(tmp_path / "proc/meminfo", "MemTotal:  1024 kB\nMemAvailable: 512 kB\nOdd line\n")
    write(tmp_path / "proc/loadavg", "0.50 0.1 0.1 1/1 1\n")
    host = (await HostSensor(FakeClock(), "1.2", root=tmp_path).observe()).host
    assert host is not None
    assert (host.memory_bytes, host.memory_available_bytes) == (1024 * 1024, 512 * 1024)
    assert (host.agent_version, host.load_ratio) == ("1.2", 0.5 / (host.processors or 1))


# ---------------------------------------------------------------- replay

CSV = "seconds,power_watts,gco2_per_kwh,fault\n0,100,400,\n10,200,,silent\n"


async def test_a_row_holds_until_the_next_and_an_empty_cell_is_unknown(tmp_path: Path) -> None:
    write(tmp_path / "r.csv", CSV)
    clock = FakeClock()
    sensor = ReplaySensor(rows=read_rows(tmp_path / "r.csv"), clock=clock, is_looping=False)
    await clock.advance(9)
    first = await sensor.observe()
    await clock.advance(100)
    second = await sensor.observe()
    assert first.power == ReportedPower(watts=100, origin="measured")
    assert (first.is_silent, second.is_silent) == (False, True)
    assert second.intensity is None
    assert second.faults == ("silent",)


async def test_yaml_rows_play_as_csv_ones_do_and_time_can_be_fast(tmp_path: Path) -> None:
    rows = [{"seconds": 0, "pv_watts": 1}, {"seconds": 10, "pv_watts": 2, "origin": "modelled"}]
    write(tmp_path / "r.yaml", json.dumps(rows))
    clock = FakeClock()
    sensor = ReplaySensor(rows=read_rows(tmp_path / "r.yaml"), clock=clock, speed_ratio=10)
    await clock.advance(1.5)
    assert (await sensor.observe()).pv_watts == 2


def test_a_loop_starts_over_after_the_last_row_held_its_time(tmp_path: Path) -> None:
    write(tmp_path / "r.csv", CSV)
    rows = read_rows(tmp_path / "r.csv")
    at = [row_at(rows, seconds, is_looping=True) for seconds in (0, 10, 19, 20, 29.5, 35)]
    assert [row.seconds for row in at if row] == [0, 10, 10, 0, 0, 10]


def test_before_the_first_row_nothing_is_known(tmp_path: Path) -> None:
    write(tmp_path / "r.csv", "seconds,pue\n5,1.2\n")
    assert row_at(read_rows(tmp_path / "r.csv"), 1, is_looping=False) is None


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("r.csv", "seconds,power\n0,1\n", "unknown column 'power'; known: seconds, power_watts"),
        ("r.csv", "seconds,power_watts\n0,lots\n", "row 1: power_watts: expected a number from 0"),
        ("r.csv", "seconds,power_watts\n0,-1\n", "row 1: power_watts: expected a number from 0"),
        ("r.csv", "seconds,power_watts\n0,nan\n", "row 1: power_watts: expected a number from 0"),
        ("r.csv", "seconds,power_watts\n,1\n", "row 1: seconds: expected a number from 0"),
        ("r.csv", "seconds\n2\n1\n", "seconds must ascend"),
        ("r.csv", "seconds\n", "expected 1 to 1000000 rows"),
        ("r.csv", "seconds,origin\n1,guess\n", "origin: expected one of measured"),
        ("r.yaml", "{a: 1}", "a list of maps"),
        ("r.yaml", "[1]", "row 1: expected a map"),
        ("r.yaml", "[", "not YAML"),
        ("none.csv", "", "No such file"),
    ],
)
def test_a_file_that_cannot_be_played_is_refused_by_row(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    if text:
        write(tmp_path / name, text)
    with pytest.raises(ReplayError, match=words):
        read_rows(tmp_path / name)


# ---------------------------------------------------------------- round-trip time


async def test_the_least_of_three_connects_is_the_round_trip() -> None:
    clock, delays = FakeClock(), [0.005, 0.002, 0.009]

    async def connect(_host: str, _port: int) -> None:
        await clock.sleep(delays.pop(0))

    peers = [PeerSettings(name="core", host="h", port=1)]
    sensor = RttSensor(peers=peers, clock=clock, interval_seconds=60.0, connect=connect)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(sensor.observe())
        await clock.advance(1)
        look = await task
    assert look.rtt == (ReportedRtt(to="core", milliseconds=2.0, origin="measured"),)
    assert (await sensor.observe()).rtt == look.rtt, "between measurements the last one is said"


async def test_a_peer_that_does_not_answer_is_unknown_not_far() -> None:
    async def refuse(_host: str, _port: int) -> None:
        raise ConnectionRefusedError

    def sensor(*peers: PeerSettings) -> RttSensor:
        return RttSensor(peers=peers, clock=FakeClock(), interval_seconds=60.0, connect=refuse)

    assert (await sensor(PeerSettings(name="core", host="h", port=1)).observe()).rtt == ()
    assert (await sensor().observe()).rtt is None


# ---------------------------------------------------------------- energy


def test_energy_grows_by_the_mean_power_between_looks(tmp_path: Path) -> None:
    meter = EnergyMeter(tmp_path / "energy.json")
    assert meter.record(watts(100), 0).it_joules is None
    assert meter.record(watts(200), 10).it_joules == 1500


def test_a_gap_is_counted_as_unmeasured_not_as_a_saving(tmp_path: Path) -> None:
    meter = EnergyMeter(tmp_path / "energy.json")
    meter.record(watts(100), 0)
    meter.record(Observation(), 10)
    meter.record(watts(100), 30)
    energy = meter.record(watts(100), 1000)
    assert energy.it_joules is None
    assert energy.unmeasured_seconds == 1000


def test_totals_survive_a_restart_under_the_same_counter(tmp_path: Path) -> None:
    first = EnergyMeter(tmp_path / "energy.json")
    first.record(watts(100), 0)
    before = first.record(watts(100), 10)
    again = EnergyMeter(tmp_path / "energy.json")
    after = again.record(watts(100), 500)
    assert (after.counter_id, after.it_joules) == (before.counter_id, 1000)


@pytest.mark.parametrize("spoilt", ["", "{", "[]", '{"counterId":1,"totals":{"it_joules":-1}}'])
def test_spoilt_totals_begin_anew_under_another_counter(tmp_path: Path, spoilt: str) -> None:
    write(tmp_path / "energy.json", spoilt)
    energy = EnergyMeter(tmp_path / "energy.json").record(watts(1), 0)
    assert energy.it_joules is None
    assert len(energy.counter_id) == 16


def test_a_disk_that_was_copied_counts_from_0_under_another_counter(tmp_path: Path) -> None:
    meter = EnergyMeter(tmp_path / "energy.json")
    meter.record(watts(100), 0)
    before = meter.record(watts(100), 10)
    meter.begin_again()
    after = meter.record(watts(100), 20)
    assert after.counter_id != before.counter_id
    assert after.it_joules == 1000  # of the ten seconds since
    again = EnergyMeter(tmp_path / "energy.json").record(watts(100), 500)
    assert (again.counter_id, again.it_joules) == (after.counter_id, 1000)


def test_totals_of_other_names_do_not_keep_ours_from_being_saved(tmp_path: Path) -> None:
    others = {f"{'x' * 40}{at}": 1.0 for at in range(83)}
    text = json.dumps({"counterId": "one", "totals": others}, separators=(",", ":")).ljust(4096)
    write(tmp_path / "energy.json", text)
    meter = EnergyMeter(tmp_path / "energy.json")
    meter.record(watts(100), 0)
    for at in range(1, 4):
        assert meter.record(watts(100), at * 10.0).it_joules == at * 1000
    assert meter.read_totals(watts(100)).counter_id == "one"


def test_reading_counts_nothing_and_writes_nothing(tmp_path: Path) -> None:
    EnergyMeter(tmp_path / "energy.json").read_totals(watts(1))
    assert not (tmp_path / "energy.json").exists()


async def test_pressure_temperature_and_disk_are_reported_where_they_are_known(
    tmp_path: Path,
) -> None:
    empty = (await HostSensor(FakeClock(), root=tmp_path, disk=tmp_path).observe()).host
    assert empty is not None
    assert (empty.cpu_pressure_ratio, empty.temperature_celsius) == (None, None)
    assert empty.disk_bytes
    assert empty.disk_bytes >= (empty.disk_available_bytes or 0)
    write(tmp_path / "proc/pressure/cpu", "some avg10=1.00 avg60=12.50 avg300=0.00 total=1\n")
    write(tmp_path / "proc/pressure/memory", "nonsense")
    write(tmp_path / "sys/class/thermal/thermal_zone0/temp", "45000\n")
    write(tmp_path / "sys/class/thermal/thermal_zone1/temp", "-274000\n")
    write(tmp_path / "sys/class/hwmon/hwmon0/temp1_input", "61400\n")
    host = (await HostSensor(FakeClock(), root=tmp_path, disk=tmp_path / "gone").observe()).host
    assert host is not None
    assert (host.cpu_pressure_ratio, host.memory_pressure_ratio) == (0.125, None)
    assert (host.temperature_celsius, host.disk_bytes) == (61, None)


@dataclass(slots=True)
class ScriptedSensor:
    name: str
    error: Exception | None = None
    watts: float | None = None
    is_hanging: bool = False

    async def observe(self) -> Observation:
        if self.is_hanging:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        return Observation(power=ReportedPower(watts=self.watts or 1.0, origin="measured"))


async def test_a_sensor_that_fails_costs_its_own_facts_and_the_report_says_since_when() -> None:
    clock = FakeClock()
    bad, good = ScriptedSensor("bad", SensorError("no")), ScriptedSensor("good", watts=7)
    collector = SensorCollector(sensors=[bad, good], meter=None, clock=clock, counters=Counters())
    look = (await collector.collect()).observation
    assert look.power == ReportedPower(watts=7, origin="measured")
    assert look.missing == (ReportedMissing(sensor="bad", seconds=0),)
    await clock.advance(150)
    look = (await collector.collect()).observation
    assert look.missing == (ReportedMissing(sensor="bad", seconds=120),)
    assert 'sensor_missing_seconds{sensor="bad"} 150' in collector.counters.render()
    bad.error = None
    assert (await collector.collect()).observation.missing is None
    assert 'sensor_missing_seconds{sensor="bad"} 0' in collector.counters.render()


async def test_a_sensor_that_hangs_delays_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.observe._SENSOR_SECONDS", 0.05)
    hanging = [ScriptedSensor(f"s{number}", is_hanging=True) for number in range(20)]
    collector = SensorCollector(
        sensors=[*hanging, ScriptedSensor("good", watts=7)],
        meter=None,
        clock=FakeClock(),
        counters=Counters(),
    )
    async with asyncio.timeout(0.9):  # one after the other takes a second
        look = (await collector.collect()).observation
    assert look.power == ReportedPower(watts=7, origin="measured")
    assert len(look.missing or ()) == 20
