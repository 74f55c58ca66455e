"""Fields of conflicts are found in the object by the server's own way to write their paths."""

import copy

import pytest

from agents.member.fields.field_paths import without_field

TREE = {
    "metadata": {"annotations": {"a.b/c": "1", "a": "2"}, "finalizers": ["x", "y"]},
    "data": {"a.b": "1", "a": {"b": "2"}},
    "spec": {
        "replicas": 2,
        "containers": [
            {"name": "app", "image": "i", "ports": [{"containerPort": 80, "name": "h"}]},
            {"name": 'odd"],[', "resources": {"limits": {"cpu": "1"}}},
        ],
    },
}
IN_SPEC = TREE["spec"]


@pytest.mark.parametrize(
    ("path", "where", "expected"),
    [
        (".spec.replicas", ("spec", "replicas"), None),
        (".metadata.annotations.a.b/c", ("metadata", "annotations"), {"a": "2"}),
        (".data.a.b", ("data",), {"a": {"b": "2"}}),
        ('.metadata.finalizers[="y"]', ("metadata", "finalizers"), ["x"]),
        (".metadata.finalizers[0]", ("metadata", "finalizers"), ["y"]),
        (
            '.spec.containers[name="app"].image',
            ("spec", "containers", 0),
            {"name": "app", "ports": [{"containerPort": 80, "name": "h"}]},
        ),
        (
            '.spec.containers[name="app"].ports[containerPort=80,protocol="TCP"].name',
            ("spec", "containers", 0, "ports", 0),
            {"containerPort": 80},
        ),
        (
            '.spec.containers[name="odd\\"],["].resources.limits.cpu',
            ("spec", "containers", 1),
            {"name": 'odd"],['},
        ),
        ('.spec.containers[name="app"]', ("spec", "containers", 0, "name"), 'odd"],['),
    ],
)
def test_one_field_is_left_out(path: str, where: tuple[str | int, ...], expected: object) -> None:
    before = copy.deepcopy(TREE)
    found: object = without_field(TREE, path)
    for step in where:
        if isinstance(found, dict) and step not in found:
            found = None
            break
        found = found[step]  # type: ignore[index]
    assert found == expected
    assert before == TREE, "the object itself is left as it is"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "spec",
        ".spec.none",
        ".specreplicas",
        ".spec.replicas.deeper",
        ".spec.containers[name=app].image",
        '.spec.containers[name="other"].image',
        ".spec.containers[name",
        ".spec.containers[",
        ".spec.containers[7]",
        '.spec.containers[protocol="TCP"].image',
    ],
)
def test_a_path_that_names_nothing_changes_nothing(path: str) -> None:
    assert without_field(TREE, path) is None
