"""Validation of objects in files against their definition, without a server."""

import copy
from typing import Any

import pytest

from tests.support.object_check import object_problems
from tests.support.widgets import widget_crd

CRD = widget_crd("unit.kapok.dev")


def _widget(**spec: object) -> dict[str, Any]:
    return {
        "apiVersion": "unit.kapok.dev/v1",
        "kind": "Widget",
        "metadata": {"name": "w", "labels": {"a": "b"}},
        "spec": {"size": "small", **spec},
    }


def test_a_right_object_has_no_problems_and_is_left_alone() -> None:
    item = _widget(parts=[{"name": "a"}], free={"x": 1}, nothing=None)
    before = copy.deepcopy(item)
    assert object_problems(CRD, item) == []
    assert item == before


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({"bogus": 1}, "spec.bogus", "unknown field"),
        ({"parts": [{"name": "a", "colour": "red"}]}, "spec.parts[0].colour", "unknown field"),
        ({"size": "huge"}, "spec.size", 'supported values: "small", "medium", "large"'),
        ({"replicas": "3"}, "spec.replicas", "must be of type integer"),
        ({"replicas": 9}, "spec", "write size: medium"),
        ({"parts": [{"name": "a"}, {"name": "a"}]}, "spec.parts[1]", "Duplicate value"),
        ({"manifest": {"kind": "Pod"}}, "spec.manifest.apiVersion", "Required value"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_each_problem_names_its_field(spec: dict[str, Any], field: str, words: str) -> None:
    (problem,) = object_problems(CRD, _widget(**spec))
    assert problem.field == field
    assert words in problem.message


def test_another_version_is_named() -> None:
    (problem,) = object_problems(CRD, {**_widget(), "apiVersion": "unit.kapok.dev/v9"})
    assert "write unit.kapok.dev/v1" in problem.message


def test_transition_rules_do_not_apply_to_files() -> None:
    assert object_problems(CRD, {**_widget(), "status": {"epoch": 1}}) == []
