"""Why a workload runs where it runs: from files, and from what the hub recorded."""

import json
from pathlib import Path

import msgspec
import pytest

from scheduler.cli.entry import main
from scheduler.ledger.ledger import Ledger
from scheduler.ledger.reader import LedgerReader
from scheduler.ledger.record import LedgerEntry
from scheduler.ledger.recorder import LedgerRecorder
from scheduler.ledger.replay import read_recorded_decision
from scheduler.ledger.storage.sqlite import LEDGER_FILE
from scheduler.model.canonical import canonical_json
from scheduler.model.demand.demand import NotAccepted
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.model.kinds.workload import WorkloadSpec
from scheduler.placement.choose import choose
from scheduler.placement.explain.explain import explain
from tests.support.sites import (
    NOW,
    Raw,
    demand,
    fleet_of,
    grant,
    nodes,
    site,
    site_with_capacity,
    workload,
)

pytestmark = pytest.mark.integration


def explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *objects: Raw, versus: str = ""
) -> tuple[int, Raw]:
    path = tmp_path / "all.yaml"
    path.write_text("\n---\n".join(json.dumps(each) for each in objects), encoding="utf-8")
    words = ["explain", "ns/app", "-f", str(path), "--now", NOW.isoformat(), "-o", "json"]
    code = main([*words, *(["--versus", versus] if versus else [])])
    answer: Raw = json.loads(capsys.readouterr().out)
    return code, answer


def test_every_site_has_verdicts_capacity_and_costs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = {
        "energy": {"pue": 1.5, "pueOrigin": "measured"},
        "prices": {"energyCnyPerKwh": 0.6, "coreCnyPerHour": 0.05},
    }
    grams = {"gco2PerKwh": 441.9, "origin": "yearly", "observedAt": "2026-11-23T08:00:00Z"}
    known = site("m1", nodes(4), spec=spec, intensity=grams)
    code, answer = explained(
        tmp_path, capsys, known, site_with_capacity("m2", 9), grant("m1", "m2"), workload(2)
    )
    assert (code, answer["line"]) == (0, "placed on m1 (2)")
    first, second = answer["sites"]
    assert (first["admitted"], first["room"], first["replicas"]) == (True, 4, 2)
    carbon = next(each for each in first["costs"] if each["term"] == "carbon")
    assert (carbon["origin"], carbon["ageSeconds"]) == ("yearly", 60)
    # 1 core of 3.3 W and 1 GiB of 0.4 W, times PUE 1.5, 441.9 g/kWh and 0.1 CNY/kg
    assert carbon["cnyPerReplicaHour"] == pytest.approx(3.7e-3 * 1.5 * 0.4419 * 0.1)
    total = sum(each["cnyPerReplicaHour"] for each in first["costs"])
    assert first["totalCnyPerReplicaHour"] == pytest.approx(total)
    assert second["totalCnyPerReplicaHour"] is None
    assert {each["origin"] for each in second["costs"]} == {"unknown"}


@pytest.mark.parametrize(
    ("objects", "kind", "becomes"),
    [
        ([site_with_capacity("m1", 3), grant("m1"), workload(5)], "workload.replicas", "3"),
        (
            [site_with_capacity("m1", 3, spec={"cordon": True}), grant("m1"), workload(3)],
            "site.cordon",
            "false",
        ),
        (
            [site_with_capacity("m1", 3), grant("m1", dataClass="general-1"), workload(3)],
            "grant.dataClass",
            "general-2",
        ),
        (
            [site("m1", nodes(4, cpu="4")), grant("m1"), workload(1, requests={"cpu": "6"})],
            "workload.requests.cpu",
            "4",
        ),
        (
            [site_with_capacity("m1", 3), grant("m1"), workload(1, imagePlatforms=["linux/arm64"])],
            "workload.imagePlatforms",
            "linux/amd64, linux/arm64",
        ),
    ],
    ids=str,
)
def test_the_smallest_change_is_verified_by_the_engine(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    objects: list[Raw],
    *,
    kind: str,
    becomes: str,
) -> None:
    code, answer = explained(tmp_path, capsys, *objects)
    assert code == 1
    found = {each["kind"]: each for each in answer["smallestChange"]}
    assert found[kind]["to"] == becomes
    assert all(each["verified"] for each in found.values())


def test_versus_leaves_the_chosen_sites_and_one_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sites = [site_with_capacity(f"m{place}", place) for place in (1, 2, 3)]
    asked = workload(3, placement={"strategy": "Aggregated"})
    code, answer = explained(tmp_path, capsys, *sites, grant("m1", "m2", "m3"), asked, versus="m1")
    assert (code, [each["name"] for each in answer["sites"]]) == (0, ["m1", "m3"])


def priced(name: str, cny: float | None, replicas: int = 9) -> Raw:
    prices: Raw = {"energyCnyPerKwh": 0.0} | ({} if cny is None else {"coreCnyPerHour": cny})
    return site_with_capacity(name, replicas, spec={"prices": prices, "energy": {"pue": 1.0}})


@pytest.mark.parametrize(
    ("other", "asked", "sentence"),
    [
        (priced("m2", 0.3), {}, "m2 costs 0.3000 CNY per replica-hour, 0.1000 more than m1"),
        (priced("m2", None), {}, "the cost of m2 is unknown (compute), so it ranks last"),
        (
            priced("m2", 0.1, 1),
            {"placement": {"strategy": "Aggregated"}},
            "has room for only 1 of 3 replicas",
        ),
        (
            priced("m2", 0.1),
            {"placed": {"m1": 3}},
            "0.1000 less than m1; running replicas stay where they are",
        ),
        (priced("m2", 0.2), {"placed": {"m1": 3}}, "m2 costs the same as m1"),
        (
            site_with_capacity("m2", 9, spec={"cordon": True}),
            {},
            "m2 is refused: cordoned: m2 is cordoned",
        ),
        (priced("m2", 0.1), {}, "m2 is chosen for 3 replicas"),
    ],
)
def test_versus_lists_advantages_and_disadvantages_of_the_other_site(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], other: Raw, asked: Raw, sentence: str
) -> None:
    asked = {**asked, "placement": {**asked.get("placement", {}), "prices": {"carbonCnyPerKg": 0}}}
    objects = [priced("m1", 0.2, 10), other, grant("m1", "m2"), workload(3, **asked)]
    code, answer = explained(tmp_path, capsys, *objects, versus="m2")
    assert code == 0
    assert sentence in answer["versus"]["sentence"]
    assert answer["versus"]["site"] == "m2"


def test_versus_an_unknown_site_lists_the_known_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "all.yaml"
    objects = [site_with_capacity("m1", 3), grant("m1"), workload(3)]
    path.write_text("\n---\n".join(json.dumps(each) for each in objects), encoding="utf-8")
    assert main(["explain", "ns/app", "-f", str(path), "--versus", "m9"]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "kapok explain: site m9 not found; sites: m1\n")


def test_tables_show_what_people_wrote_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = workload(requests={"memory": "[red]:apple:"})
    named = site_with_capacity("m1", 3, labels={"\u533a": "\u5357\u6c99"})
    chosen = workload(
        name="other", placement={"siteSelector": {"matchLabels": {"\u533a": "\u5929\u5e9c"}}}
    )
    path = tmp_path / "all.json"
    objects = {"kind": "List", "items": [named, grant("m1"), asked, chosen]}
    path.write_text(json.dumps(objects), encoding="utf-8")
    assert main(["explain", "ns/app", "-f", str(path), "--now", NOW.isoformat()]) == 1
    assert "'[red]:apple:' is not a quantity" in capsys.readouterr().out
    assert main(["explain", "ns/other", "-f", str(path), "--now", NOW.isoformat()]) == 1
    title, *lines = capsys.readouterr().out.splitlines()
    begin = next(index for index, line in enumerate(lines) if line.startswith("SITE"))
    assert "ns/other" in title
    assert "m1 has \u533a=\u5357\u6c99" in lines[begin + 1]
    assert lines[begin + 2].endswith("\u533a=\u5929\u5e9c -> (none)")


async def test_the_hub_explains_and_compares_what_it_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = fleet_of(site_with_capacity("m1", 3), site_with_capacity("m2", 9))
    async with Ledger(tmp_path) as ledger:
        recorder = LedgerRecorder(ledger)
        for facts in fleet.all_facts():
            recorder.update_facts(facts.name, facts)
        for replicas in (2, 4):
            asked = demand(workload(replicas, placement={"strategy": "Aggregated"}))
            decision = choose(asked, fleet, now=NOW)
            content = {"demand": asked, "terms": DEFAULT_TERMS, "decision": decision}
            await recorder.record(
                subject=asked.key, epoch=3, at=NOW, content=content, spec=WorkloadSpec()
            )
        refusal = NotAccepted(reason="spread", condition="SpreadImpossible", message="never")
        content = {"refusal": msgspec.to_builtins(refusal)}
        await recorder.record(
            subject="ns/never", epoch=3, at=NOW, content=content, spec=WorkloadSpec()
        )
    where = ["--data-dir", str(tmp_path), "-o", "json"]
    assert main(["explain", "ns/app", *where]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["decision"], answer["line"]) == ("3-2", "placed on m2 (4)")
    assert len(answer["sites"]) == 2
    assert main(["explain", "ns/never", *where]) == 1
    assert json.loads(capsys.readouterr().out)["line"] == "not accepted: never"
    assert main(["explain", "ns/unheard", *where]) == 2
    assert "the ledger holds no decision about ns/unheard" in capsys.readouterr().err
    assert main(["diff", "3-1", "3-2", *where]) == 1
    compared = json.loads(capsys.readouterr().out)
    assert compared["sites"] == {"m2": [2, 4]}
    assert compared["demand"] == {"replicas": [2, 4]}
    assert compared["facts"] == {}
    assert main(["diff", "3-1", "3-1", *where]) == 0
    capsys.readouterr()
    assert main(["diff", "3-1", "3-3", *where]) == 2
    assert "record 3-3 holds no decision: the workload was not accepted" in capsys.readouterr().err


async def test_decisions_that_differ_in_their_reasons_only_are_not_equal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = demand(workload(5))
    async with Ledger(tmp_path) as ledger:
        recorder = LedgerRecorder(ledger)
        for spec in ({}, {"cordon": True}):
            fleet = fleet_of(site_with_capacity("m1", 3), site_with_capacity("m2", 1, spec=spec))
            for facts in fleet.all_facts():
                recorder.update_facts(facts.name, facts)
            content = {"demand": asked, "decision": choose(asked, fleet, now=NOW)}
            await recorder.record(
                subject=asked.key,
                epoch=3,
                at=NOW,
                content={**content, "terms": DEFAULT_TERMS},
                spec=WorkloadSpec(),
            )
    where = ["--data-dir", str(tmp_path), "-o", "json"]
    assert main(["diff", "3-1", "3-2", *where]) == 1
    compared = json.loads(capsys.readouterr().out)
    assert (compared["phase"], compared["sites"]) == ([], {})
    assert compared["reasons"] == {"cordoned": [None, 1], "full": [2, 1]}


async def test_an_explanation_is_recovered_byte_for_byte_whatever_happened_since(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grams = {"gco2PerKwh": 441.9, "origin": "measured", "observedAt": "2026-11-23T08:00:00Z"}
    fleet = fleet_of(
        site("m1", nodes(3), intensity=grams),
        site_with_capacity("m2", 9),
        site_with_capacity("m3", 1, spec={"cordon": True}),
    )
    asked = demand(workload(2))
    decision = choose(asked, fleet, now=NOW)
    before = canonical_json(explain(asked, fleet, now=NOW, decision=decision))
    async with Ledger(tmp_path) as ledger:
        recorder = LedgerRecorder(ledger)
        for facts in fleet.all_facts():
            recorder.update_facts(facts.name, facts)
        content = {"demand": asked, "terms": DEFAULT_TERMS, "decision": decision}
        await recorder.record(
            subject=asked.key, epoch=1, at=NOW, content=content, spec=WorkloadSpec()
        )
        for facts in fleet_of(site_with_capacity("m1", 0), site_with_capacity("m4", 8)).all_facts():
            recorder.update_facts(facts.name, facts)
    with LedgerReader(tmp_path / LEDGER_FILE) as reader:
        record = reader.last_about(asked.key)
        assert record is not None
        case = read_recorded_decision(reader, record)
    later = explain(
        case.demand,
        case.fleet,
        now=case.decision.decided_at,
        terms=case.terms,
        decision=case.decision,
    )
    assert canonical_json(later) == before
    assert main(["explain", "ns/app", "--data-dir", str(tmp_path), "-o", "json"]) == 0
    explanation = json.loads(capsys.readouterr().out)
    assert [(each["name"], each["room"]) for each in explanation["sites"]] == [
        ("m1", 3),
        ("m2", 9),
        ("m3", 1),
    ]


async def test_an_older_decision_is_explained_by_its_id(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Ledger(tmp_path) as ledger:
        for number in (1, 2):
            refusal = msgspec.to_builtins(
                NotAccepted(reason="invalid", condition="Invalid", message=f"refusal {number}")
            )
            content = {"refusal": msgspec.to_builtins(refusal)}
            await ledger.append(
                LedgerEntry(kind="refusal", subject="ns/app", epoch=1, at=NOW, content=content)
            )
    words = ["explain", "ns/app", "--data-dir", str(tmp_path), "-o", "json"]
    assert main(words) == 1
    assert json.loads(capsys.readouterr().out)["line"].endswith("refusal 2")
    assert main([*words, "--decision", "1-1"]) == 1
    assert json.loads(capsys.readouterr().out)["line"].endswith("refusal 1")
    assert main([*words, "--decision", "9-9"]) == 2
    assert main(["explain", "ns/other", *words[2:], "--decision", "1-1"]) == 2
    assert "about ns/app, not about ns/other" in capsys.readouterr().err


def test_what_is_applied_at_a_site_is_shown_in_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pods = {"containers": [{"name": "c", "image": "web:1", "args": ["--a"]}]}
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": 2, "template": {"spec": pods}},
    }
    asked = workload(2, placement={"spread": [{"by": "site", "minGroups": 2}]})
    asked["spec"].pop("demand")
    asked["spec"] |= {
        "manifests": [manifest],
        "overrides": [
            {
                "siteSelector": {"matchLabels": {"zone": "far"}},
                "patch": [
                    {"op": "remove", "path": "/spec/template/spec/containers/0/args/0"},
                ],
                "imageRegistries": [{"from": "docker.io", "to": "far.local"}],
            }
        ],
    }
    mirror = {"imageRegistries": [{"from": "far.local/library", "to": "mirror.local"}]}
    m2 = site_with_capacity("m2", 9, labels={"zone": "far"}, spec=mirror)
    code, answer = explained(
        tmp_path, capsys, site_with_capacity("m1", 9), m2, grant("m1", "m2"), asked
    )
    assert code == 0
    first, second = answer["sites"]
    assert "applied" not in first
    assert [(each["source"], each["changes"]) for each in second["applied"]] == [
        ("spec.manifests", ["1 objects"]),
        ("decision", ["1 replicas, and what nodes need"]),
        ("spec.overrides[0]", ["remove /spec/template/spec/containers/0/args/0"]),
        ("spec.overrides[0]", ["web:1 -> far.local/library/web:1"]),
        ("imageRegistries of the site", ["far.local/library/web:1 -> mirror.local/web:1"]),
    ]
    main(["explain", "ns/app", "-f", str(tmp_path / "all.yaml"), "--now", NOW.isoformat()])
    text = " ".join(capsys.readouterr().out.split())
    assert "m2: imageRegistries of the site: Deployment web: far.local/library/web:1 ->" in text


def test_what_pod_templates_refer_to_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pods = {
        "serviceAccountName": "runner",
        "containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": "app"}}]}],
    }
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"template": {"spec": pods}},
    }
    app = workload(1, manifests=[manifest])
    del app["spec"]["demand"]
    _, answer = explained(tmp_path, capsys, site("m1", nodes(4)), grant("m1"), app)
    assert any("refer to ConfigMap app, ServiceAccount runner" in one for one in answer["notes"])


@pytest.mark.parametrize("is_recorded", [True, False])
async def test_what_goes_along_is_named_with_what_the_record_says_of_it(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    is_recorded: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    sources = [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "登录"}}]
    pods = {"containers": [{"name": "c", "image": "web:1", "envFrom": sources}]}
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": 2, "template": {"spec": pods}},
    }
    fleet, asked = fleet_of(site_with_capacity("m1", 4)), demand(workload(2))
    decision = choose(asked, fleet, now=NOW)
    content: Raw = {"demand": asked, "terms": DEFAULT_TERMS, "decision": decision}
    digest = "sha256:" + "1" * 64
    if is_recorded:  # a former object, which the spec names no more, is not shown
        content["references"] = [
            {"kind": "ConfigMap", "namespace": "ns", "name": "former", "digest": digest},
            {"kind": "ConfigMap", "namespace": "ns", "name": "settings", "digest": digest},
        ]
    async with Ledger(tmp_path) as ledger:
        recorder = LedgerRecorder(ledger)
        for facts in fleet.all_facts():
            recorder.update_facts(facts.name, facts)
        spec = WorkloadSpec(manifests=(manifest,))
        await recorder.record(subject=asked.key, epoch=1, at=NOW, content=content, spec=spec)
    words = ["explain", "ns/app", "--data-dir", str(tmp_path)]
    assert main([*words, "-o", "json"]) == 0
    [config, secret] = json.loads(capsys.readouterr().out)["references"]
    assert config == {
        "kind": "ConfigMap",
        "namespace": "ns",
        "name": "settings",
        "optional": False,
        "digest": digest if is_recorded else None,
        "resourceVersion": None,
    }
    assert (secret["kind"], secret["name"], secret["digest"]) == ("Secret", "登录", None)
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "goes along: Secret ns/登录: not read when this" in printed
    assert (digest in printed.replace("\n", "")) is is_recorded
