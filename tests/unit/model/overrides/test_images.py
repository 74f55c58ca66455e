"""Images are rewritten by whole parts of their normal form, and nothing else of them changes."""

from typing import Any

import pytest

from scheduler.model.decode import NotReadable, decode_as
from scheduler.model.kinds.kinds import Site
from scheduler.model.kinds.overrides import ImageRegistry
from scheduler.model.overrides.images import (
    ImageChange,
    problem_of_registry,
    rewritten,
    with_registries,
)
from tests.support.sites import site

DIGEST = "sha256:" + "0f" * 32


def registries(**each: str) -> list[ImageRegistry]:
    return [
        ImageRegistry(from_=name.replace("__", "/").replace("_", "."), to=to)
        for name, to in each.items()
    ]


HUB = [ImageRegistry(from_="docker.io", to="mirror.local:5000/hub")]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("nginx", "mirror.local:5000/hub/library/nginx"),
        ("nginx:1.25", "mirror.local:5000/hub/library/nginx:1.25"),
        ("library/nginx", "mirror.local:5000/hub/library/nginx"),
        ("bitnami/redis:7", "mirror.local:5000/hub/bitnami/redis:7"),
        ("docker.io/nginx", "mirror.local:5000/hub/library/nginx"),
        ("index.docker.io/nginx", "mirror.local:5000/hub/library/nginx"),
        ("DOCKER.IO/library/nginx:A", "mirror.local:5000/hub/library/nginx:A"),
        (f"nginx@{DIGEST}", f"mirror.local:5000/hub/library/nginx@{DIGEST}"),
        (f"a/b/c:1@{DIGEST}", f"mirror.local:5000/hub/a/b/c:1@{DIGEST}"),
        # Other registries, and what is no name of an image.
        ("quay.io/nginx", "quay.io/nginx"),
        ("docker.io.evil.example/nginx", "docker.io.evil.example/nginx"),
        ("docker.io:443/nginx", "docker.io:443/nginx"),
        ("localhost/nginx", "localhost/nginx"),
        ("localhost:5000/nginx:1", "localhost:5000/nginx:1"),
        ("[::1]:5000/nginx", "[::1]:5000/nginx"),
        ("Nginx", "Nginx"),
        ("", ""),
        ("/", "/"),
        ("docker.io/", "docker.io/"),
        ("docker.io/../nginx", "docker.io/../nginx"),
        ("docker.io//nginx", "docker.io//nginx"),
        ("$(IMAGE)", "$(IMAGE)"),
        ("http://docker.io/nginx", "http://docker.io/nginx"),
        ("nginx:1:2", "nginx:1:2"),
        ("nginx " + "x" * 3, "nginx xxx"),
        ("a" * 5000, "a" * 5000),
    ],
)
def test_an_image_is_rewritten_in_its_normal_form(image: str, expected: str) -> None:
    assert rewritten(image, HUB) == expected


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("reg.io/a/b/c", "deep.local/c"),
        ("reg.io/a/bc", "team.local/bc"),
        ("reg.io/ab/c", "all.local/ab/c"),
        ("reg.io/a/b", "deep.local"),
        ("reg.io:5000/a/b", "port.local/a/b"),
        ("REG.IO/a/x", "team.local/x"),
    ],
)
def test_the_longest_prefix_of_whole_parts_counts(image: str, expected: str) -> None:
    known = [
        ImageRegistry(from_="reg.io", to="all.local"),
        ImageRegistry(from_="reg.io/a/b", to="deep.local"),
        ImageRegistry(from_="reg.io/a", to="team.local"),
        ImageRegistry(from_="reg.io:5000", to="port.local"),
        ImageRegistry(from_="reg.io", to="second.local"),
    ]
    assert rewritten(image, known) == expected


def test_one_list_rewrites_an_image_once() -> None:
    chain = registries(a_io="b.io", b_io="c.io")
    assert rewritten("a.io/x", chain) == "b.io/x"


@pytest.mark.parametrize(
    "text",
    ["nginx", "docker.io/Nginx", "docker.io/x:1", "docker.io/", "https://docker.io", "a.io/../b"],
)
def test_what_is_no_registry_is_named(text: str) -> None:
    assert problem_of_registry(text)


@pytest.mark.parametrize("text", ["docker.io", "localhost", "h:5000", "a.io/x/y-z", "[::1]:80/x"])
def test_registries_with_ports_and_paths_are_read(text: str) -> None:
    assert problem_of_registry(text) == ""


def test_images_of_all_containers_of_all_kinds_are_found() -> None:
    pod: dict[str, Any] = {
        "initContainers": [{"name": "i", "image": "init"}],
        "containers": [{"name": "c", "image": "main:1"}, {"name": "d", "image": "quay.io/x"}],
        "ephemeralContainers": [{"name": "e", "image": "debug"}],
        "volumes": [{"name": "v", "image": {"reference": "data:2"}}, {"name": "w"}],
    }
    cron = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "x"},
        "spec": {"jobTemplate": {"spec": {"template": {"spec": pod}}}},
    }
    changes: list[ImageChange] = []
    after = with_registries(cron, HUB, changes)
    assert [each.before for each in changes] == ["init", "main:1", "debug", "data:2"]
    assert all(each.after.startswith("mirror.local:5000/hub/library/") for each in changes)
    assert "quay.io/x" in str(after)
    assert pod["containers"][0]["image"] == "main:1", "the manifest itself stays as it is"
    custom: dict[str, Any] = {
        "apiVersion": "x.example/v1",
        "kind": "Farm",
        "metadata": {"name": "x"},
        "spec": {"workers": [{"template": {"spec": {"containers": [{"image": "w"}]}}}]},
    }
    assert with_registries(custom, HUB, []) != custom
    steps = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "x"},
        "spec": {"templates": [{"container": {"image": "step"}}]},
    }
    assert "hub/library/step" in str(with_registries(steps, HUB, []))


def test_what_only_describes_pods_stays() -> None:
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "x"},
        "data": {"containers": "image: nginx"},
    }
    assert with_registries(config, HUB, []) is config
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {"containers": [{"image": 7}]},
    }
    assert with_registries(deployment, HUB, []) is deployment


@pytest.mark.parametrize(
    "text",
    [
        "nginx",
        "docker.io/Nginx",
        "docker.io/x:1",
        "docker.io/",
        "https://docker.io",
        "a.io/../b",
        "",
    ],
)
def test_a_site_with_what_is_no_registry_is_refused(text: str) -> None:
    raw = site("m1", spec={"imageRegistries": [{"from": text, "to": "m.io"}]})
    with pytest.raises(NotReadable, match="imageRegistries"):
        decode_as(raw, Site)


@pytest.mark.parametrize("text", ["docker.io", "localhost", "h:5000", "a.io/x/y-z", "[::1]:80/x"])
def test_a_site_with_registries_is_read(text: str) -> None:
    raw = site("m1", spec={"imageRegistries": [{"from": text, "to": text}]})
    assert decode_as(raw, Site).spec.image_registries[0].to == text
