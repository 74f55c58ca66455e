"""Writes mosquitto's settings for Kapok: TLS, one identity per site, topic rules and limits. Pure.

The two forms differ in one place: up to mosquitto 2.0 the broker reads the topic rules itself
(`acl_file`), from 2.1 on a plugin does, and 3.0 removes `acl_file`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import PurePosixPath
from typing import Final, Literal, get_args

from agents.protocol.topics import HUB_USER, PREFIX, hub_subscriptions, is_site_name, is_subdomain

MosquittoVersion = Literal["2.0", "2.1"]
MOSQUITTO_VERSIONS: Final[tuple[MosquittoVersion, ...]] = get_args(MosquittoVersion)

SETTINGS_FILE: Final = "mosquitto.conf"
RULES_FILE: Final = "mosquitto.acl"

_TLS_PORT: Final = 8883
_LAST_PORT: Final = 65_535
_PATH_PATTERN = re.compile(r"/[A-Za-z0-9._/-]{1,200}")
_HOST_PATTERN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_SITE_READS: Final = ("desired", "desired/delta", "orders/#", "hub")
_SITE_WRITES: Final = ("report", "status", "offline", "answer/#")


class MosquittoValueError(ValueError):
    """A value that must not stand in the settings of mosquitto; the message says what may."""


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where the broker listens.

    Attributes:
        host: address or name; empty: every address of the machine.
        port: TCP port.
    """

    host: str = ""
    port: int = _TLS_PORT

    @classmethod
    def parse(cls, text: str) -> "ListenAddress":
        """Reads `ADDRESS:PORT`, `ADDRESS`, `:PORT` or `PORT`; an IPv6 address stands in brackets.

        Raises:
            MosquittoValueError: the text is none of these.
        """
        matched = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:\s]*)(?::([0-9]{1,5}))?", text)
        if not text or matched is None:
            raise MosquittoValueError(f"{text!r}: expected ADDRESS:PORT, such as 0.0.0.0:8883")
        host, port = matched[1], matched[2]
        if port is None and host.isdecimal():
            host, port = "", host
        number = _TLS_PORT if port is None else int(port)
        if not 1 <= number <= _LAST_PORT:
            raise MosquittoValueError(f"{text!r}: a port is 1 to {_LAST_PORT}")
        return cls(_checked_host(text, host), number)

    def __str__(self) -> str:
        return f"{self.port} {self.host}".rstrip()


def _checked_host(text: str, host: str) -> str:
    if host.startswith("["):
        try:
            return str(ip_address(host[1:-1]))
        except ValueError:
            raise MosquittoValueError(f"{text!r}: no IPv6 address in the brackets") from None
    if host and not _HOST_PATTERN.fullmatch(host):
        raise MosquittoValueError(f"{text!r}: {host!r} is neither an address nor a name")
    return host


@dataclass(frozen=True, slots=True, kw_only=True)
class MosquittoChoices:
    """What differs from one installation to the next.

    Attributes:
        version: the form of the settings.
        listen: where agents and schedulers connect, with MQTT over TLS.
        websockets: where they connect with MQTT over WebSocket and TLS; None: nowhere.
        folder: folder of settings, rules, certificates and keys on the broker's machine.
        plugin_folder: folder of mosquitto's plugins there, for the form of 2.1.
        hub_user: common name of the scheduler's certificate.
    """

    version: MosquittoVersion = "2.0"
    listen: ListenAddress = ListenAddress()
    websockets: ListenAddress | None = None
    folder: str = "/etc/mosquitto/kapok"
    plugin_folder: str = "/usr/lib"
    hub_user: str = HUB_USER

    def __post_init__(self) -> None:
        for name, path in (("folder", self.folder), ("plugin folder", self.plugin_folder)):
            if not _PATH_PATTERN.fullmatch(path) or ".." in PurePosixPath(path).parts:
                raise MosquittoValueError(
                    f"{name} {path!r}: expected an absolute path of letters, digits and ._-"
                )
        if not is_subdomain(self.hub_user):
            raise MosquittoValueError(
                f"user {self.hub_user!r}: expected lower-case letters, digits, - and ."
            )
        if self.websockets is not None and self.websockets.port == self.listen.port:
            raise MosquittoValueError(
                f"port {self.listen.port}: MQTT and MQTT over WebSocket need a port each"
            )


def mosquitto_files(choices: MosquittoChoices) -> Mapping[str, str]:
    """The files by name: the settings and the topic rules."""
    return {SETTINGS_FILE: _settings(choices), RULES_FILE: access_rules(choices.hub_user)}


def access_rules(hub_user: str = HUB_USER, *, refused_sites: Iterable[str] = ()) -> str:
    """The topic rules, in mosquitto's form: a site by its user name, the scheduler for all sites.

    Args:
        hub_user: user name of the scheduler.
        refused_sites: sites that have no rights, also in a session that is open; a name that no
            site may have is left out.
    """
    site = [f"pattern read {PREFIX}/%u/{kind}" for kind in _SITE_READS]
    up = [f"pattern write {PREFIX}/%u/{kind}" for kind in _SITE_WRITES]
    down = [f"topic write {PREFIX}/+/{kind}" for kind in _SITE_READS]
    hub = [f"topic read {topic.replace('answer/+', 'answer/#')}" for topic in hub_subscriptions()]
    parts = (
        "# Topic rules for mosquitto.conf. %u is the user name: the name of the client's Site.",
        "# What no rule allows is refused; a rule of one site never matches another's topics.",
        "",
        "# An agent reads what is meant for its site …",
        *site,
        "",
        "# … and says how its site is.",
        *up,
        "",
        "# The scheduler, the other way round, for all sites.",
        f"user {hub_user}",
        *down,
        *hub,
        *(
            line
            for site in sorted(refused_sites)
            if is_site_name(site) and site != hub_user
            for line in ("", f"user {site}", "topic deny #")
        ),
    )
    return "\n".join(parts) + "\n"


def _settings(choices: MosquittoChoices) -> str:
    rules = _RULES_20 if choices.version == "2.0" else _RULES_21
    text = "".join((_HEAD, _listener(choices), _WHO, rules, _REST))
    return text.replace("{folder}", choices.folder).replace("{plugins}", choices.plugin_folder)


def _listener(choices: MosquittoChoices) -> str:
    text = f"listener {choices.listen}\n{_TLS}"
    if choices.websockets is None:
        return text
    return f"{text}\n{_WEBSOCKETS_NOTE}listener {choices.websockets}\nprotocol websockets\n{_TLS}"


_WEBSOCKETS_NOTE: Final = """\
# The same over WebSocket, for sites from which only HTTP gets out, by a proxy that reads it.
# mosquitto 2.0 sends about 40 kB a second there: where port 443 is open for any TLS, a listener of
# MQTT on it is quicker.
"""

_HEAD: Final = """\
# A production broker for Kapok: mosquitto 2.x with TLS, one identity per site, and topic rules.
# `kapok broker config` writes this file and mosquitto.acl. Copy both to {folder}/, put the
# certificates there, then
#
#   mosquitto -c {folder}/mosquitto.conf
#
# `kapok broker check` tries what it then does. The broker is not trusted by either end: what moves
# work is signed. These rules keep sites from flooding, hiding or replaying each other's messages,
# and keep all others out.

# ---------------------------------------------------------------- TLS, and who is who
# Every client has a certificate of the same authority, and its common name (CN) is its user name:
# the name of its Site for an agent, kapok-scheduler for the scheduler.
"""

_TLS: Final = """\
cafile   {folder}/ca.crt
certfile {folder}/broker.crt
keyfile  {folder}/broker.key
tls_version tlsv1.2
require_certificate true
use_identity_as_username true
"""

_WHO: Final = """\

allow_anonymous false
#
# With passwords instead of client certificates, take require_certificate and
# use_identity_as_username out and set
#   password_file {folder}/passwords
# which `mosquitto_passwd {folder}/passwords SITE` adds to; broker.username of the agent
# is then the name of its Site, and broker.password_file holds the password.

# Which topics each may read and write: sites their own, by pattern; the scheduler all.
"""

_RULES_20: Final = """\
# mosquitto 2.0 (Debian 12 and 13, Ubuntu) reads the rules itself. 2.1 still does, with a warning;
# from 3.0 on only its plugin does:
acl_file {folder}/mosquitto.acl
# mosquitto 2.1 and later (`kapok broker config --mosquitto 2.1`): take out the line above, and set
#   global_plugin {plugins}/mosquitto_acl_file.so
#   plugin_opt_acl_file {folder}/mosquitto.acl
# and, with passwords, instead of password_file:
#   global_plugin {plugins}/mosquitto_password_file.so
#   plugin_opt_password_file {folder}/passwords
"""

_RULES_21: Final = """\
# This is the form of mosquitto 2.1 and later, in which a plugin reads the rules.
global_plugin {plugins}/mosquitto_acl_file.so
plugin_opt_acl_file {folder}/mosquitto.acl
# With passwords, instead of password_file:
#   global_plugin {plugins}/mosquitto_password_file.so
#   plugin_opt_password_file {folder}/passwords
"""

_REST: Final = """\
#
# Do not set use_username_as_clientid: several agents of a site share its user name, and so do two
# schedulers. Each would end the session of the other. Client ids of Kapok hold 128 random bits, so
# that no other client can name a session to end it.

# ---------------------------------------------------------------- limits
# A site's orders come as one burst when it reconnects; the default queue of 1,000 would drop some.
max_queued_messages 100000
max_inflight_messages 1000
# The largest message of Kapok is a part of an order: 256 kB, wrapped and in base64. An index of
# 1,000 orders is about 100 kB.
max_packet_size 1048576
# Wills are delayed by a session that outlives its connection for seconds, not for ever.
persistent_client_expiration 1h
# Small packets go out at once.
set_tcp_nodelay true

# ---------------------------------------------------------------- what survives a restart
# Retained indexes and orders do. After a crash the broker may roll them back to its last save:
# agents refuse what is older than what they have accepted, and the scheduler publishes again.
persistence true
persistence_location /var/lib/mosquitto/
autosave_interval 60

log_dest stderr
log_type error
log_type warning
log_type notice
"""
