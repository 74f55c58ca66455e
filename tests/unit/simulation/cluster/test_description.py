"""The YAML that describes simulated clusters, right and wrong."""

from pathlib import Path

import pytest

from scheduler.cli.entry import main
from scheduler.simulation.cluster.description import InvalidDescription, read_clusters, read_nodes


def _file(folder: Path, text: str) -> Path:
    path = folder / "described.yaml"
    path.write_text(text)
    return path


def test_a_count_makes_numbered_nodes_and_defaults_fill_in(tmp_path: Path) -> None:
    (described,) = read_nodes(
        _file(tmp_path, 'nodes: [{name: e, count: 2, allocatable: {cpu: "4"}}]')
    )
    first, second = described.expand()
    assert (first.name, second.name) == ("e-0", "e-1")
    assert first.allocatable == {"cpu": "4", "memory": "32Gi", "pods": "110"}


def test_kubeconfigs_are_relative_to_the_description(tmp_path: Path) -> None:
    (cluster,) = read_clusters(_file(tmp_path, "clusters: [{kubeconfig: a/b.yaml}]"))
    assert Path(cluster.kubeconfig) == tmp_path / "a/b.yaml"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nodes: [{name: a}, {name: a}]", "duplicate node a"),
        ("nodes: [{name: a, alocatable: {}}]", "alocatable"),
        ('nodes: [{name: a, allocatable: {cpu: "1.5.2"}}]', "1.5.2"),
        ("nodes: [{name: Ä}]", "regex"),
        ("nodes: [{name: a, count: 0}]", ">= 1"),
        ("nodes: {", "not YAML"),
        ("[]", "array"),
    ],
)
def test_a_wrong_description_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(InvalidDescription) as raised:
        read_nodes(path)
    assert str(path) in str(raised.value)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--kubeconfig"),
        (["--kubeconfig", "missing"], "kubeconfig missing not found"),
        (["--kubeconfig", "{here}", "--nodes", "missing"], "missing: No such file"),
        (["--kubeconfig", "{here}", "{here}", "--context", "a", "b", "c"], "one context for each"),
        (["--kubeconfig", "{here}", "--nodes", "a", "b"], "one for each"),
        (["--spec", "{here}", "--kubeconfig", "{here}"], "--spec names its own"),
    ],
)
def test_a_wrong_call_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    here = _file(tmp_path, "{}")
    assert main(["simulate-cluster", *(word.format(here=here) for word in words)]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1
