"""Bad files: a refusal that says what, where and what instead; nothing on stdout, exit code 2."""

import json
from pathlib import Path

import pytest

from scheduler.cli.entry import main
from tests.support.sites import NOW, Raw, grant, nodes, site, site_with_capacity, workload

pytestmark = pytest.mark.integration

PRICED = site_with_capacity("m1", 5, spec={"prices": {"coreCnyPerHour": 0.25}})


def placed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | bytes
) -> tuple[int, Raw, str]:
    path = tmp_path / "all.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    code = main(["place", "-f", str(path), "--now", NOW.isoformat(), "-o", "json"])
    captured = capsys.readouterr()
    return code, json.loads(captured.out or "{}"), captured.err


def text_of(*objects: Raw) -> str:
    return "\n---\n".join(json.dumps(each) for each in objects)


def with_price(price: str) -> str:
    return text_of(PRICED, grant("m1"), workload()).replace("0.25", price)


def named(name: object, namespace: object = "ns") -> Raw:
    raw = workload(name="app")
    raw["metadata"]["name"] = name
    raw["metadata"]["namespace"] = namespace
    return raw


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "hold no Workload"),
        ("---\n---\n", "hold no Workload"),
        ("hello", "line 1: expected an object"),
        ("kind: a\nkind: b", "key 'kind' is given twice"),
        ("apiVersion: x\n\tkind: y", "tab character"),
        (b"kind: \xff", "not UTF-8"),
        (
            "kind: !!python/name:os.system x",
            "kind: the tag '!!python/name:os.system' is not supported",
        ),
        ("[" * 100_000, "nesting depth"),
        (text_of(named("../../x")), "invalid metadata.name '../../x': use"),
        (text_of(named("")), "invalid metadata.name ''"),
        (text_of(named("App")), "invalid metadata.name 'App'"),
        (text_of(named("a" * 254)), "use at most 253"),
        (text_of(named("app", "../x")), "invalid metadata.namespace '../x'"),
        (text_of(named("app", namespace=False)), "invalid metadata.namespace 'False'"),
        (text_of(named("app", 0)), "put it in quotes"),
        (text_of(named(name=False)), "metadata.name is False, which is no text; write"),
        (text_of(site("../m", nodes(1)), workload()), "invalid metadata.name '../m'"),
        (text_of(workload(-1)), "spec.demand.replicas: Expected `int` >= 0"),
        (text_of(workload(demand={"replicas": "3"})), "spec.demand.replicas: Expected `int`"),
        (text_of(PRICED, PRICED, workload()), "duplicate object Site m1; keep one"),
        (text_of({**workload(), "kind": "Workloads"}), "did you mean Workload?"),
        (with_price(".nan"), "spec.prices.coreCnyPerHour: json: unsupported value: .nan"),
        (with_price(".inf"), "spec.prices.coreCnyPerHour: json: unsupported value: .inf"),
        (with_price("1e400"), "line 1: the number 1e400 is out of range"),
        (
            text_of(site("m1", nodes(1, cpu="lots")), workload()),
            "Site m1: status.nodeClasses[0].free[0]: cpu: 'lots' is not a quantity; write",
        ),
    ],
)
def test_a_bad_file_is_refused_with_what_and_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | bytes, message: str
) -> None:
    code, answer, error = placed(tmp_path, capsys, text)
    assert (code, answer) == (2, {})
    assert message in error
    assert len(error) < 1000


@pytest.mark.parametrize("cny", ["1e-05", "25E-2", "2.5e-1"])
def test_numbers_are_read_as_json_writes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cny: str
) -> None:
    assert placed(tmp_path, capsys, with_price(cny))[0] == 0


def test_a_byte_order_mark_and_windows_lines_do_no_harm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = text_of(PRICED, grant("m1"), workload()).replace("\n", "\r\n")
    assert placed(tmp_path, capsys, b"\xef\xbb\xbf" + text.encode())[0] == 0


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ({"memory": "1Gi "}, "memory: '1Gi ' is not a quantity; write"),
        ({"cpu": "-1"}, "cpu: '-1' is negative; write 0 or more"),
        ({"cpu": "1e30"}, "cpu: '1e30' is too large"),
        ({"memory": str(2**63)}, "is too large"),
    ],
)
def test_an_impossible_request_is_not_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], requests: Raw, message: str
) -> None:
    text = text_of(PRICED, grant("m1"), workload(requests=requests))
    code, answer, _ = placed(tmp_path, capsys, text)
    decision = answer["decisions"][0]
    assert (code, decision["phase"], decision["sites"]) == (1, "Refused", [])
    assert message in decision["line"]
