"""Who may join, asked over real TLS; what strangers, thieves and slow peers get."""

import asyncio
import base64
import json
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from agents.joining.https_client import JoinFailed
from agents.joining.join import JoinPlan, join
from agents.joining.settings_file import read_settings_file
from agents.protocol.joining.token import FINGERPRINT_BYTES, JoinToken, parse_token
from agents.protocol.keys import SigningKey
from scheduler.cli.joining.join import JoinListError, join_sites
from scheduler.cli.joining.revoke import revoke_site
from scheduler.cli.joining.site_list import NewSite
from scheduler.control.ports.hub import SECRETS, SITES
from scheduler.joining.address import JoinAddress, JoiningUnknown, publish_join_address
from scheduler.joining.certificates import list_revoked
from scheduler.joining.invitations import JOINING_NAMESPACE
from tests.support.join_rig import HUB_KEY, JoinRig, running_join_rig

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(180)]


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[JoinRig]:
    async with running_join_rig(tmp_path) as running:
        await running.make_site("m1")
        await running.make_site("m2")
        yield running


def token_of(rig: JoinRig, site: str, secret: bytes) -> JoinToken:
    return JoinToken(
        host=rig.server.host,
        port=rig.server.port,
        site=site,
        secret=secret,
        fingerprint=rig.authority.fingerprint[:FINGERPRINT_BYTES],
    )


def plan_of(folder: Path, token: JoinToken, *, again: bool = False) -> JoinPlan:
    return JoinPlan(
        token=token, data_dir=folder / "data", config=folder / "agent.yaml", extra={}, again=again
    )


async def test_a_token_is_used_once_and_by_its_first_machine_again(rig: JoinRig) -> None:
    secret, first = await rig.invite("m1"), SigningKey.generate()
    thieves = [SigningKey.generate() for _ in range(5)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(rig.refusal("m1", secret, key)) for key in (first, *thieves)]
    reasons = [task.result() for task in tasks]
    assert sorted(reasons) == ["", *["used-token"] * 5]
    winner = (first, *thieves)[reasons.index("")]
    assert await rig.keys_of("m1") == [str(winner.public)]
    assert await rig.refusal("m1", secret, winner) == ""  # its answer may have been lost
    assert await rig.keys_of("m1") == [str(winner.public)]


async def test_a_token_is_of_one_site_and_one_time(rig: JoinRig) -> None:
    secret, key = await rig.invite("m1"), SigningKey.generate()
    assert await rig.refusal("m2", secret, key) == "unknown-token"
    assert await rig.refusal("../../m1", secret, key) == "unknown-token"
    assert await rig.refusal("m1", bytes(16), key) == "unknown-token"
    rig.clock.off = timedelta(hours=2)
    assert await rig.refusal("m1", secret, key) == "expired-token"
    assert await rig.keys_of("m1") == []
    held = json.dumps((await rig.client.list(SECRETS, JOINING_NAMESPACE)).items)
    for form in (
        secret.hex(),
        base64.b64encode(secret).decode(),
        base64.b32encode(secret).decode(),
    ):
        assert form not in held


async def test_the_certificate_has_the_name_of_the_site_whatever_was_asked(rig: JoinRig) -> None:
    secret, key = await rig.invite("m1"), SigningKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kapok-scheduler")])
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("m2")]), critical=False)
        .sign(Ed25519PrivateKey.from_private_bytes(key.raw()), None)
    )
    pem = request.public_bytes(serialization.Encoding.PEM).decode()
    answer = await rig.join("m1", secret, key, request=pem)
    certificate = x509.load_pem_x509_certificate(answer.certificate.encode())
    assert certificate.subject.rfc4514_string() == "CN=m1"
    found = {one.value for one in certificate.extensions if one.oid == x509.BasicConstraints.oid}
    assert [one.ca for one in found] == [False]
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert answer.hub_keys == (HUB_KEY,)


async def test_odd_requests_are_refused_and_harm_nobody(rig: JoinRig) -> None:
    secret = await rig.invite("m1")
    big = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "m1")])
    rsa_request = (
        x509.CertificateSigningRequestBuilder().subject_name(name).sign(big, hashes.SHA256())
    )
    own = SigningKey.generate()
    private = Ed25519PrivateKey.from_private_bytes(own.raw())
    der = bytearray(
        x509.CertificateSigningRequestBuilder()
        .subject_name(name)
        .sign(private, None)
        .public_bytes(serialization.Encoding.DER)
    )
    der[-1] ^= 1  # another signature: the sender does not hold the key
    forged = f"-----BEGIN CERTIFICATE REQUEST-----\n{base64.b64encode(der).decode()}\n"
    forged += "-----END CERTIFICATE REQUEST-----\n"
    odd = ("", "no PEM", "é", "x" * 5000, forged)
    for request in (*odd, rsa_request.public_bytes(serialization.Encoding.PEM).decode()):
        with pytest.raises(JoinFailed) as caught:
            await rig.join("m1", secret, own, request=request or " ")
        assert caught.value.reason == "bad-request"
    for body in (b"", b"{}", b"[" * 60_000, b"\xff", b'{"site":1}', b"x" * 10_000_000):
        with pytest.raises(JoinFailed) as caught:
            await rig.post("/join", body)
        assert caught.value.reason in ("bad-request", "unreachable")  # the last is cut off
    assert await rig.keys_of("m1") == []
    assert rig.counted["join"] == 0  # no fault: each was refused by name
    assert await rig.refusal("m1", secret, own) == ""


async def test_wrong_tokens_cost_the_hub_a_few_reads_and_then_nothing(rig: JoinRig) -> None:
    key = SigningKey.generate()
    reasons = [await rig.refusal("m1", bytes([n]) * 16, key) for n in range(60)]
    assert reasons.count("unknown-token") <= 31
    assert reasons[-1] == "rate"


async def test_silent_peers_use_up_their_own_share_only(rig: JoinRig) -> None:
    rig.listener.lifetime_seconds = 2.0
    address = (rig.server.host, rig.server.port)
    silent = [socket.create_connection(address) for _ in range(80)]
    try:
        async with asyncio.timeout(60):
            while rig.counted["connections"] < 80 - 64:  # noqa: ASYNC110 - real sockets
                await asyncio.sleep(0.05)  # noqa: TID251 - the same
        # Another address is served meanwhile.
        reader, writer = await asyncio.open_connection(
            *address, local_addr=("127.0.0.2", 0), ssl=_trusting(rig)
        )
        writer.write(b"GET /ca HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
    finally:
        for one in silent:
            one.close()


def _trusting(rig: JoinRig) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=rig.authority.certificate_pem.decode())


async def test_a_revoked_site_gets_no_certificate_by_old_tokens_or_keys(rig: JoinRig) -> None:
    first, late = await rig.invite("m1"), await rig.invite("m1")
    key = SigningKey.generate()
    await rig.join("m1", first, key)
    assert (await rig.renew("m1", key)).site == "m1"
    with pytest.raises(JoinFailed, match="does not list"):
        await rig.renew("m2", key)
    for odd in ("../../m1", "m1/status", "m1?watch=1"):
        with pytest.raises(JoinFailed):
            await rig.renew(odd, key)
    answer = await revoke_site(rig.client, "m1")
    assert (answer["keys"], answer["certificates"], answer["tokens"]) == (1, 2, 2)
    assert await rig.keys_of("m1") == []
    revoked = await list_revoked(rig.client, now=rig.clock.now())
    assert (len(revoked.serials), revoked.sites) == (2, ("m1",))
    with pytest.raises(JoinFailed, match="does not list"):
        await rig.renew("m1", key)
    assert await rig.refusal("m1", late, key) == "unknown-token"
    # An invitation that was written while the site was revoked carries the count before.
    stale = await rig.invite("m1")
    assert await rig.refusal("m1", stale, SigningKey.generate()) == "revoked"


async def test_a_machine_refuses_another_hub_and_a_wrong_clock(
    rig: JoinRig, tmp_path: Path
) -> None:
    secret = await rig.invite("m1")
    good = token_of(rig, "m1", secret)
    other = JoinToken(
        host=good.host, port=good.port, site="m1", secret=secret, fingerprint=bytes(16)
    )
    with pytest.raises(JoinFailed) as caught:
        await asyncio.to_thread(join, plan_of(tmp_path / "a", other))
    assert caught.value.reason == "not-the-hub"
    rig.clock.off = timedelta(days=-1)
    with pytest.raises(JoinFailed, match=r"24\.0 hours ahead of the hub's") as caught:
        await asyncio.to_thread(join, plan_of(tmp_path / "a", good))
    assert rig.counted["unknown-token"] == rig.counted["joined"] == 0  # nothing secret was sent
    rig.clock.off = timedelta()
    await asyncio.to_thread(join, plan_of(tmp_path / "a", good))
    key = SigningKey((tmp_path / "a/data/agent.key").read_bytes())
    assert await rig.keys_of("m1") == [str(key.public)]


async def test_joining_again_makes_a_key_that_replaces_nothing_before_it_counts(
    rig: JoinRig, tmp_path: Path
) -> None:
    token = token_of(rig, "m1", await rig.invite("m1"))
    await asyncio.to_thread(join, plan_of(tmp_path, token))
    before = (tmp_path / "data/agent.key").read_bytes()
    # Who has a copy of the disk must not share the session, the sealed content or the count.
    mine = [tmp_path / "data" / name for name in ("client-id", "sealing.key", "boots")]
    for path in (*mine, tmp_path / "data/energy.json"):
        path.write_text("1")
    name = read_settings_file(tmp_path / "agent.yaml")["agent"]
    with pytest.raises(JoinFailed) as caught:
        await asyncio.to_thread(join, plan_of(tmp_path, token, again=True))
    assert caught.value.reason == "used-token"
    assert (tmp_path / "data/agent.key").read_bytes() == before
    assert all(path.exists() for path in mine)
    fresh = token_of(rig, "m1", await rig.invite("m1"))
    await asyncio.to_thread(join, plan_of(tmp_path, fresh, again=True))
    after = (tmp_path / "data/agent.key").read_bytes()
    assert after != before
    assert not (tmp_path / "data/joining.key").exists()
    assert not any(path.exists() for path in (*mine, tmp_path / "data/energy.json"))
    assert read_settings_file(tmp_path / "agent.yaml")["agent"] != name
    assert len(await rig.keys_of("m1")) == 2


async def test_two_machines_of_one_site_are_two_agents(rig: JoinRig, tmp_path: Path) -> None:
    names = []
    for folder in ("a", "b"):
        token = token_of(rig, "m1", await rig.invite("m1"))
        await asyncio.to_thread(join, plan_of(tmp_path / folder, token))
        names.append(read_settings_file(tmp_path / folder / "agent.yaml")["agent"])
    assert all(name.startswith("main-") for name in names)
    assert names[0] != names[1]
    (tmp_path / "c").mkdir()
    (tmp_path / "c/agent.yaml").write_text("site: m1\nagent: west\n")
    token = token_of(rig, "m1", await rig.invite("m1"))
    await asyncio.to_thread(join, plan_of(tmp_path / "c", token))
    assert read_settings_file(tmp_path / "c/agent.yaml")["agent"] == "west"


async def test_thirty_rooms_are_invited_at_once_or_not_at_all(rig: JoinRig) -> None:
    rooms = [NewSite(f"room-{n}", {"tier": "edge"}) for n in range(30)]
    ttl = timedelta(hours=1)
    with pytest.raises(JoiningUnknown, match="kapok up --listen"):
        await join_sites(rig.client, rooms, ttl)
    address = JoinAddress("10.1.2.3", 8884, rig.authority.fingerprint)
    await publish_join_address(rig.client, address)
    push = {"mode": "Push", "kubeconfigSecretRef": {"namespace": "kapok-members", "name": "m2"}}
    await rig.client.merge_patch(SITES, "m2", {"spec": {"delivery": push}})
    bad = [NewSite("far", {"tier": "edge", "location": {"latitude": 91}}), NewSite("m2", {})]
    with pytest.raises(JoinListError) as caught:
        await join_sites(rig.client, [*rooms, *bad], ttl)
    assert "far: " in str(caught.value)
    assert "m2: spec.delivery.mode is Push" in str(caught.value)
    assert len((await rig.client.list(SITES)).items) == 2
    assert (await rig.client.list(SECRETS, JOINING_NAMESPACE)).items == []
    lines = await join_sites(rig.client, rooms, ttl)
    tokens = [parse_token(one["line"].removeprefix("kapok-agent join ")) for one in lines]
    assert [one.site for one in tokens] == [room.name for room in rooms]
    assert len({one.secret for one in tokens}) == 30
    assert await rig.refusal("room-7", tokens[7].secret, SigningKey.generate()) == ""
