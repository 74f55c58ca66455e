"""Guarantees of the embedded server only: files, request checks, start and shutdown."""

import argparse
import base64
import io
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from cryptography import x509

from scheduler.cli import hub
from tests.contract.conftest import START, wait_until
from tests.support.api_client import MERGE, Client
from tests.support.widgets import widget_crd

pytestmark = pytest.mark.integration


def start(folder: Path, *words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", START, "--data-dir", str(folder), "--no-crds", *words]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@contextmanager
def running(folder: Path, *words: str) -> Iterator["subprocess.Popen[str]"]:
    with start(folder, *words) as process:
        try:
            assert process.stdout is not None
            assert any(line.strip() == "ready" for line in process.stdout)
            yield process
        finally:
            process.kill()
            process.wait(60)


def _config_map(name: str, **data: str) -> dict[str, object]:
    return {"metadata": {"name": name}, "data": data}


CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def test_only_the_owner_can_read_the_secrets_of_the_server(tmp_path: Path) -> None:
    with running(tmp_path):
        for name in ("kubeconfig", "tokens.json", "tls.key", "objects.db"):
            mode = stat.S_IMODE((tmp_path / name).stat().st_mode)
            assert mode == 0o600, (name, oct(mode))


def test_port_and_objects_survive_a_restart(tmp_path: Path) -> None:
    with running(tmp_path):
        client = Client.of(tmp_path / "kubeconfig")
        first = client.create(CONFIG_MAPS, _config_map("kept", a="b")).ok()
        url = client.url
    with running(tmp_path):
        client = Client.of(tmp_path / "kubeconfig")
        assert client.url == url
        assert client.get(f"{CONFIG_MAPS}/kept").ok() == first
        second = client.create(CONFIG_MAPS, _config_map("new")).ok()
        versions = [int(item["metadata"]["resourceVersion"]) for item in (first, second)]
        assert versions[0] < versions[1]
        old = client.get(CONFIG_MAPS, watch="true", resourceVersion="1", timeoutSeconds="1")
        assert json.loads(old.raw.splitlines()[0])["object"]["code"] == 410


def test_a_second_server_on_one_directory_is_refused_by_name(tmp_path: Path) -> None:
    with running(tmp_path):
        with start(tmp_path) as second:
            _out, err = second.communicate(timeout=60)
        assert second.returncode == 2
        assert str(tmp_path) in err
        assert "another API server is using this data directory" in err


def test_several_servers_share_a_process(tmp_path: Path) -> None:
    with running(tmp_path, "--name", "m1", "--name", "m2"):
        one = Client.of(tmp_path / "m1" / "kubeconfig")
        two = Client.of(tmp_path / "m2" / "kubeconfig")
        one.create(CONFIG_MAPS, _config_map("here")).ok()
        assert two.get(f"{CONFIG_MAPS}/here").code == 404
        assert two.request("GET", CONFIG_MAPS, headers=one.headers).code == 401


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path) as process:
        client = Client.of(tmp_path / "kubeconfig")
        with client.watch(CONFIG_MAPS):
            process.send_signal(number)
            assert process.wait(60) == 0


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    script = (
        "import os, subprocess, sys, time;"
        f"p = subprocess.Popen([sys.executable, '-c', {START!r}, '--data-dir', {str(tmp_path)!r},"
        " '--no-crds', '--parent-pid', str(os.getpid())], stdout=subprocess.PIPE, text=True);"
        "[line for line in iter(p.stdout.readline, 'ready\\n')]; print(p.pid, flush=True);"
        "time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait(60)
    wait_until(lambda: not Path(f"/proc/{child}/fd").exists(), "the child has ended")


def test_each_request_is_checked_for_token_host_and_origin(tmp_path: Path) -> None:
    with running(tmp_path):
        client = Client.of(tmp_path / "kubeconfig")
        assert client.request("GET", "/api", headers={"Authorization": ""}).code == 401
        assert client.request("GET", "/api", headers={"Authorization": "Bearer x"}).code == 401
        assert client.request("GET", "/api", headers={"Host": "evil.example"}).code == 403
        evil = {"Origin": "http://evil.example"}
        assert client.request("GET", "/api", headers=evil).code == 403
        assert client.request("GET", "/readyz", headers={"Authorization": ""}).code == 200
        assert client.request("GET", "/readyz", headers={"Host": "evil.example"}).code == 403


def _hub(*words: str) -> tuple[int, str, str]:
    """Runs `kapok hub` in this process: exit code, stdout, stderr."""
    parser = argparse.ArgumentParser()
    hub.register(parser)
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = hub.run(parser.parse_args(words))
    return code, out.getvalue(), err.getvalue()


ROLE_CASES = [
    ("auditor", [], "GET", "/api/v1/events", 200),
    ("auditor", [], "GET", "/api/v1/namespaces/default/secrets", 403),
    ("auditor", [], "POST", CONFIG_MAPS, 403),
    ("tenant", ["default"], "GET", "/api/v1/namespaces/default/events", 200),
    ("tenant", ["default"], "GET", "/api/v1/namespaces/kube-system/events", 403),
    ("tenant", ["default"], "GET", "/api/v1/events", 403),
    ("tenant", ["default"], "POST", CONFIG_MAPS, 403),
    ("tenant", ["default"], "GET", "/api/v1/nodes", 403),
    ("operator", [], "GET", "/api/v1/events", 200),
    ("operator", [], "POST", "/api/v1/nodes", 403),
    ("authority", [], "GET", "/api/v1/nodes", 403),
    ("administrator", [], "POST", "/api/v1/nodes", 403),
    ("reader", [], "GET", "/api/v1/events", 403),
    ("scheduler", [], "POST", CONFIG_MAPS, 403),
    ("owner", [], "POST", "/api/v1/nodes", 201),
]


def test_roles_bound_what_a_token_may_do(tmp_path: Path) -> None:
    with running(tmp_path):
        for index, (role, namespaces, method, path, code) in enumerate(ROLE_CASES):
            name = f"{role}-{index}"
            words = [word for space in namespaces for word in ("--namespace", space)]
            made = _hub(
                "token", "--data-dir", str(tmp_path), "--name", name, "--role", role, *words
            )
            assert made[0] == 0, made
            client = Client.of(tmp_path / f"kubeconfig-{name}")
            body = {"metadata": {"name": f"x{index}"}} if method == "POST" else None
            answer = client.request(method, path, body)
            assert answer.code == code, (role, method, path, answer.raw)
            if code == 403:
                assert f'User "{name}" cannot' in answer.json["message"]
        tenant = Client.of(tmp_path / "kubeconfig-tenant-3")
        for namespace, allowed in (("default", True), ("kube-system", False)):
            asked = {"verb": "create", "group": "kapok.dev", "resource": "workloads"}
            asked["namespace"] = namespace
            review = {"spec": {"resourceAttributes": asked}}
            path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
            assert tenant.create(path, review).ok()["status"]["allowed"] is allowed
        wrong = _hub("token", "--data-dir", str(tmp_path), "--name", "t", "--role", "tenant")
        assert (wrong[0], "--namespace" in wrong[2]) == (2, True)


def test_only_the_owner_reads_the_metrics_which_count_requests(tmp_path: Path) -> None:
    with running(tmp_path):
        owner = Client.of(tmp_path / "kubeconfig")
        owner.create(CONFIG_MAPS, _config_map("counted")).ok()
        assert owner.create(CONFIG_MAPS, _config_map("counted")).code == 409
        assert owner.get(f"{CONFIG_MAPS}/counted/nonsense").code == 404
        text = owner.get("/metrics").raw.decode()
        sample = 'apiserver_request_total{{code="{}",group="",resource="configmaps",subresource="",'
        for code, verb in ((201, "POST"), (409, "POST"), (404, "GET")):
            assert f'{sample.format(code)}verb="{verb}",version="v1"}} 1\n' in text
        assert "process_cpu_seconds_total " in text
        made = _hub("token", "--data-dir", str(tmp_path), "--name", "eve", "--role", "auditor")
        assert made[0] == 0
        refused = Client.of(tmp_path / "kubeconfig-eve").get("/metrics")
        assert (refused.code, 'User "eve" cannot get' in refused.json["message"]) == (403, True)
        assert owner.request("GET", "/metrics", headers={"Authorization": ""}).code == 401


def test_a_backup_can_be_restored(tmp_path: Path) -> None:
    folder, file = tmp_path / "hub", tmp_path / "monday.db"
    with running(folder):
        client = Client.of(folder / "kubeconfig")
        before = client.create(CONFIG_MAPS, _config_map("old", a="1")).ok()
        done = _hub("backup", "--data-dir", str(folder), str(file), "-o", "json")
        assert json.loads(done[1])["backedUp"]
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        client.patch(f"{CONFIG_MAPS}/old", {"data": {"a": "2"}}, MERGE).ok()
        later = client.create(CONFIG_MAPS, _config_map("later")).ok()
        busy = _hub("restore", "--data-dir", str(folder), str(file))
        assert (busy[0], "another API server" in busy[2]) == (1, True)
    garbage = tmp_path / "garbage"
    garbage.write_text("no database")
    assert _hub("restore", "--data-dir", str(folder), str(garbage))[0] == 1
    assert _hub("restore", "--data-dir", str(folder), str(file))[0] == 0
    with running(folder):
        client = Client.of(folder / "kubeconfig")
        assert client.get(f"{CONFIG_MAPS}/old").ok() == before
        assert client.get(f"{CONFIG_MAPS}/later").code == 404
        listed = client.get(CONFIG_MAPS).ok()["metadata"]["resourceVersion"]
        assert int(listed) > int(later["metadata"]["resourceVersion"])


def _write_until_killed(client: Client, acknowledged: dict[str, str], prefix: str) -> None:
    for number in range(100_000):
        name = f"{prefix}-{number}"
        try:
            answer = client.create(CONFIG_MAPS, _config_map(name, a="x" * 300))
            if answer.code == 201:
                acknowledged[name] = answer.json["metadata"]["resourceVersion"]
        except OSError:
            return


_LEAST_WRITES = 15


def kill_under_load(folder: Path, acknowledged: dict[str, str], seconds: float, mark: str) -> None:
    """Starts the server, writes to it from four clients, and later kills it with SIGKILL.

    On a busy machine it is killed later: there is nothing to lose before writes are acknowledged.
    """
    with running(folder) as process:
        client = Client.of(folder / "kubeconfig")
        writers = [
            threading.Thread(
                target=_write_until_killed, args=(client, acknowledged, f"{mark}-{side}")
            )
            for side in "abcd"
        ]
        end, least = time.monotonic() + seconds, len(acknowledged) + _LEAST_WRITES
        for thread in writers:
            thread.start()
        wait_until(
            lambda: time.monotonic() > end and len(acknowledged) >= least,
            "some writes are acknowledged",
        )
        os.kill(process.pid, signal.SIGKILL)
        for thread in writers:
            thread.join()


def check_all_there(folder: Path, acknowledged: dict[str, str]) -> None:
    database = sqlite3.connect(folder / "objects.db")
    try:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = database.execute(
            "SELECT key, revision, data FROM objects WHERE resource = '/configmaps'"
        ).fetchall()
    finally:
        database.close()
    found = {}
    for key, revision, data in rows:
        item = json.loads(data)  # none is half written
        assert item["metadata"]["resourceVersion"] == str(revision)
        found[key.partition("/")[2]] = str(revision)
    missing = {name for name in acknowledged if found.get(name) != acknowledged[name]}
    assert not missing


def test_acknowledged_writes_survive_kill_9(tmp_path: Path) -> None:
    acknowledged: dict[str, str] = {}
    for number, seconds in enumerate((0.2, 0.35)):
        kill_under_load(tmp_path, acknowledged, seconds, f"r{number}")
        check_all_there(tmp_path, acknowledged)
    assert len(acknowledged) > 20


@pytest.mark.soak
def test_acknowledged_writes_survive_200_kills(tmp_path: Path) -> None:
    acknowledged: dict[str, str] = {}
    for number in range(200):
        kill_under_load(tmp_path, acknowledged, 0.05 + (number % 10) * 0.05, f"r{number}")
        check_all_there(tmp_path, acknowledged)
    line = {"scenario": "kill -9 of the API server", "kills": 200, "writes": len(acknowledged)}
    sys.stdout.write(json.dumps({**line, "lost": 0}) + "\n")


def test_a_further_name_is_in_the_certificate_and_accepted(tmp_path: Path) -> None:
    with running(tmp_path, "--host-name", "hub.example.org"):
        client = Client.of(tmp_path / "kubeconfig")
        named = {"Host": "hub.example.org"}
        assert client.request("GET", "/api", headers=named).code == 200
        certificate = x509.load_pem_x509_certificate((tmp_path / "tls.crt").read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert names.value.get_values_for_type(x509.DNSName) == ["hub.example.org", "localhost"]


def test_the_certificate_of_the_kubeconfig_is_the_servers(tmp_path: Path) -> None:
    with running(tmp_path):
        config = json.loads((tmp_path / "kubeconfig").read_text())
        data = config["clusters"][0]["cluster"]["certificate-authority-data"]
        assert base64.b64decode(data) == (tmp_path / "ca.crt").read_bytes()


def test_a_thousand_watches_cost_little_and_the_next_ones_are_refused(tmp_path: Path) -> None:
    with running(tmp_path) as process:
        client = Client.of(tmp_path / "kubeconfig")
        crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        client.create(crds, widget_crd("few.kapok.dev")).ok()
        before = _rss_mib(process.pid)
        connections = []
        target = "/apis/few.kapok.dev/v1/widgets?watch=true&resourceVersion=1"
        try:
            for _ in range(1000):
                connection = client.connection()
                connection.request("GET", target, headers=client.headers)
                connections.append((connection, connection.getresponse()))
            assert {response.status for _, response in connections} == {200}
            assert _rss_mib(process.pid) - before < 250
            assert client.get(CONFIG_MAPS).code == 200
            refused = client.get("/apis/few.kapok.dev/v1/widgets", watch="true", resourceVersion=1)
            assert (refused.code, refused.reason) == (429, "TooManyRequests")
            assert refused.headers["Retry-After"] == "1"
        finally:
            for connection, _ in connections:
                connection.close()
        query = {"watch": "true", "timeoutSeconds": "1"}
        wait_until(
            lambda: client.get("/apis/few.kapok.dev/v1/widgets", **query).code == 200,
            "the places of those who left are free",
        )


def _rss_mib(pid: int) -> float:
    line = next(
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )
    return int(line.split()[1]) / 1024
