"""A machine joins by one line: real mosquitto with TLS, real HTTPS, real processes."""

import queue
import ssl
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
import yaml
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.joined_city import machine, operator, settings_with
from tests.support.up import Up, eventually, running_up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


class BrokerClient:
    """A client with the certificate of a machine."""

    def __init__(self, data_dir: Path, name: str, port: int) -> None:
        self._port, self._outcomes = port, queue.SimpleQueue[str]()
        put = self._outcomes.put
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, f"test {name}", protocol=paho.MQTTv5
        )
        context = ssl.create_default_context(cafile=data_dir / "hub-ca.crt")
        context.load_cert_chain(data_dir / "tls.crt", data_dir / "tls.key")
        self._client.tls_set_context(context)
        self._client.on_connect = lambda _c, _u, _f, reason, _p: put(str(reason))
        self._client.on_disconnect = lambda _c, _u, _f, reason, _p: put(f"ended: {reason}")
        self._client.on_publish = lambda _c, _u, _m, reason, _p: put(str(reason))

    def connect(self) -> str:
        """How the broker answers."""
        try:
            self._client.connect("127.0.0.1", self._port)
            self._client.loop_start()
            return self._outcomes.get(timeout=60)
        except OSError as error:
            return str(error)

    def publish(self, topic: str) -> str:
        """How the broker answers."""
        self._client.publish(topic, b"x", qos=1)
        return self._outcomes.get(timeout=60)

    def close(self) -> None:
        """Ends the session."""
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("hub")
    options = ("--listen", "127.0.0.1:0")
    with running_up(folder, settings=settings_with(), options=options) as running:
        yield running


def test_a_machine_joins_by_one_line_and_is_cut_off_by_one(up: Up, tmp_path: Path) -> None:
    invited = operator(up, "site", "join", "gz-edge", "--city", "广州", "-o", "json")
    assert invited.code == 0, invited.said
    assert "no SiteGrant names gz-edge" in invited.said
    assert up.get("site", "gz-edge")["spec"]["location"] == {"city": "广州"}
    line = invited.json["line"]
    assert line == f"kapok-agent join {invited.json['token']}"

    joined = machine(tmp_path, line.split()[-1])
    assert joined.code == 0, joined.said
    assert joined.out.startswith("gz-edge has joined: the hub at 127.0.0.1 receives its reports")
    settings = yaml.safe_load((tmp_path / "agent.yaml").read_text())
    assert settings["site"] == "gz-edge"
    assert settings["hub_keys"] == [up.ready["hubKey"]]
    for secret in ("agent.key", "tls.key"):
        assert (tmp_path / "data" / secret).stat().st_mode & 0o077 == 0

    again = machine(tmp_path, line.split()[-1], "-o", "json")
    assert again.code == 0, again.said
    assert "has joined gz-edge before" in again.said

    session = BrokerClient(tmp_path / "data", up.ready["join"], settings["broker"]["port"])
    assert session.connect() == "Success"
    assert session.publish("kapok/v1/gz-edge/report") == "Success"
    assert session.publish("kapok/v1/other/report") == "Not authorized"
    assert session.publish("kapok/v1/gz-edge/desired") == "Not authorized"
    revoked = operator(up, "site", "revoke", "gz-edge", "-o", "json")
    assert revoked.json["keys"] == 1
    assert revoked.json["certificates"] >= 1
    eventually(lambda: "topic deny" in (up.data_dir / "certificates/topics.acl").read_text())
    eventually(lambda: session.publish("kapok/v1/gz-edge/report") == "Not authorized")
    refused = BrokerClient(tmp_path / "data", "", settings["broker"]["port"])
    assert refused.connect() != "Success"
    refused.close()
    renewed = machine(tmp_path, line.split()[-1], "--again", "--timeout", "5")
    assert renewed.code == 1
    assert "no such token" in renewed.said

    # The site joins again with another machine; the session of the first one stays without rights.
    invited = operator(up, "site", "join", "gz-edge", "-o", "json")
    other = tmp_path / "other"
    other.mkdir()
    assert machine(other, invited.json["token"]).code == 0
    eventually(lambda: "topic deny" not in (up.data_dir / "certificates/topics.acl").read_text())
    assert session.publish("kapok/v1/gz-edge/report") != "Success"
    session.close()
