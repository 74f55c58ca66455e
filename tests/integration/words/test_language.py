"""`kapok --lang zh|en`: tables and sentences in Chinese, JSON and `--help` as ever."""

import argparse
import asyncio
import json
import unicodedata
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from scheduler.apiserver.server import ApiServerOptions, serve
from scheduler.cli.entry import main
from scheduler.control.ports.hub import SITES, WORKLOADS
from scheduler.hub.client import HubClient, open_hub
from scheduler.hub.crds.generate import make_crds
from scheduler.words.languages import choose_language
from tests.support.sites import NOW, grant, nodes, site, site_with_capacity, workload

pytestmark = pytest.mark.integration

CITY = [
    site("m1", nodes(3)),
    site_with_capacity("m2", 9, spec={"cordon": True}),
    site_with_capacity("m3", 5),
    grant("m1", "m2"),
    workload(2, name="fits"),
    workload(50, name="large"),
]


@pytest.fixture(autouse=True)
def no_language(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment asks for no language, and none stays chosen for the next test."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG", "COLUMNS"):  # a worker of tests has COLUMNS
        monkeypatch.delenv(name, raising=False)
    yield
    choose_language("en")


@pytest.fixture
def city(tmp_path: Path) -> str:
    """A folder with the city."""
    path = tmp_path / "city.json"
    path.write_text(json.dumps({"kind": "List", "items": CITY}), encoding="utf-8")
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    code = main(words)
    found = capsys.readouterr()
    return code, found.out, found.err


def explain(city: str, name: str, *more: str) -> list[str]:
    return ["explain", f"ns/{name}", "-f", city, "--now", NOW.isoformat(), *more]


def test_an_explanation_is_chinese_before_and_after_the_command(
    city: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "--lang", "zh", *explain(city, "large"))
    assert code == 1
    assert "ns/large：3 个站点中没有可用的" in out
    assert "m2 已被封锁，不接收新负载" in out
    assert "若将 ns/large 的 副本数 从 50 改为 1，就可以放置" in out
    assert "由租户修改" in out
    for words in (["--lang=zh", *explain(city, "large")], explain(city, "large", "--lang", "zh")):
        assert run(capsys, *words)[1] == out


def test_a_reader_learns_in_plain_words_what_a_reason_means_and_who_to_ask(
    city: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, chinese, _ = run(capsys, "--lang", "zh", *explain(city, "large"))
    assert "cordoned：运维人员暂时不让该站点接收新的工作负载。" in chinese.replace("\n", "")
    assert "请联系 Kapok 与站点的运维人员。" in chinese.replace("\n", "")
    _, english, _ = run(capsys, *explain(city, "large"))
    assert "accept no new work there for now. Ask the operators" in " ".join(english.split())
    _, out, _ = run(capsys, *explain(city, "large", "-o", "json"))
    plain = json.loads(out)["plain"]
    assert [each["reason"] for each in plain] == ["not-allowed", "cordoned", "full"]
    assert {each["who"] for each in plain} == {"authority", "operator"}


def test_the_environment_chooses_the_language_as_posix_orders_its_variables(
    city: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_chinese(*words: str) -> bool:
        return "放置于" in run(capsys, *words, *explain(city, "fits"))[1]

    assert not is_chinese()
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert is_chinese()
    assert not is_chinese("--lang", "en")
    monkeypatch.setenv("LC_MESSAGES", "de_DE.UTF-8")
    assert not is_chinese(), "there is no German catalogue"
    monkeypatch.setenv("LC_ALL", "zh_TW.UTF-8")
    assert is_chinese()
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    assert not is_chinese()


@pytest.mark.parametrize("words", [["--lang", "fr"], ["--lang=ZH"], ["--lang"]])
def test_a_language_that_there_is_not_is_wrong_usage(
    words: list[str], city: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*explain(city, "fits"), *words] if words == ["--lang"] else [*words, "version"]
    code, out, err = run(capsys, *given)
    assert (code, out) == (2, "")
    assert err.startswith("kapok: --lang: no language ")
    assert err.endswith("write en or zh\n")


def test_json_and_help_are_the_same_in_every_language(
    city: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["place", "-f", city, "-o", "json", "--now", NOW.isoformat()]
    for command in (explain(city, "large", "-o", "json"), place):
        code, english, _ = run(capsys, *command)
        assert run(capsys, "--lang", "zh", *command)[:2] == (code, english)
    helps = []
    for language in ("en", "zh"):
        with pytest.raises(SystemExit):
            main(["--lang", language, "--help"])
        helps.append(capsys.readouterr().out)
    assert helps[0] == helps[1]
    assert "--lang {en,zh}" in helps[0]


def test_sentences_in_json_have_slugs_and_values(
    city: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = run(capsys, *explain(city, "large", "-o", "json", "--versus", "m2"))
    answer = json.loads(out)
    verdicts = {each["rule"]: each for site in answer["sites"] for each in site["verdicts"]}
    assert verdicts["cordoned"]["message"] == "cordoned.yes"
    assert verdicts["cordoned"]["values"] == {"site": "m2"}
    assert verdicts["stale"]["values"] == {"site": "m2", "age": 60.0, "limit": 300}
    assert verdicts["fit"]["values"] == {"site": "m2", "room": 9, "wanted": 50, "more": []}
    change = answer["smallestChange"][0]
    assert (change["message"], change["values"]["becomes"]) == ("change", "1")
    assert answer["versus"]["message"] == "versus.refused"
    parts = answer["lineMessage"]["values"]["parts"]
    assert [each["message"] for each in parts] == ["line.feasible", "line.site-to-report"]
    assert parts[0]["values"]["total"] == 3
    assert answer["noteMessages"][0]["sentence"] == answer["notes"][0]


def test_words_for_the_packaged_kubectl_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[list[str]] = []

    def keep(arguments: argparse.Namespace) -> int:
        given.append(arguments.words)
        return 0

    monkeypatch.setattr("scheduler.cli.kubectl.run", keep)
    assert run(capsys, "--lang", "zh", "kubectl", "get", "--lang", "fr")[0] == 0
    assert given == [["get", "--lang", "fr"]]


# ---------------------------------------------------------------- lists of a real hub


@pytest_asyncio.fixture
async def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HubClient]:
    options = ApiServerOptions(data_dir=tmp_path / "hub", crds=make_crds(), name="hub")
    async with serve(options) as running, open_hub(running.kubeconfig_path) as client:
        await fill(client)
        monkeypatch.setenv("KUBECONFIG", str(running.kubeconfig_path))
        monkeypatch.delenv("KAPOK_DATA_HOME", raising=False)
        yield client


async def fill(client: HubClient) -> None:
    """A site that is drained, and a workload that waits; their names look like words of ours."""
    drained = {
        "type": "Schedulable",
        "status": "False",
        "reason": "Draining",
        "message": "drain asked by ops: 2 workloads are left there",
        "lastTransitionTime": "2026-11-23T08:00:00Z",
    }
    named = {"name": "energy", "labels": {"zone": "a"}}
    spec = {"tier": "edge", "location": {"province": "CN-GD"}}
    made = {"apiVersion": "kapok.dev/v1alpha1", "kind": "Site", "metadata": named, "spec": spec}
    await client.create(SITES, made)
    await client.merge_patch(
        SITES, "energy", {"status": {"conditions": [drained]}}, subresource="status"
    )
    waits = workload(2, name="site") | {"apiVersion": "kapok.dev/v1alpha1"}
    waits["metadata"] = {"name": "site", "namespace": "default"}
    waits.pop("status", None)
    await client.create(WORKLOADS, waits)
    await client.merge_patch(
        WORKLOADS,
        "site",
        {"status": {"phase": "Waiting", "reason": "0/2 sites are feasible: 2 full"}},
        namespace="default",
        subresource="status",
    )


@pytest.mark.usefixtures("hub")
async def test_lists_are_chinese_and_their_columns_line_up(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = await asyncio.to_thread(
        run, capsys, "--lang", "zh", "get", "sites", "-o", "wide"
    )
    assert code == 0
    assert err == "energy：ops 要求腾空：那里还有 2 个工作负载\n"
    assert columns(out, "名称", "健康状况", "运维")["运维"] == "腾空中"
    assert columns(out, "名称", "健康状况", "运维")["名称"] == "energy", "a name stays a name"
    _, out, _ = await asyncio.to_thread(run, capsys, "--lang", "zh", "get", "kw", "-A")
    row = columns(out, "命名空间", "名称", "阶段", "数据级别", "原因")
    assert row["原因"] == "2 个站点中没有可用的：full 2 个"
    assert (row["名称"], row["阶段"], row["数据级别"]) == ("site", "等待中", "general-2")
    _, out, _ = await asyncio.to_thread(
        run, capsys, "--lang", "zh", "get", "kw", "-A", "--no-headers"
    )
    assert out.split()[:3] == ["default", "site", "等待中"]
    _, names, _ = await asyncio.to_thread(
        run, capsys, "--lang", "zh", "get", "kw", "-A", "-o", "name"
    )
    assert names == "workload.kapok.dev/site\n"
    _, _, err = await asyncio.to_thread(run, capsys, "--lang", "zh", "get", "tenants")
    assert err == "没有找到 tenants\n"


def columns(table: str, *titles: str) -> dict[str, str]:
    """The cells of the first row that begin where these titles begin on a terminal."""
    head, row = table.splitlines()[:2]
    return {title: cell_at(row, width(head.partition(title)[0])) for title in titles}


def cell_at(row: str, start: int) -> str:
    """The cell that begins at a column of the terminal."""
    padded = row + " " * start
    at = next(index for index in range(len(padded)) if width(padded[:index]) == start)
    return padded[at:].partition("   ")[0].strip()


def width(text: str) -> int:
    """Columns of a terminal that a text takes (Unicode TR 11)."""
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)
