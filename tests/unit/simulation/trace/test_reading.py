"""Trace files, right and wrong: an error names file, line and column."""

from pathlib import Path

import pytest

from scheduler.simulation.trace.reading import BadTrace, read_nodes, read_pods

NODES = "sn,cpu_milli,memory_mib,gpu,model\n"
PODS = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,creation_time,deletion_time\n"
GOOD = "p,1000,1024,1,500,,5,9\n"


def _file(folder: Path, text: str | bytes) -> Path:
    path = folder / "trace.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_columns_may_stand_in_any_order_beside_others(tmp_path: Path) -> None:
    text = "extra,gpu,sn,model,memory_mib,cpu_milli\nx,2,a,T4,1024,8000\n"
    (node,) = read_nodes(_file(tmp_path, text))
    assert (node.name, node.cpu_milli, node.memory_mib, node.card_count) == ("a", 8000, 1024, 2)


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf" + (PODS + GOOD).replace("\n", "\r\n").encode()
    assert [pod.name for pod in read_pods(_file(tmp_path, text))] == ["p"]


def test_a_pod_without_an_end_stays(tmp_path: Path) -> None:
    (pod,) = read_pods(_file(tmp_path, PODS + "p,1,1,0,0,,5,\n"))
    assert pod.deleted_seconds is None


def test_a_gpu_spec_names_the_models_that_will_do(tmp_path: Path) -> None:
    (pod,) = read_pods(_file(tmp_path, PODS + "p,1,1,1,1000,V100M32|V100M16,5,9\n"))
    assert pod.shape.models == ("V100M16", "V100M32")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "p,-1,1024,1,500,,5,9",
            "line 3, column cpu_milli: invalid number '-1': expected a whole number",
        ),
        ("p,nan,1024,1,500,,5,9", "column cpu_milli: invalid number 'nan'"),
        ("p,1e3,1024,1,500,,5,9", "column cpu_milli: invalid number '1e3'"),
        ("p,1.5,1024,1,500,,5,9", "column cpu_milli: invalid number '1.5'"),
        ("p,,1024,1,500,,5,9", "column cpu_milli: invalid number ''"),
        ("p,\u0661,1024,1,500,,5,9", "column cpu_milli"),
        ("p,99999999999999999999,1024,1,500,,5,9", "column cpu_milli"),
        ("p,1,inf,1,500,,5,9", "column memory_mib: invalid number 'inf'"),
        ("p,1,1,1,1001,,5,9", "column gpu_milli: 1001 is greater than the limit 1000"),
        ("p,1,1,0,500,,5,9", "column gpu_milli: 500 contradicts num_gpu 0"),
        ("p,1,1,2,0,,5,9", "column gpu_milli: 0 contradicts num_gpu 2"),
        ("p,1,1,1,500,,9,5", "column deletion_time: 5 is before creation_time 9"),
        (",1,1,1,500,,5,9", "column name: the name is empty"),
        ("q,1,1,1,500,,5,9", "line 3, column name: duplicate name q; it is also in line 2"),
        ("p,1,1,1,500,,5", "line 3: expected 8 fields"),
        ("p,1,1,1,500,,5,9,9", "line 3: expected 8 fields"),
        ('p,1,1,1,"500,,5,9', "line 2: not CSV"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = _file(tmp_path, PODS + "q,1,1,1,500,,5,9\n" + line + "\n")
    with pytest.raises(BadTrace) as raised:
        read_pods(path)
    assert str(raised.value).startswith(f"{path}, line")
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "line 1, column name: missing column"),
        (b"a,b\n1,2\n", "column name: missing column; the header has a, b"),
        ((PODS.replace("gpu_spec", "name") + GOOD).encode(), "column name: duplicate column"),
        (PODS.encode(), "no rows below the header"),
        (b"\xff\xfe\x00n", "not UTF-8"),
        (PODS.encode() + b"\x00\x00\n", "line 2"),
    ],
)
def test_a_file_that_is_no_trace_is_refused(tmp_path: Path, text: bytes, said: str) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(BadTrace) as raised:
        read_pods(path)
    assert str(path) in str(raised.value)
    assert said in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadTrace, match=r"nowhere\.csv: No such file"):
        read_nodes(tmp_path / "nowhere.csv")
