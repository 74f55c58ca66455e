"""`kapok-agent doctor`: reports everything that would keep the agent from its work.

It looks at settings, files and the broker's port, changes nothing and sends nothing.
"""

import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from agents.config.load import AgentSettingsError, read_settings
from agents.config.rules import find_problems
from agents.config.settings import AgentBrokerSettings, AgentSettings
from agents.joining.credentials import read_life
from agents.mqtt.proxy import proxy_for
from agents.runtime.clock import AgentSystemClock
from agents.runtime.data_checks import check_data_files, check_no_boots_lost
from agents.runtime.data_dir import IdentityError, check_mounted_secret_mode

_CONNECT_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """One problem; the fields are those of `kapok config check`."""

    path: str
    severity: str
    what: str
    instead: str


def examine(config: Path | None, environment: Mapping[str, str]) -> dict[str, Any]:
    """The answer of `kapok-agent doctor`: `ok`, and the findings."""
    try:
        settings, source = read_settings(config, environment)
    except AgentSettingsError as error:
        findings = [DoctorFinding("", "error", str(error), "configs/agent.yaml is an example")]
    else:
        findings = [*_examine_settings(settings, source), *_examine_machine(settings)]
    return {
        "ok": all(one.severity != "error" for one in findings),
        "findings": [asdict(one) for one in findings],
    }


def _examine_settings(settings: AgentSettings, source: str) -> Iterator[DoctorFinding]:
    for problem in find_problems(settings):
        yield DoctorFinding(problem.path, "error", problem.text, f"change it in {source}")
    if not settings.hub_keys:
        what = "no key of a hub: no order is accepted"
        yield DoctorFinding("hub_keys", "warning", what, "write the hub key that `kapok up` prints")


def _examine_machine(settings: AgentSettings) -> Iterator[DoctorFinding]:
    folder = Path(settings.data_dir)
    try:
        if folder.exists():
            check_data_files(folder)
            check_no_boots_lost(folder)
    except (IdentityError, OSError) as error:
        yield DoctorFinding("data_dir", "error", str(error), "follow the message")
    broker = settings.broker
    files = {
        "broker.password_file": broker.password_file,
        "broker.tls_ca_file": broker.tls_ca_file,
        "broker.tls_certificate_file": broker.tls_certificate_file,
        "broker.tls_key_file": broker.tls_key_file,
        "cluster.kubeconfig": settings.cluster.kubeconfig,
        "replay.file": settings.replay.file,
    }
    for path, name in files.items():
        if name:
            yield from _examine_file(path, Path(name))
    if settings.joining.host:
        yield from _examine_certificate(folder)
    yield from _examine_broker(broker)


def _examine_certificate(folder: Path) -> Iterator[DoctorFinding]:
    life, now = read_life(folder), AgentSystemClock().now()
    path, instead = "broker.tls_certificate_file", "start the agent: it renews the certificate"
    if life is None:
        what = f"{folder}: there is no certificate that can be read"
        yield DoctorFinding(path, "error", what, "join again: kapok-agent join TOKEN --again")
    elif life.last <= now:
        what = f"the certificate has ended at {life.last:%Y-%m-%d %H:%M} UTC"
        yield DoctorFinding(path, "warning", what, instead)
    elif now < life.first:
        what = f"the certificate begins at {life.first:%Y-%m-%d %H:%M} UTC: the clock is behind"
        yield DoctorFinding(path, "error", what, "set the clock: timedatectl set-ntp true")
    elif life.needs_renewal(now):
        what = f"the certificate ends at {life.last:%Y-%m-%d %H:%M} UTC and is not renewed"
        yield DoctorFinding(path, "warning", what, f"{instead}; its log says why not")


def _examine_file(path: str, file: Path) -> Iterator[DoctorFinding]:
    secrets = ("broker.password_file", "broker.tls_key_file", "cluster.kubeconfig")
    try:
        with file.open("rb"):
            pass
        if path in secrets:
            check_mounted_secret_mode(file)
    except OSError as error:
        yield DoctorFinding(path, "error", f"{file}: {error.strerror}", "name a readable file")
    except IdentityError as error:
        yield DoctorFinding(path, "error", str(error), "follow the message")


def _examine_broker(broker: AgentBrokerSettings) -> Iterator[DoctorFinding]:
    path = "broker.host"
    try:
        proxy = proxy_for(broker.host, broker.proxy, os.environ)
        if proxy is None:
            socket.create_connection((broker.host, broker.port), timeout=_CONNECT_SECONDS).close()
        else:
            path = "broker.proxy"
            proxy.connect(broker.host, broker.port).close()
    except (OSError, OverflowError, UnicodeError) as error:
        what = f"{broker.host}:{broker.port}: {error}"
        instead = "start the broker, or name its address; the agent goes on trying"
        yield DoctorFinding(path, "warning", what, instead)
