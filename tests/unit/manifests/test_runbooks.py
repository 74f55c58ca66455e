"""Every alert has a runbook; its commands, metrics and links exist."""

import argparse
import importlib
import re
import shlex
from pathlib import Path

import pytest
import yaml

from agents.metrics.counters import METRICS as AGENT_METRICS
from scheduler.cli.entry import COMMANDS
from scheduler.cli.support.command_parser import CommandParser
from scheduler.web.metric_definitions.all_metrics import ALL_METRICS
from tests.support.console_blocks import Command, NotRun, steps_of
from tests.support.kustomize import MANIFESTS
from tests.support.up import ROOT

RUNBOOKS = ROOT / "docs" / "runbooks"
PAGES = sorted(path for path in RUNBOOKS.glob("*.md") if path.name != "README.md")
RULES = yaml.safe_load((MANIFESTS / "prometheus" / "rules.yaml").read_text())
ALERTS = {
    rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule
}
HEADINGS = ["What it means", "What to look at", "What to do"]


def test_every_alert_has_one_runbook_and_every_runbook_an_alert() -> None:
    assert {path.stem for path in PAGES} == set(ALERTS)
    for name, alert in ALERTS.items():
        assert alert["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
        assert alert["labels"]["severity"] in ("critical", "warning", "info")


def test_every_alert_is_fired_and_is_quiet_in_a_test() -> None:
    tests = yaml.safe_load((MANIFESTS / "prometheus" / "rules_test.yaml").read_text())["tests"]
    cases = [one for test in tests for one in test.get("alert_rule_test", ())]
    assert {one["alertname"] for one in cases if one["exp_alerts"]} == set(ALERTS)
    assert {one["alertname"] for one in cases if not one["exp_alerts"]} == set(ALERTS)


def test_the_list_of_runbooks_has_every_alert_with_its_severity() -> None:
    rows = re.findall(
        r"^\| \[(\w+)\]\((\w+)\.md\) \| (\w+) \|",
        (RUNBOOKS / "README.md").read_text(),
        re.MULTILINE,
    )
    assert rows == [(name, name, one["labels"]["severity"]) for name, one in ALERTS.items()]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_runbook_says_what_it_means_what_to_look_at_and_what_to_do(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {page.stem}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS
    parts = re.split(r"^## .*$", text, flags=re.MULTILINE)[1:]
    assert all(len(part.split()) > 8 for part in parts)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_commands_and_metrics_of_a_runbook_exist(page: Path) -> None:
    text = page.read_text()
    steps = list(steps_of(page))
    commands = [step.words for step in steps if isinstance(step, Command)]
    commands += [words for step in steps if isinstance(step, NotRun) for words in step.words]
    assert commands
    for line in commands:
        check_command(shlex.split(line))
    assert set(re.findall(r"`kapok ([a-z-]+)[^`]*`", text)) <= COMMANDS.keys()
    for name in re.findall(r"`(kapok_\w+)", text):
        assert name in ALL_METRICS or name in AGENT_METRICS, name


def check_command(words: list[str]) -> None:
    """The command's own parser takes the words; it would exit."""
    assert words[0] == "kapok"
    module = importlib.import_module(f"scheduler.cli.{words[1].replace('-', '_')}")
    if not getattr(module, "PASSES_WORDS_THROUGH", False):
        parser = CommandParser(formatter_class=argparse.RawDescriptionHelpFormatter)
        module.register(parser)
        parser.parse_words(words[2:])
