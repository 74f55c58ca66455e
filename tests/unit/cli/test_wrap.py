"""`kapok wrap`: plain manifests become a Workload, and the hub's warning names the command."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from scheduler.cli.entry import main
from scheduler.cli.support.output import format_object_as_yaml
from scheduler.cli.wrap import CannotWrap, wrap
from scheduler.control.status.bare_kinds import BARE_KINDS, bare_object_warnings
from scheduler.hub.schema.yaml_documents import load_documents
from scheduler.model.decode import NotReadable
from scheduler.model.manifests.checks import BadManifest

_POD = {"spec": {"containers": [{"name": "main", "image": "web:1"}]}}


def _object(kind: str, name: str = "web", **spec: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    group = {
        "Deployment": "apps/v1",
        "StatefulSet": "apps/v1",
        "DaemonSet": "apps/v1",
        "ReplicaSet": "apps/v1",
        "Job": "batch/v1",
        "CronJob": "batch/v1",
        "ClusterRole": "rbac.authorization.k8s.io/v1",
    }
    metadata = {"name": name}
    return {"apiVersion": group.get(kind, "v1"), "kind": kind, "metadata": metadata, "spec": spec}


@pytest.mark.parametrize(
    "kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"]
)
def test_an_object_that_nothing_runs_is_answered_with_the_command_that_wraps_it(kind: str) -> None:
    bare = _object(kind, template=_POD)
    bare["metadata"]["namespace"] = "shop"
    (said,) = bare_object_warnings(bare)
    assert kind in BARE_KINDS
    assert f"nothing at this hub runs {kind} web" in said
    assert "kapok wrap -f FILE --name web --namespace shop | kapok apply -f -" in said


def test_pods_and_cron_jobs_are_answered_alike_and_a_service_is_not() -> None:
    assert bare_object_warnings({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}})
    cron = _object("CronJob", schedule="0 1 * * *", jobTemplate={"spec": {"template": _POD}})
    assert bare_object_warnings(cron)
    assert bare_object_warnings(_object("Service", ports=[{"port": 80}])) == []
    assert bare_object_warnings({**_object("Job"), "apiVersion": "example.org/v1"}) == []


def test_what_is_wrapped_reads_back_as_the_same_objects(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = ["1e3", "0o17", "on", "y", "12:30", "=", "~", "a: b", " x", "1_0", "预约\u202e", "#", ""]
    config = {
        **_object("ConfigMap", "files"),
        "data": {"run.sh": "#!/bin/sh\n\techo hi \n\n", **{f"k{i}": v for i, v in enumerate(odd)}},
    }
    del config["spec"]
    objects = [_object("Service", ports=[{"port": 80}]), config]
    objects.append(_object("Deployment", replicas=2, template=_POD))
    path = tmp_path / "web.yaml"
    path.write_text(json.dumps({"kind": "List", "apiVersion": "v1", "items": objects}))
    assert main(["wrap", "-f", str(path), "--namespace", "shop", "--data-class", "general-2"]) == 0
    text = capsys.readouterr().out
    (read,) = [one.value for one in load_documents(text)]
    assert isinstance(read, dict)
    assert yaml.safe_load(text) == read
    assert read["metadata"] == {"name": "web", "namespace": "shop"}
    assert read["spec"] == {"dataClass": "general-2", "manifests": objects}
    assert main(["wrap", "-f", str(path), "-n", "shop", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["spec"] == {"manifests": objects}


def test_what_a_cluster_wrote_is_left_out_and_named() -> None:
    exported = _object("Deployment", template=_POD)
    exported["metadata"] |= {"uid": "1", "namespace": "shop", "resourceVersion": "7"}
    workload, notices = wrap([{**exported, "status": {"replicas": 3}}])
    (manifest,) = workload["spec"]["manifests"]
    assert manifest["metadata"] == {"name": "web", "namespace": "shop"}
    assert "status" not in manifest
    assert workload["metadata"]["namespace"] == "shop"
    assert "spec.manifests[0].metadata.uid" in notices[0]


def test_what_keeps_a_workload_from_running_is_said() -> None:
    role = _object("ClusterRole", "reader")
    _, notices = wrap([role], name="x")
    assert "nothing will run" in notices[0]
    assert "ClusterRole reader is cluster-scoped" in notices[1]
    unknown = {**_object("Engine", template=_POD), "apiVersion": "example.org/v1"}
    _, notices = wrap([unknown])
    assert any("spec.demand" in each for each in notices)


def _in(namespace: str) -> dict[str, Any]:
    return {**_object("ConfigMap"), "metadata": {"name": "web", "namespace": namespace}}


@pytest.mark.parametrize(
    ("objects", "error", "says"),
    [
        ([], CannotWrap, "no object"),
        (
            [{**_object("Site"), "apiVersion": "kapok.dev/v1alpha1"}],
            CannotWrap,
            "apply it as it is",
        ),
        ([_in("a"), _in("b")], CannotWrap, "--namespace"),
        ([_object("Deployment"), _object("Deployment")], BadManifest, "listed twice"),
        (
            [{**_object("Secret"), "data": {"a": "Yg=="}}],
            BadManifest,
            "refer to a Secret that exists at the site",
        ),
        ([_object("ConfigMap", "x:y")], CannotWrap, "--name"),
        ([_object("ConfigMap", f"c{i}") for i in range(65)], NotReadable, "manifests"),
    ],
    ids=["none", "ours", "two-namespaces", "twice", "secret", "name", "too-many"],
)
def test_what_no_workload_may_have_is_refused_with_the_way_out(
    objects: list[dict[str, Any]], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        wrap(objects)


def test_a_file_that_is_missing_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["wrap", "-f", str(tmp_path / "absent.yaml")]) == 2
    assert "absent.yaml" in capsys.readouterr().err


def test_shared_parts_are_written_out() -> None:
    part = {"a": ["b"]}
    assert "&" not in format_object_as_yaml({"x": part, "y": part})
