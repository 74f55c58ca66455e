"""What decisions, statuses and commands say in English, the catalogues know.

The code that decides writes plain text. Here its phrases are compared with the messages, and what
the engine really says is recognised.
"""

import ast
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from scheduler.model.decision import Decision
from scheduler.model.demand.demand import PlacedReplicas
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.words.phrases import split_template
from scheduler.model.words.sentence import Sentence
from scheduler.placement.choose import choose
from scheduler.placement.explain.explain import explain
from scheduler.words.catalogue import catalogue_of, sentence_json
from tests.support.catalogues import declared_messages, read
from tests.support.sites import (
    NOW,
    Raw,
    demand,
    fleet_of,
    grant,
    nodes,
    site,
    site_with_capacity,
    with_placement,
    workload,
)

ROOT = Path(__file__).parents[3] / "scheduler"
SAYING = [
    *(ROOT / "control" / "status").glob("*.py"),
    *(ROOT / "placement" / "divide").rglob("*.py"),
    *(
        ROOT / name
        for name in (
            "placement/assigned.py",
            "placement/cost/implausible.py",
            "placement/cost/spend.py",
            "placement/failover/drain.py",
            "placement/failover/plan.py",
            "placement/failover/unready.py",
            "placement/filter/retention.py",
            "placement/fit/caveats.py",
            "placement/fleet/namespace_limits.py",
            "placement/gates.py",
            "placement/required_rules.py",
            "placement/result.py",
            "placement/start_time.py",
            "model/demand/movability.py",
            "model/jurisdictions.py",
            "model/storm.py",
            "control/failover/clearing.py",
            "control/failover/storm_gate.py",
            "control/orders/site_plan.py",
            "control/orders/waits.py",
            "control/site_status_writer.py",
            "control/sites/site_readiness.py",
            "cli/moving/forget.py",
            "cli/moving/moves.py",
            "cli/support/freeze_words.py",
        )
    ),
]
"""The modules whose texts people read in a line, a note, a condition or an answer."""
NOT_SAID = {
    "Hong Kong": "in a rule of the CRDs",
    "odd forecast": "a key",
    "Cheapest | None": "a type",
    "energy price": "begins a label, with its unit",
    "core price": "begins a label, with its unit",
    "forecast of intensity": "begins a label, with its unit",
    "status of site %s: %s": "in the log",
    "site %s: the hub does not know orders that run on there: %s": "in the log",
    "its status still names": "in the ledger",
    "another operator": "a name in an answer",
    "the reason, for people who look at it later": "a help text",
    "--why: write at most": "an error",
    "{name} reports: empty it with kapok site drain {name}, or use --force": "with other slots",
    "is not enforced:": "a warning of the API server",
    "is not applied:": "a warning of the API server",
    "more fields of spec.manifests are not applied": "a warning of the API server",
    "nothing at this hub runs": "a warning of the API server",
    "it is stored, and no site gets it; make a Workload of it:": "a warning of the API server",
    "kapok wrap -f FILE --name": "a warning of the API server",
    "| kapok apply -f -": "a warning of the API server",
}
"""Phrases of these modules that no catalogue needs, each with the reason."""


def phrases_of(path: Path) -> Iterator[str]:
    """The texts in a module of two words or more; not its docstrings, errors and messages."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    left_out: set[int] = set()
    for node in ast.walk(tree):
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_declared = isinstance(node, ast.Call) and ast.unparse(node.func) in DECLARING
        if is_docstring or is_declared or isinstance(node, ast.Raise):
            left_out.update(map(id, ast.walk(node)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value.strip().lstrip(":;,. ")
            if (
                id(node) not in left_out
                and len(re.findall(r"[A-Za-z]{2,}", text)) > 1
                and " " in text
            ):
                yield text


DECLARING = frozenset({"Message", "re.compile", "Meta"})


@pytest.mark.parametrize("path", SAYING, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_phrase_that_is_recorded_is_in_a_message(path: Path) -> None:
    known = [*(_literals(each) for each in declared_messages().values()), *read("en")["labels"]]
    lacking = [
        phrase
        for phrase in phrases_of(path)
        if phrase not in NOT_SAID and not any(phrase in each for each in known)
    ]
    assert not lacking, "declare it in scheduler/model/words, `make catalogues`, translate it"


def test_no_exemption_is_left_over() -> None:
    said = {phrase for path in SAYING for phrase in phrases_of(path)}
    assert NOT_SAID.keys() <= said


def _literals(template: str) -> str:
    return "".join(part if isinstance(part, str) else "\0" for part in split_template(template))


# ---------------------------------------------------------------- what the engine says


def decided(asked: Raw, *sites: Raw, placed: dict[str, int] | None = None) -> Decision:
    """The decision about a workload of which replicas run already."""
    request = demand(asked)
    shares = tuple(
        PlacedReplicas(site=name, replicas=count) for name, count in (placed or {}).items()
    )
    return choose(with_placement(request, shares) if shares else request, fleet_of(*sites), now=NOW)


SILENT = {"type": "Ready", "status": "False", "reason": "ClusterUnreachable"}
LATE = {"deadline": (NOW + timedelta(hours=1)).isoformat(), "durationSeconds": 7200}
EARLY = {"earliest": (NOW + timedelta(hours=1)).isoformat()}
BY_CITY = {"spread": [{"by": "city", "minGroups": 2, "required": True}]}
SAID: list[tuple[str, Decision]] = [
    ("放置于 m1（2）", decided(workload(2), site("m1", nodes(3)))),
    (
        "等，另有 2 个站点",
        decided(
            workload(10, placement={"strategy": "Duplicated"}, demand={"replicas": 1}),
            *(site_with_capacity(f"m{index}", 2) for index in range(10)),
        ),
    ),
    ("没有任何站点", decided(workload(1))),
    (
        "2 个站点中没有可用的：cordoned 1 个、full 1 个",
        decided(
            workload(5),
            site_with_capacity("m1", 1),
            site_with_capacity("m2", 9, spec={"cordon": True}),
        ),
    ),
    ("集群无法访问：m1", decided(workload(1), site("m1", nodes(3), conditions=[SILENT]))),
    (
        "正在运行的副本留在 m1（1）",
        decided(workload(9), site_with_capacity("m1", 2), placed={"m1": 1}),
    ),
    (
        "已来不及在截止时间前完成：运行时长为 7200 秒",
        decided(workload(1, schedule=LATE), site("m1", nodes(3))),
    ),
    (
        "工作负载不得早于 2026-11-23 09:01:00 UTC 启动",
        decided(workload(1, schedule=EARLY), site("m1", nodes(3))),
    ),
    (
        "已在以下站点终止：gone（站点对象不存在）",
        decided(workload(1), site("m1", nodes(3)), placed={"gone": 1}),
    ),
    (
        "按 city 分散：minGroups 为 2，而副本只在 1 处（",
        decided(
            workload(2, placement=BY_CITY),
            site("m1", nodes(3), spec={"location": {"city": "guangzhou"}}),
            placed={"m1": 2},
        ),
    ),
]


@pytest.mark.parametrize(("chinese", "decision"), SAID, ids=[each[0] for each in SAID])
def test_the_line_of_a_decision_is_said_in_chinese(chinese: str, decision: Decision) -> None:
    said = catalogue_of("zh").say(decision.line)
    assert chinese in said
    assert not re.search(r"[a-z]{3,} [a-z]{2,}", said), said
    assert sentence_json(decision.line)["message"]
    assert catalogue_of("en").say(decision.line) == decision.line


def test_every_sentence_of_an_explanation_has_a_slug_and_is_said_in_chinese() -> None:
    words = catalogue_of("zh")
    fleet = fleet_of(
        site("m1", nodes(3)),
        site("m2", spec={"cordon": True}, observedAt=None),
        site_with_capacity("m3", 1, spec={"taints": [{"key": "a", "effect": "NoSchedule"}]}),
        grants=(grant("m1", "m3"), grant("m3", name="other", dataClass="general-1")),
    )
    found = explain(demand(workload(9, dataClass="general-3")), fleet, now=NOW, terms=DEFAULT_TERMS)
    sentences = [each.sentence for one in found.sites for each in one.verdicts]
    assert len(sentences) > 60
    for sentence in sentences:
        assert isinstance(sentence, Sentence)
        assert sentence.slug in words.messages
        assert re.search("[\u4e00-\u9fff]", words.say(sentence)), sentence
