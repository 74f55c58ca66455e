"""What Kapok needs of a broker, each need with what to do where it is not met. Pure.

A probe that could not be made is an error of its own: unknown is never good.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from agents.protocol.bounds import MAX_PART_BYTES

FindingSeverity = Literal["error", "warning", "info"]

LEAST_PACKET_BYTES: Final = 2 * MAX_PART_BYTES
"""A part of an order in base64 with envelope, topic and properties: 4/3 of it and a little."""
LEAST_RECEIVE_MAXIMUM: Final = 20
"""Publications that paho has in flight."""
LEAST_KEEP_ALIVE_SECONDS: Final = 5
RETAINED_PROBES: Final = 120
"""More than the hundred that some brokers deliver for each subscription."""


@dataclass(frozen=True, slots=True)
class BrokerFinding:
    """One thing that a broker does not do; the fields are those of `kapok config check`.

    Attributes:
        path: the need, a key of `NEEDS`, or `connect`.
        severity: error: Kapok does not work or is not safe on it; warning: it works, with less;
            info: good to know.
        what: what was seen.
        instead: what to do.
    """

    path: str
    severity: FindingSeverity
    what: str
    instead: str


@dataclass(frozen=True, slots=True)
class BrokerNeed:
    """One need.

    Attributes:
        severity: of a finding where it is not met.
        purpose: what Kapok does with it, for people.
        instead: what to do where it is not met.
    """

    severity: FindingSeverity
    purpose: str
    instead: str


_SETTINGS: Final = "compare its settings with those of `kapok broker config`"
_ACCESS: Final = "install the rules that `kapok broker config` writes, by the name of the client"

NEEDS: Final[dict[str, BrokerNeed]] = {
    "mqtt-5": BrokerNeed(
        "error",
        "MQTT 5: expiry, delayed wills and limits are properties of it",
        "use a broker that speaks MQTT 5: mosquitto 2, EMQX 5, BifroMQ",
    ),
    "round-trip": BrokerNeed("error", "scheduler and site reach each other through it", _ACCESS),
    "orders": BrokerNeed("error", "orders reach a site", _ACCESS),
    "wildcards": BrokerNeed(
        "error", "one subscription of the scheduler reaches every site", _SETTINGS
    ),
    "retained": BrokerNeed(
        "error",
        "indexes and orders are retained for sites that are away",
        "allow retained messages (mosquitto: retain_available true)",
    ),
    "retained-many": BrokerNeed(
        "warning",
        "one subscription is sent every message retained for it",
        "nothing: agents subscribe in batches of 50; other readers of these topics may miss some",
    ),
    "message-expiry": BrokerNeed(
        "error",
        "old reports must not reach a scheduler that comes back",
        "use a broker that honours the message expiry interval of MQTT 5",
    ),
    "will-delay": BrokerNeed(
        "warning",
        "a site whose link drops for seconds is not called offline",
        "expect short offline messages of sites at each dropped connection, or use mosquitto 2",
    ),
    "session-expiry": BrokerNeed(
        "warning",
        "a session outlives its connection, so that its will can be delayed",
        "allow sessions to expire later than their connection (mosquitto:"
        " persistent_client_expiration)",
    ),
    "receive-maximum": BrokerNeed(
        "warning",
        "a slow reader is not sent more than it has said it takes",
        "nothing: agents bound what they queue and ask again for what was dropped",
    ),
    "packet-size": BrokerNeed(
        "error",
        "a part of an order fits into one packet",
        f"allow packets of {LEAST_PACKET_BYTES} bytes or more (mosquitto: max_packet_size 1048576)",
    ),
    "qos": BrokerNeed(
        "error",
        "messages are delivered at least once (QoS 1)",
        "allow QoS 1 (mosquitto: max_qos 1 or 2)",
    ),
    "keep-alive": BrokerNeed(
        "warning",
        "the keep-alive of 20 s is the client's to choose",
        _SETTINGS,
    ),
    "anonymous": BrokerNeed(
        "error",
        "no client enters without a certificate or a password",
        "set allow_anonymous false and require_certificate true, or what the broker calls them",
    ),
    "tls": BrokerNeed(
        "error",
        "beyond loopback the connection is encrypted",
        "use mqtts:// or wss://, and a broker with a certificate",
    ),
    "site-reads-others": BrokerNeed("error", "a site reads what is meant for it alone", _ACCESS),
    "site-writes-others": BrokerNeed("error", "a site reports for itself alone", _ACCESS),
    "site-writes-orders": BrokerNeed("error", "a site cannot replace or erase its orders", _ACCESS),
    "dynamic-security": BrokerNeed(
        "info",
        "a revoked site's open session can be ended at the broker",
        "nothing: the scheduler drops everything that a revoked site signs; to end its open session"
        " too, use mosquitto's dynamic-security plugin, or restart the broker",
    ),
}
"""Every need by its path, in the order of the findings."""


def finding(path: str, what: str, *, severity: FindingSeverity | None = None) -> BrokerFinding:
    """A finding about one need.

    Args:
        path: the need.
        what: what was seen.
        severity: None: that of the need.
    """
    need = NEEDS[path]
    what = f"{what}; needed: {need.purpose}"
    return BrokerFinding(path, severity or need.severity, what, need.instead)


def not_probed(path: str, why: str, instead: str, *, severity: FindingSeverity) -> BrokerFinding:
    """A finding that a need is unknown, and how it can be known."""
    return BrokerFinding(path, severity, f"not probed: {why}", instead)


def is_good(findings: Iterable[BrokerFinding]) -> bool:
    """Whether Kapok works on the broker, as far as these findings say."""
    return all(one.severity != "error" for one in findings)


def in_order(findings: Iterable[BrokerFinding]) -> list[BrokerFinding]:
    """The findings in the order of the needs; what is about the connection first."""
    rank = {path: number for number, path in enumerate(NEEDS)}
    return sorted(findings, key=lambda one: rank.get(one.path, -1))
