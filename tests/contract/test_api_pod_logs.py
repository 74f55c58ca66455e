"""`GET pods/NAME/log`: what is checked before a kubelet is asked, and a simulated log."""

from tests.contract.conftest import Server
from tests.support.api_client import Client


def _pod(name: str, **annotations: str) -> dict[str, object]:
    containers = [{"name": one, "image": "busybox"} for one in ("app", "side")]
    return {
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"containers": containers, "schedulerName": "none-of-these-tests"},
    }


def test_a_log_is_of_one_container_of_a_pod_that_is_there(server: Server, client: Client) -> None:
    name = server.name("logged")
    assert client.create(server.core("pods"), _pod(name)).code == 201
    log = server.core("pods", f"{name}/log")
    missing = client.get(server.core("pods", f"{server.name('none')}/log"))
    assert (missing.code, missing.reason) == (404, "NotFound")
    several = client.get(log)
    assert (several.code, several.reason) == (400, "BadRequest")
    assert several.json["message"] == (
        f"a container name must be specified for pod {name}, choose one of: [app side]"
    )
    unknown = client.get(log, container="third")
    assert (unknown.code, unknown.json["message"]) == (
        400,
        f"container third is not valid for pod {name}",
    )
    wrong = client.get(log, container="app", tailLines=-1)
    assert (wrong.code, wrong.reason) == (422, "Invalid")
    assert "tailLines" in wrong.json["message"]
    client.delete(server.core("pods", name))


def test_a_simulated_pod_has_a_log_within_the_asked_bounds(server: Server, client: Client) -> None:
    if not server.embedded:
        return  # a real kubelet has to run the pod
    name = server.name("simulated")
    client.create(server.core("pods"), _pod(name, **{"kapok.dev/simulated-log": "one\ntwo"}))
    node = {"target": {"apiVersion": "v1", "kind": "Node", "name": "n1"}}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, **node}
    assert client.create(server.core("pods", f"{name}/binding"), binding).code == 201
    log = server.core("pods", f"{name}/log")
    early = client.get(log, container="app")
    assert early.json["message"] == (
        f'container "app" in pod "{name}" is waiting to start: ContainerCreating'
    )
    state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    started = {"name": "app", "image": "busybox", "imageID": "", "ready": True, "restartCount": 0}
    started |= {"state": state, "containerID": "simulated://x/app"}
    status = {"status": {"containerStatuses": [started]}}
    assert client.patch(server.core("pods", f"{name}/status"), status).code == 200
    assert client.get(log, container="app", tailLines=2).raw == b"one\ntwo\n"
    stamped = client.get(log, container="app", tailLines=1, timestamps="true")
    assert stamped.raw == b"2026-01-01T00:00:00.000002000Z two\n"
    assert client.get(log, container="app", tailLines=2, limitBytes=5).raw == b"one\nt"
    later = client.get(log, container="app", sinceTime="2026-01-01T00:00:01Z")
    assert later.raw == b""
    client.delete(server.core("pods", name))
