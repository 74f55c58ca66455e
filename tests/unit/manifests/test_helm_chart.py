"""The Helm chart is generated from the overlays, and renders to what they are."""

import hashlib
import json
import re
from typing import Any

import pytest
import yaml

from tests.support.grafana import DASHBOARDS
from tests.support.helm_chart import CHART, NOT_IN_TEMPLATES, SETTINGS_NAME, chart_files
from tests.support.kustomize import OVERLAYS, Json, of_kind, overlay

_VALUE = re.compile(r"\{\{ (?P<path>\.Values[.\w]+)(?P<functions>( \| \w+( \d+)?)*) \}\}")
_CONDITION = re.compile(
    r'\{\{- if (?:eq \.Values\.overlay "|\.Values\.)(.*?)"? \}\}\n(.*)\{\{- end \}\}\n', re.DOTALL
)


def test_the_chart_is_as_generated() -> None:
    found = {
        str(path.relative_to(CHART)): path.read_text(encoding="utf-8")
        for path in CHART.rglob("*")
        if path.is_file()
    }
    assert found == chart_files(), "run `make manifests`"


def rendered(name: str, values: Json) -> list[Json]:
    """What Helm makes of a template, for the few forms that the generator writes."""
    text = (CHART / f"templates/{name}.yaml").read_text(encoding="utf-8")
    condition = _CONDITION.search(text)
    assert condition is not None
    assert condition[1] == name

    def evaluate(found: re.Match[str]) -> str:
        value: Any = {"Values": values}
        for key in found["path"].removeprefix(".").split("."):
            value = value[key]
        for function in filter(None, found["functions"].split(" | ")):
            if function == "toJson":
                value = json.dumps(value)
            elif function == "sha256sum":
                value = hashlib.sha256(value.encode()).hexdigest()
            else:
                assert function == "trunc 10"
                value = value[:10]
        return str(value)

    body = _VALUE.sub(evaluate, condition[2]).replace('{{ "{{" }}', "{{")
    return list(yaml.safe_load_all(body))


def comparable(objects: list[Json]) -> list[Json]:
    """Objects in the order of their names, without the digests of the settings."""
    text = yaml.safe_dump_all(objects)
    text = re.sub(SETTINGS_NAME.pattern.strip("^$"), r"\1-DIGEST", text)
    found: list[Json] = list(yaml.safe_load_all(text))
    return sorted(found, key=lambda one: (one["kind"], one["metadata"]["name"]))


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_template_renders_to_its_overlay(name: str) -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    expected = [one for one in overlay(name) if one["kind"] not in NOT_IN_TEMPLATES]
    assert comparable(rendered(name, values)) == comparable(expected)


def test_the_chart_holds_the_dashboards_for_those_that_ask() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert values["dashboards"] is False
    shown: Json = {}
    for one in rendered("dashboards", values):
        assert one["kind"] == "ConfigMap"
        assert one["metadata"]["namespace"] == "kapok-system"
        assert one["metadata"]["labels"]["grafana_dashboard"] == "1"
        shown |= {
            name.removesuffix(".json"): json.loads(text) for name, text in one["data"].items()
        }
    assert shown == DASHBOARDS


def test_the_chart_holds_every_crd() -> None:
    expected = of_kind(overlay("ha"), "CustomResourceDefinition")
    found = {path.name for path in (CHART / "crds").iterdir()}
    assert found == {
        f"{one['spec']['group']}_{one['spec']['names']['plural']}.yaml" for one in expected
    }


@pytest.mark.soak
@pytest.mark.parametrize("name", OVERLAYS)
def test_helm_renders_a_template_to_its_overlay_and_nothing_else(name: str) -> None:
    """With `pip install helm-python-sdk`, which is not in the lock."""
    helm = pytest.importorskip("helm_python")
    with helm.Chart.load(CHART) as chart:
        texts = chart.render(values={"overlay": name}, name="kapok", namespace="kapok-system")
    objects = [one for text in texts.values() for one in yaml.safe_load_all(text) if one]
    expected = [one for one in overlay(name) if one["kind"] not in NOT_IN_TEMPLATES]
    assert comparable(objects) == comparable(list(expected))


@pytest.mark.soak
def test_helm_finds_nothing_wrong_in_the_chart() -> None:
    """With `pip install helm-python-sdk`, which is not in the lock."""
    helm = pytest.importorskip("helm_python")
    report = helm.lint(CHART, {"overlay": "ha"}, strict=True)
    assert not report.get("errors"), report
