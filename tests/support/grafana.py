"""The dashboards of manifests/grafana, and their queries as Grafana would send them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.prometheus import MANIFESTS, Prometheus

DASHBOARDS: Mapping[str, Any] = {
    path.stem: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((MANIFESTS / "grafana").glob("*.json"))
}
_LABEL_VALUES = re.compile(r"label_values\((.+), (\w+)\)")


@dataclass(frozen=True, slots=True)
class Panel:
    """One query: the dashboard and title that it is of, and the expression."""

    dashboard: str
    title: str
    expression: str


def queries() -> Iterator[Panel]:
    """Every query of every dashboard."""
    for name, dashboard in DASHBOARDS.items():
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                yield Panel(name, panel["title"], target["expr"])


def values_of_variables(server: Prometheus) -> dict[str, str]:
    """What each variable stands for when all its values are chosen one by one."""
    found = {"__rate_interval": "1m", "__range": "1m"}
    for dashboard in DASHBOARDS.values():
        for one in dashboard["templating"]["list"]:
            if one["type"] == "custom":
                found[one["name"]] = one["current"]["value"]
            elif one["type"] == "query":
                found[one["name"]] = _chosen(server, _filled(one["query"]["query"], found))
    return found


def _chosen(server: Prometheus, query: str) -> str:
    parts = _LABEL_VALUES.fullmatch(query)
    assert parts is not None, query
    names = sorted({one["metric"].get(parts[2], "") for one in server.query(parts[1])})
    return "|".join(map(re.escape, names)).replace("\\", "\\\\")


def unanswered(server: Prometheus, wanted: list[Panel]) -> list[Panel]:
    """The queries without data, or with nothing but NaN."""
    values = values_of_variables(server)
    return [one for one in wanted if not _numbers(server.query(_filled(one.expression, values)))]


def _filled(expression: str, values: Mapping[str, str]) -> str:
    filled = re.sub(r"\$(\w+)", lambda found: values[found[1]], expression)
    assert "$" not in filled, filled
    return filled


def _numbers(result: list[dict[str, Any]]) -> list[str]:
    return [one["value"][1] for one in result if one["value"][1] != "NaN"]
