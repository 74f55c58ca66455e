"""A member fails in every way that clusters do: what runs stays, and the order says why."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agents.member.access import from_kubeconfig
from agents.member.api import MemberApi, MemberApiError, Unreachable
from tests.e2e.servers.conftest import FaultyMember
from tests.support.agent_rig import CONFIG_MAPS
from tests.support.certificates import write_certificate
from tests.support.wire_hub import config_map

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

REFUSALS = {
    "throttled": (429, "too many requests, please try again later"),
    "failing": (503, "the server is currently unable to handle the request"),
    "full etcd": (500, "etcdserver: mvcc: database space exceeded"),
    "forbidden": (403, 'configmaps "settings" is forbidden: User "kapok-agent" cannot patch'),
    "webhook": (403, 'admission webhook "policy.example.org" denied the request: no owner label'),
    "webhook down": (500, 'failed calling webhook "policy.example.org": connection refused'),
    "object too large": (413, "Request entity too large: limit is 3145728"),
}
"""What a server answers to a write, by what has happened, in the words of a real one."""


@pytest.mark.soak
def test_a_refused_write_is_named_in_the_servers_words_and_tried_again(
    member: FaultyMember,
) -> None:
    rig, generation = member.rig, 1
    rig.run(rig.content(config_map(level="of 1")))
    for code, words in REFUSALS.values():
        former, generation = generation, generation + 1
        member.faults.refuse_with, member.faults.refusal = code, words
        member.faults.refuses_writes_alone = True
        wanted = config_map(level=f"of {generation}")
        [status] = rig.run(rig.content(wanted, generation=generation))
        assert status.phase in ("Applying", "Failed")
        assert words in (status.message or "")
        assert str(code) in (status.message or "")
        assert (status.applied_generation, status.generation) == (former, generation)
        assert rig.find(CONFIG_MAPS, "settings")["data"] == {"level": f"of {former}"}
        member.faults.clear()
        asyncio.run(rig.clock.advance(100))
        [status] = rig.step()
        assert (status.phase, status.applied_generation) == ("Ready", generation)
        assert rig.find(CONFIG_MAPS, "settings")["data"] == {"level": f"of {generation}"}


@pytest.mark.soak
@pytest.mark.parametrize("code", [0, 401, 429, 503])
def test_a_member_that_answers_nothing_loses_nothing(member: FaultyMember, code: int) -> None:
    rig = member.rig
    rig.run(rig.content(config_map(level="info")))
    member.faults.gone, member.faults.refuse_with = code == 0, code
    before = rig.executor.order_statuses()
    rig.order()  # the hub withdraws it meanwhile
    for _ in range(3):
        with suppress(MemberApiError):
            rig.executor.reconcile()
        [status] = rig.executor.order_statuses()
        assert status.phase == "Withdrawing", "not gone before it was seen gone"
    member.faults.clear()
    assert before[0].phase == "Ready"
    assert rig.find(CONFIG_MAPS, "settings") is not None
    asyncio.run(rig.clock.advance(700))
    for _ in range(3):
        rig.step()
    assert rig.find(CONFIG_MAPS, "settings") is None
    assert rig.phases() == []


@pytest.mark.soak
def test_a_slow_member_is_waited_for(member: FaultyMember) -> None:
    member.faults.delay_seconds = 0.02
    [status] = member.rig.run(member.rig.content(config_map()))
    assert status.phase == "Ready"


def test_an_old_api_version_is_named_and_the_rest_is_applied(member: FaultyMember) -> None:
    rig = member.rig
    old = {"apiVersion": "apps/v1beta1", "kind": "Deployment", "metadata": {"name": "web"}}
    [status] = rig.run(rig.content(config_map(), old))
    assert "does not serve apps/v1beta1/Deployment" in (status.message or "")
    assert rig.find(CONFIG_MAPS, "settings") is not None


@pytest.mark.soak
def test_of_two_workloads_that_claim_one_object_the_second_changes_nothing(
    member: FaultyMember,
) -> None:
    rig = member.rig
    first = rig.content(config_map(owner="first"), id=f"hub/{rig.name}/one/1")
    second = rig.content(config_map(owner="second"), id=f"hub/{rig.name}/two/1")
    rig.run(first)
    statuses = {one.id: one for one in rig.run(first, second)}
    assert statuses[second.id].phase == "Conflict"
    assert "belongs to another order" in (statuses[second.id].message or "")
    assert rig.find(CONFIG_MAPS, "settings")["data"] == {"owner": "first"}
    rig.run(second)
    asyncio.run(rig.clock.advance(100))
    rig.step()
    assert rig.find(CONFIG_MAPS, "settings")["data"] == {"owner": "second"}


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_words: object) -> None:
        """Says nothing: handshakes fail here."""


@contextmanager
def tls_server(folder: Path, *, is_expired: bool) -> Iterator[tuple[int, Path]]:
    """A server with a certificate of its own; its port and certificate."""
    folder.mkdir()
    certificate, key = write_certificate(folder, "member", is_expired=is_expired)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with _QuietServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server.server_port, certificate
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("is_expired", "is_other_ca", "words"),
    [(True, False, "certificate has expired"), (False, True, "certificate verify failed")],
    ids=["expired", "wrong CA"],
)
def test_a_member_whose_certificate_does_not_hold_is_unreachable_by_name(
    tmp_path: Path, *, is_expired: bool, is_other_ca: bool, words: str
) -> None:
    with tls_server(tmp_path / "member", is_expired=is_expired) as (port, certificate):
        authority = certificate
        if is_other_ca:
            (tmp_path / "other").mkdir()
            authority, _ = write_certificate(tmp_path / "other", "member")
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(
            "current-context: c\n"
            "contexts: [{name: c, context: {cluster: k, user: u}}]\n"
            f"clusters: [{{name: k, cluster: {{server: 'https://127.0.0.1:{port}',"
            f" certificate-authority: '{authority}'}}}}]\n"
            "users: [{name: u, user: {token: secret-token}}]\n"
        )
        api = MemberApi(from_kubeconfig(kubeconfig))
        with pytest.raises(Unreachable, match=words) as found:
            api.get("/version")
        assert f"127.0.0.1:{port}" in str(found.value)
        assert "secret-token" not in str(found.value)
        api.close()
