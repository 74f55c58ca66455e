"""Figures of a Prometheus text endpoint: power, energy, PUE, photovoltaics, battery.

A table in the settings says which series is which figure, so that Kepler, ipmi_exporter,
snmp_exporter, a UPS or an inverter need no code. Counters become power by their increase over
time; one that has begun again counts from 0, as Prometheus' `increase` does, and one that wraps at
a known value from there. What is implausible is unknown: no machine draws 0 W, and an exporter that
shows the same counter again has not measured.

Text format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import asyncio
import http.client
import math
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from agents.config.settings import ExporterSettings, FigureSettings
from agents.member.responses import limit_time, read_bounded
from agents.protocol.bounds import MAX_GCO2_PER_KWH, MAX_WATTS
from agents.protocol.report import FigureOrigin, ReportedIntensity, ReportedPower
from agents.runtime.clock import AgentClock
from agents.sensors.sensor import Observation, SensorError

_TOTAL_SECONDS: Final = 5.0
_MAX_SERIES: Final = 2_000
_MAX_LINE_BYTES: Final = 16_384
_MAX_PUE: Final = 10.0
_OK: Final = 200
_NAME: Final = re.compile(rb"[a-zA-Z_:][a-zA-Z0-9_:]*")
_SAMPLE: Final = re.compile(
    rb'[ \t]*+(?:\{((?:[^"{}]|"(?:[^"\\]|\\.)*+")*+)\})?+[ \t]*+([^\s{}]+)'  # possessive: linear
)
_LABEL: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"[,\s]*')
_COUNTERS: Final = {"energy_joules_total": "power_watts", "pv_joules_total": "pv_watts"}

Series = dict[str, float]
"""Values of the series of one figure, by the text of their labels."""


@dataclass(slots=True)
class ExporterSensor:
    """Reads one endpoint.

    Attributes:
        exporter: its address and its table.
        clock: monotonic time, to turn counters into power.
    """

    exporter: ExporterSettings
    clock: AgentClock
    _last: "dict[int, tuple[float, Series]]" = field(default_factory=dict, init=False)

    @property
    def name(self) -> str:
        """Slug of the sensor."""
        return f"exporter-{self.exporter.name}"

    async def observe(self) -> Observation:
        """Reads the endpoint once.

        Raises:
            SensorError: it does not answer, or with something else.
        """
        try:
            page = await asyncio.to_thread(self._fetch)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise SensorError(f"{self.exporter.url}: {str(error)[:200]!a}") from error
        return self.observe_page(page, self.clock.monotonic())

    def observe_page(self, page: bytes, now: float) -> Observation:
        """The figures of a page that was read at `now` (monotonic seconds)."""
        found: dict[str, float] = {}
        unknown: set[str] = set()
        table = self.exporter.figures
        for at, series in enumerate(read_series(page, table)):
            value = self._value_of(at, table[at], series, now)
            figure = _COUNTERS.get(table[at].figure, table[at].figure)
            if value is None:
                unknown.add(figure)  # without one of its parts a sum would be too small
            else:
                found[figure] = found.get(figure, 0.0) + value
        known = {figure: value for figure, value in found.items() if figure not in unknown}
        return _observation_of(known, self.exporter)

    def _value_of(
        self, at: int, figure: FigureSettings, series: Series, now: float
    ) -> float | None:
        """The sum of the series of one figure; of a counter, its increase by the second."""
        if not series:
            self._last.pop(at, None)
            return None
        if figure.figure not in _COUNTERS:
            return sum(series.values()) * figure.scale
        last, self._last[at] = self._last.get(at), (now, series)
        # With a series that is new or gone, the sum of increases would be too small.
        if last is None or last[1].keys() != series.keys() or now <= last[0]:
            return None
        increase = sum(_increase(last[1][key], value, figure) for key, value in series.items())
        return increase * figure.scale / (now - last[0]) if increase > 0 else None

    def _fetch(self) -> bytes:
        parts = urlsplit(self.exporter.url)
        host, port = parts.hostname or "", parts.port
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=self.exporter.tls_ca_file or None)
            connection = http.client.HTTPSConnection(
                host, port, timeout=_TOTAL_SECONDS, context=context
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=_TOTAL_SECONDS)
        try:
            connection.connect()
            limit_time(connection, idle_seconds=_TOTAL_SECONDS, total_seconds=_TOTAL_SECONDS)
            path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
            connection.request("GET", path, headers={"Accept": "text/plain;version=0.0.4"})
            response = connection.getresponse()
            if response.status != _OK:
                raise ValueError(f"answers with {response.status}")
            return read_bounded(response)
        finally:
            connection.close()


def read_series(page: bytes, table: Iterable[FigureSettings]) -> list[Series]:
    """The series of each figure of the table, in its order.

    Lines that are no samples are left out, and of one figure at most 2,000 series are read: the
    rest would make the sum too small, so the figure is unknown then.
    """
    wanted = list(table)
    found: list[Series] = [{} for _ in wanted]
    by_name: dict[bytes, list[int]] = {}
    for at, figure in enumerate(wanted):
        by_name.setdefault(figure.series.encode(), []).append(at)
    for name, labels, value in _samples(page, by_name):
        pairs = dict(_LABEL.findall(labels))
        for at in by_name[name]:
            if _has_labels(pairs, wanted[at].labels) and len(found[at]) <= _MAX_SERIES:
                found[at][labels] = value
    return [series if len(series) <= _MAX_SERIES else {} for series in found]


def _samples(page: bytes, by_name: Mapping[bytes, list[int]]) -> Iterator[tuple[bytes, str, float]]:
    for line in page.splitlines():
        match = _NAME.match(line)
        if match is None or match[0] not in by_name or len(line) > _MAX_LINE_BYTES:
            continue
        # From the front: OpenMetrics may add an exemplar with labels of its own after the value.
        sample = _SAMPLE.match(line, match.end())
        if sample is None:
            continue
        try:
            value = float(sample[2])
            text = (sample[1] or b"").decode()
        except ValueError:
            continue
        if math.isfinite(value):
            yield match[0], text, value


def _has_labels(pairs: Mapping[str, str], wanted: Iterable[str]) -> bool:
    return all(
        pairs.get(name) == value for name, _, value in (one.partition("=") for one in wanted)
    )


def _increase(before: float, after: float, figure: FigureSettings) -> float:
    if after >= before:
        return after - before
    return after - before + figure.wraps_at if figure.wraps_at > before else max(0.0, after)


def _observation_of(found: Mapping[str, float], exporter: ExporterSettings) -> Observation:
    origin: FigureOrigin = "estimated" if exporter.origin == "estimated" else "measured"
    watts = _within(found.get("power_watts"), 0, MAX_WATTS)
    pv_watts = found.get("pv_watts")
    pue = found.get("pue")
    facility = found.get("facility_watts")
    if pue is None and watts and facility is not None:
        pue = facility / watts
    grams = _within(found.get("intensity_gco2_per_kwh"), 0, MAX_GCO2_PER_KWH)
    is_pue = pue is not None and 1 <= pue <= _MAX_PUE
    battery = found.get("battery_ratio")
    return Observation(
        power=ReportedPower(watts=watts, origin=origin) if watts else None,
        pue=pue if is_pue else None,
        pue_origin=origin if is_pue else None,
        pv_watts=pv_watts if pv_watts is not None and 0 <= pv_watts <= MAX_WATTS else None,
        battery_ratio=battery if battery is not None and 0 <= battery <= 1 else None,
        intensity=ReportedIntensity(gco2_per_kwh=grams, origin=origin) if grams else None,
    )


def _within(value: float | None, low: float, high: float) -> float | None:
    """The value if it is above `low` and at most `high`; 0 of these is not a measurement."""
    return value if value is not None and low < value <= high else None
