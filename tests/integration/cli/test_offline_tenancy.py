"""Files without a Tenant are decided without tenancy and say so; with one, the rules are strict."""

import json
from pathlib import Path
from typing import Any

import pytest

from scheduler.cli.entry import main
from tests.support.sites import NOW, Raw, grant, site_with_capacity, tenant_of_ns, workload

pytestmark = pytest.mark.integration


def answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: str, objects: list[Raw]
) -> Any:  # noqa: ANN401 - JSON, or text
    path = tmp_path / "all.json"
    everything = [site_with_capacity("m1", 5), grant("m1"), *objects]
    path.write_text(json.dumps({"kind": "List", "items": everything}))
    main([*words, "-f", str(path), "--now", NOW.isoformat()])
    text = capsys.readouterr().out
    return json.loads(text) if "json" in words else text


def test_an_answer_without_tenancy_carries_the_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objects = [workload(priority=10**9)]
    placed = answer(tmp_path, capsys, "place", "-o", "json", objects=objects)
    assert [one["phase"] for one in placed["decisions"]] == ["Placed"]
    assert placed["notes"] == ["no-tenant"]
    assert "no-tenant" in placed["decisions"][0]["notes"]
    explained = answer(tmp_path, capsys, "explain", "ns/app", "-o", "json", objects=objects)
    assert explained["notes"] == ["no-tenant"]
    for words in (("place",), ("explain", "ns/app")):
        text = answer(tmp_path, capsys, *words, objects=objects)
        assert text.splitlines()[-1].startswith("note: no-tenant: ") or "note: no-tenant" in text


@pytest.mark.parametrize(
    ("tenants", "reason"),
    [
        ([tenant_of_ns("other")], "no Tenant lists namespace ns"),
        ([tenant_of_ns(), tenant_of_ns(name="two")], "2 Tenants list namespace ns: ns, two"),
    ],
)
def test_files_with_a_tenant_are_strict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tenants: list[Raw], reason: str
) -> None:
    objects = [*tenants, workload()]
    [refused] = answer(tmp_path, capsys, "place", "-o", "json", objects=objects)["decisions"]
    assert (refused["phase"], refused["reasons"]) == ("Refused", {"no-tenant": 1})
    assert reason in refused["line"]
    explained = answer(tmp_path, capsys, "explain", "ns/app", "-o", "json", objects=objects)
    assert reason in explained["line"]
    assert "no-tenant" not in explained["notes"]


def test_files_with_the_one_tenant_carry_no_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objects = [tenant_of_ns(), workload()]
    placed = answer(tmp_path, capsys, "place", "-o", "json", objects=objects)
    assert (placed["decisions"][0]["phase"], placed["notes"]) == ("Placed", [])
    assert "no-tenant" not in answer(tmp_path, capsys, "place", objects=objects)
