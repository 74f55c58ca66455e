"""docs/metrics.md and the code list the same metrics, both ways."""

import ast
import re
from typing import get_args

from agents.metrics.counters import METRICS
from agents.protocol.errors import WIRE_ERROR_REASONS as BAD_MESSAGES
from agents.protocol.status import OrderPhase
from scheduler.apiserver.base import faults
from scheduler.web.metric_definitions import definition
from scheduler.web.metric_definitions.all_metrics import ALL_METRICS
from scheduler.web.state_text import KNOWN_ORDER_PHASES
from tests.support.up import ROOT

ROW = re.compile(
    r"^\| `(kapok_\w+|process_\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \| (.*) \|$", re.MULTILINE
)
TEXT = (ROOT / "docs" / "metrics.md").read_text()
DOCUMENTED = {
    name: (kind, tuple(labels.split(", ")) if labels.strip() else (), unit.strip(), meaning)
    for name, kind, labels, unit, meaning in ROW.findall(TEXT)
}


def test_the_scheduler_has_the_documented_metrics_and_no_others() -> None:
    defined = {
        name: (one.type, one.labels, one.unit, one.help_text) for name, one in ALL_METRICS.items()
    }
    documented = {n: row for n, row in DOCUMENTED.items() if not n.startswith("kapok_agent_")}
    assert documented == defined


def test_the_agent_has_the_documented_metrics_and_no_others() -> None:
    labels = labels_in_the_agent()
    defined = {
        name: (kind, tuple(sorted(labels[name])), meaning)
        for name, (kind, meaning) in METRICS.items()
    }
    documented = {
        name: (kind, names, meaning)
        for name, (kind, names, _, meaning) in DOCUMENTED.items()
        if name.startswith("kapok_agent_")
    }
    assert documented == defined


def labels_in_the_agent() -> dict[str, set[str]]:
    """Labels by metric, from the calls that count."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "agents").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and (name := _metric(node)) in METRICS:
                words = [one.arg for one in node.keywords if one.arg]
                if isinstance(node.func, ast.Attribute) and node.func.attr == "replace":
                    words = [str(ast.literal_eval(node.args[1]))]
                found.setdefault(name, set()).update(words)
    return found


def _metric(node: ast.Call) -> str:
    match node.args[:1]:
        case [ast.Constant(value=str() as word)]:
            return f"kapok_agent_{word}"
        case _:
            return ""


def test_closed_lists_of_words_are_those_of_the_wire() -> None:
    assert frozenset(get_args(OrderPhase)) == KNOWN_ORDER_PHASES
    assert set(definition.BAD_MESSAGE_KINDS) == {*BAD_MESSAGES, "unknown-site"}


def test_names_follow_the_conventions() -> None:
    for name, one in ALL_METRICS.items():
        assert name.endswith("_total") == (one.type == "counter"), name
        assert one.help_text.endswith("."), name


def test_faults_of_the_embedded_hub_are_label_values() -> None:
    listed = set(definition.FAULT_PLACES)
    assert set(faults.FAULT_PLACES) == {place for place in listed if place.startswith("api-")}
