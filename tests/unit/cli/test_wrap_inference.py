"""`kapok wrap`: kustomizations, what annotations say, and what is asked."""

import json
from pathlib import Path
from typing import Any

import pytest

from scheduler.cli.entry import main
from scheduler.cli.wrapping.questions import ask_for_missing

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {NOTES}}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: c, image: "web:1", resources: {requests: {cpu: 100m}}}]
"""


def wrap(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[Any, str]:
    assert main(["wrap", *words, "-o", "json"]) == code
    printed = capsys.readouterr()
    return json.loads(printed.out) if code == 0 else None, printed.err


def folder_with(folder: Path, notes: str = "") -> Path:
    (folder / "web.yaml").write_text(DEPLOYMENT.replace("NOTES", notes))
    (folder / "kustomization.yaml").write_text(
        "resources: [web.yaml]\nnamespace: shop\nnamePrefix: blue-\n"
        "images: [{name: web, newTag: '7'}]\n"
    )
    return folder


def test_a_kustomization_is_built_and_wrapped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, notices = wrap(capsys, "-k", str(folder_with(tmp_path)))
    assert made["metadata"] == {"name": "blue-web", "namespace": "shop"}
    [manifest] = made["spec"]["manifests"]
    assert manifest["spec"]["template"]["spec"]["containers"][0]["image"] == "web:7"
    assert "no data class is given" in notices
    assert "no platforms are given" in notices


def test_a_folder_without_a_kustomization_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert str(tmp_path) in wrap(capsys, "-k", str(tmp_path), code=2)[1]
    assert "not a folder" in wrap(capsys, "-k", str(tmp_path / "none"), code=2)[1]
    assert "one of them" in wrap(capsys, code=2)[1]
    assert "one of them" in wrap(capsys, "-k", "x", "-f", "y", code=2)[1]


def test_annotations_become_fields_and_are_taken_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = (
        'kapok.dev/data-class: general-3, kapok.dev/protection-level: "3", team: a,'
        ' kapok.dev/image-platforms: "linux/arm64, linux/amd64"'
    )
    made, notices = wrap(capsys, "-k", str(folder_with(tmp_path, notes)))
    spec = made["spec"]
    assert (spec["dataClass"], spec["protectionLevel"]) == ("general-3", 3)
    assert spec["imagePlatforms"] == ["linux/arm64", "linux/amd64"]
    assert spec["manifests"][0]["metadata"]["annotations"] == {"team": "a"}
    assert "no data class" not in notices
    given = ("--data-class", "general-1", "--platform", "linux/amd64")
    spec = wrap(capsys, "-k", str(tmp_path), *given)[0]["spec"]
    assert (spec["dataClass"], spec["imagePlatforms"]) == ("general-1", ["linux/amd64"])


def test_objects_that_disagree_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder_with(tmp_path, "kapok.dev/data-class: general-3")
    other = {"kapok.dev/data-class": "general-1"}
    settings = {"kind": "ConfigMap", "apiVersion": "v1"}
    settings["metadata"] = {"name": "settings", "annotations": other}  # type: ignore[assignment]
    (tmp_path / "settings.yaml").write_text(json.dumps(settings))
    words = ("-f", str(tmp_path / "web.yaml"), "-f", str(tmp_path / "settings.yaml"))
    error = wrap(capsys, *words, code=1)[1]
    assert "Deployment web says kapok.dev/data-class: general-3" in error
    assert "ConfigMap settings says general-1" in error
    folder_with(tmp_path, "kapok.dev/protection-level: high")
    assert "is no number" in wrap(capsys, "-f", str(tmp_path / "web.yaml"), code=1)[1]
    folder_with(tmp_path, "kapok.dev/data-class: secret")
    assert "dataClass" in wrap(capsys, "-f", str(tmp_path / "web.yaml"), code=1)[1]


def test_a_node_selector_says_the_platform(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder_with(tmp_path) / "web.yaml"
    selector = "nodeSelector: {kubernetes.io/arch: arm64}\n      containers:"
    file.write_text(file.read_text().replace("containers:", selector))
    assert wrap(capsys, "-f", str(file))[0]["spec"]["imagePlatforms"] == ["linux/arm64"]


def test_a_person_is_asked_for_what_is_missing_alone() -> None:
    answers = iter(["secret\n", "general-2\n", "linux/arm64, linux/amd64\n"])
    spec: dict[str, Any] = {}
    assert ask_for_missing(spec, reads_stdin=False, read_answer=lambda _: next(answers)) == []
    assert spec == {"dataClass": "general-2", "imagePlatforms": ["linux/arm64", "linux/amd64"]}
    complete: dict[str, Any] = {"dataClass": "general-1", "imagePlatforms": ["linux/amd64"]}
    assert ask_for_missing(complete, reads_stdin=True) == []
    left_out: dict[str, Any] = {}
    assert len(ask_for_missing(left_out, reads_stdin=False, read_answer=lambda _: "\n")) == 2
    assert left_out == {}
