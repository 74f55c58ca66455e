"""Joins: makes a key, gets its certificate, writes the settings. May be repeated at any point.

The key is on the disk before the token is used, and the token works again for the same key: an
answer that is lost, a full disk or a power cut costs nothing but a second try of the same line.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agents.config.settings import AgentSettings
from agents.joining.credentials import (
    AUTHORITY_FILE,
    CERTIFICATE_FILE,
    TLS_KEY_FILE,
    CertificateRefused,
    check_certificate,
    is_authority_of,
    request_for,
    write_certificate,
    write_key,
)
from agents.joining.https_client import JoinFailed, JoinServer
from agents.joining.settings_file import merged, read_settings_file, write_settings_file
from agents.protocol.errors import WireError
from agents.protocol.joining.messages import (
    JOIN_ANSWER,
    JOIN_REQUEST,
    RECEIVED_ANSWER,
    RECEIVED_REQUEST,
    JoinAnswer,
    JoinRequest,
    ReceivedAnswer,
    ReceivedRequest,
)
from agents.protocol.joining.token import JoinToken, secret_text
from agents.protocol.keys import SigningKey, TrustedKeys
from agents.runtime.clock import AgentSystemClock
from agents.runtime.data_dir import (
    BOOTS_FILE,
    CLIENT_ID_FILE,
    ENERGY_FILE,
    KEY_FILE,
    SEALING_KEY_FILE,
    IdentityError,
    check_secret_mode,
    ensure_data_dir,
    load_or_create_key,
    lock_data_dir,
    write_durably,
)

_NEW_KEY_FILE: Final = "joining.key"
"""The key of a machine that joins again, until it has joined."""
_OF_ONE_IDENTITY: Final = (CLIENT_ID_FILE, SEALING_KEY_FILE, BOOTS_FILE, ENERGY_FILE)
"""What a machine with a new key makes new: who has a copy of the disk must not share its session,
read what is sealed for it, or count with it."""
_DEFAULT_AGENT: Final = AgentSettings(site="").agent
_NAME_DIGITS: Final = 8
_PROBE_BYTES: Final = 64 * 1024
_MAX_CLOCK_ERROR_SECONDS: Final = 1800.0
"""The hub's certificates begin an hour before they are issued."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinPlan:
    """What a technician has typed.

    Attributes:
        token: the token.
        data_dir: where the key and the certificate are kept.
        config: the settings file.
        extra: settings besides those that the hub says.
        again: join although the machine has joined before, with a new key.
    """

    token: JoinToken
    data_dir: Path
    config: Path
    extra: dict[str, Any]
    again: bool = False

    @property
    def server(self) -> JoinServer:
        """The hub."""
        return JoinServer(host=self.token.host, port=self.token.port)


def has_joined(plan: JoinPlan) -> bool:
    """Whether this machine is the token's site already.

    Raises:
        JoinFailed: it is another site.
        AgentSettingsError: the settings file cannot be read.
    """
    known = read_settings_file(plan.config).get("site")
    if known is not None and known != plan.token.site:
        raise JoinFailed(
            "other-site",
            f"{plan.config} says that this machine is the site {known}; to make it "
            f"{plan.token.site}, name other files with --config and --data-dir",
        )
    is_complete = (plan.data_dir / CERTIFICATE_FILE).exists() and known is not None
    return is_complete and not plan.again


def join(plan: JoinPlan) -> JoinAnswer:
    """Joins.

    Returns:
        What the hub says.

    Raises:
        JoinFailed: the hub refuses, or is another one.
        IdentityError: the data directory cannot be used.
        AgentSettingsError: the settings file cannot be used.
        OSError: a file cannot be written; the same line may be run again.
    """
    settings = read_settings_file(plan.config)
    data_dir = ensure_data_dir(plan.data_dir)
    with lock_data_dir(data_dir):
        _check_room(plan)
        key = _key_to_join_with(plan, data_dir)
        authority = _fetch_authority(plan)
        answer = _ask(plan, key, authority)
        write_key(data_dir, key)
        write_certificate(data_dir, answer)
        write_durably(data_dir / KEY_FILE, key.raw())
        learned = _learned(plan, answer) | _agent_name(settings, key)
        write_settings_file(plan.config, merged(settings, learned))
        if plan.again:
            for name in _OF_ONE_IDENTITY:
                (data_dir / name).unlink(missing_ok=True)
        # Last: until here the same line repeats all of this with the same key.
        (data_dir / _NEW_KEY_FILE).unlink(missing_ok=True)
    return answer


def ask_whether_received(plan: JoinPlan) -> ReceivedAnswer:
    """Whether the hub has received a report of this site since it joined.

    Raises:
        JoinFailed: the hub does not answer.
        OSError: the authority's file cannot be read.
    """
    token = plan.token
    body = RECEIVED_REQUEST.encode(
        ReceivedRequest(site=token.site, secret=secret_text(token.secret))
    )
    authority = (plan.data_dir / AUTHORITY_FILE).read_text(encoding="ascii")
    try:
        return RECEIVED_ANSWER.decode(plan.server.post("/received", body, authority))
    except WireError as error:
        raise JoinFailed("answer", f"{plan.server}: {error}") from None


def _check_room(plan: JoinPlan) -> None:
    """Refuses before the token is used, if what follows could not be written.

    Raises:
        OSError: the message of the system.
    """
    plan.config.parent.mkdir(parents=True, exist_ok=True)
    for folder in (plan.data_dir, plan.config.parent):
        probe = folder / ".kapok-join-probe"
        try:
            write_durably(probe, bytes(_PROBE_BYTES))
        finally:
            probe.unlink(missing_ok=True)
            probe.with_name(f".{probe.name}.new").unlink(missing_ok=True)


def _key_to_join_with(plan: JoinPlan, data_dir: Path) -> SigningKey:
    """The machine's key; a new one if it joins again, kept until it has joined."""
    if not plan.again:
        return load_or_create_key(data_dir)
    path = data_dir / _NEW_KEY_FILE
    if not path.exists():
        write_durably(path, SigningKey.generate().raw())
    check_secret_mode(path)
    try:
        return SigningKey(path.read_bytes())
    except ValueError:
        raise IdentityError(f"{path}: not a key; remove it and join again") from None


def _fetch_authority(plan: JoinPlan) -> str:
    """The authority's certificate, if it is the one that the token names.

    Raises:
        JoinFailed: it is not, or the clocks differ by too much.
    """
    found = plan.server.fetch_authority()
    if not is_authority_of(found.authority, plan.token.fingerprint):
        raise JoinFailed(
            "not-the-hub",
            f"{plan.server} is not the hub that made this token: its authority is another one. "
            "Either the token is of another hub, or a machine stands between; nothing secret was "
            "sent",
        )
    error_seconds = AgentSystemClock().now().timestamp() - found.now_seconds
    if abs(error_seconds) > _MAX_CLOCK_ERROR_SECONDS:
        way = "ahead of" if error_seconds > 0 else "behind"
        raise JoinFailed(
            "clock",
            f"the clock of this machine is {abs(error_seconds) / 3600:.1f} hours {way} the hub's: "
            "set it (timedatectl set-ntp true, or date -s) and run the same line again",
        )
    return found.authority


def _ask(plan: JoinPlan, key: SigningKey, authority: str) -> JoinAnswer:
    token = plan.token
    request = JoinRequest(
        site=token.site, secret=secret_text(token.secret), request=request_for(key, token.site)
    )
    data = plan.server.post("/join", JOIN_REQUEST.encode(request), authority)
    try:
        answer = JOIN_ANSWER.decode(data)
        check_certificate(answer, key, token.site)
        TrustedKeys.parse(answer.hub_keys)
    except (WireError, CertificateRefused) as error:
        raise JoinFailed("answer", f"{plan.server}: {error}") from None
    return answer


def _agent_name(settings: dict[str, Any], key: SigningKey) -> dict[str, Any]:
    """A name within the site that no other machine of the site has; one of the technician stays."""
    known = str(settings.get("agent", _DEFAULT_AGENT))
    if known != _DEFAULT_AGENT and not known.startswith(f"{_DEFAULT_AGENT}-"):
        return {}
    return {"agent": f"{_DEFAULT_AGENT}-{key.public.kid[:_NAME_DIGITS].lower()}"}


def _learned(plan: JoinPlan, answer: JoinAnswer) -> dict[str, Any]:
    """The settings that the hub gave, and those of the technician."""
    data_dir = plan.data_dir.absolute()
    learned: dict[str, Any] = {
        "site": answer.site,
        "data_dir": str(data_dir),
        "hub_keys": list(answer.hub_keys),
        "root_keys": list(answer.root_keys),
        "broker": {
            "host": answer.broker.host,
            "port": answer.broker.port,
            "tls_ca_file": str(data_dir / AUTHORITY_FILE),
            "tls_certificate_file": str(data_dir / CERTIFICATE_FILE),
            "tls_key_file": str(data_dir / TLS_KEY_FILE),
        },
        "joining": {"host": plan.token.host, "port": plan.token.port},
    }
    return merged(learned, plan.extra)
