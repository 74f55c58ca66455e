"""Small plots as SVG: one panel per series, both axes logarithmic, every point labelled."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

_WIDTH, _HEIGHT, _MARGIN = 340, 240, 48
_PER_ROW = 2
_STYLE = (
    "text{font:12px sans-serif;fill:#222}.axis{stroke:#888}.grid{stroke:#ddd}"
    ".line{fill:none;stroke:#b4371e;stroke-width:2}.dot{fill:#b4371e}"
)


@dataclass(frozen=True, slots=True)
class Series:
    """A measurement against one variable.

    Attributes:
        name: name of the variable.
        points: its value, above 0, and microseconds.
    """

    name: str
    points: Sequence[tuple[float, float]]


def plot(series: Sequence[Series]) -> str:
    """The series as one SVG document."""
    rows = -(-len(series) // _PER_ROW)
    width, height = _WIDTH * min(_PER_ROW, len(series)), _HEIGHT * rows
    panels = "\n".join(
        _panel(each, (place % _PER_ROW) * _WIDTH, (place // _PER_ROW) * _HEIGHT)
        for place, each in enumerate(series)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">\n'
        f'<style>{_STYLE}</style>\n<rect width="{width}" height="{height}" fill="#fff"/>\n'
        f"{panels}\n</svg>\n"
    )


def _panel(series: Series, left: int, top: int) -> str:
    values = [log10(value) for value, _ in series.points]
    costs = [log10(cost) for _, cost in series.points]
    low = floor(min(costs))
    high = max(ceil(max(costs)), low + 1)
    first, last = min(values), max(*values, min(values) + 1e-9)

    def x(value: float) -> float:
        return left + _MARGIN + (value - first) / (last - first) * (_WIDTH - 2 * _MARGIN)

    def y(cost: float) -> float:
        return top + _HEIGHT - _MARGIN - (cost - low) / (high - low) * (_HEIGHT - 2 * _MARGIN)

    places = [(x(value), y(cost)) for value, cost in zip(values, costs, strict=True)]
    parts = [
        f'<text x="{left + _MARGIN}" y="{top + 24}">µs per decision, by {_text(series)}</text>'
    ]
    parts += [
        f'<line class="grid" x1="{left + _MARGIN}" x2="{left + _WIDTH - _MARGIN}" '
        f'y1="{y(power):.1f}" y2="{y(power):.1f}"/>'
        f'<text x="{left + _MARGIN - 6}" y="{y(power) + 4:.1f}" text-anchor="end">'
        f"{10**power:,}</text>"
        for power in range(low, high + 1)
    ]
    drawn = " ".join(f"{across:.1f},{down:.1f}" for across, down in places)
    parts.append(f'<polyline class="line" points="{drawn}"/>')
    for (across, down), (value, cost) in zip(places, series.points, strict=True):
        parts.append(
            f'<circle class="dot" cx="{across:.1f}" cy="{down:.1f}" r="3"/>'
            f'<text x="{across:.1f}" y="{down - 8:.1f}" text-anchor="middle">{cost:.0f}</text>'
            f'<text x="{across:.1f}" y="{top + _HEIGHT - _MARGIN + 18}" text-anchor="middle">'
            f"{value:,.0f}</text>"
        )
    return "\n".join(parts)


def _text(series: Series) -> str:
    return escape(series.name)
