"""The settings of `kapok up`: a YAML file and the environment become one typed value.

The only reader of configuration. A wrong setting is refused by name, so that a typo never becomes a
silent default. The name of each setting states its unit; `configs/scheduler.yaml` explains each.
"""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml

DATA_HOME = "KAPOK_DATA_HOME"
"""Environment variable: the data directory when the command line names none."""


class SettingsError(ValueError):
    """The settings are invalid; the message names the setting and what to do."""


class HubSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which Kubernetes API is the hub.

    Attributes:
        kubeconfig: kubeconfig of a real cluster; empty: the embedded hub.
        context: context in that kubeconfig; empty: the current one.
        port: port of the embedded hub on 127.0.0.1; 0: a free port, chosen at the first start.
        max_objects_per_token: objects that the holder of a token may keep on the embedded hub.
        max_bytes_per_token: bytes of these objects.
    """

    kubeconfig: str = ""
    context: str = ""
    port: int = 0
    max_objects_per_token: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 20_000
    max_bytes_per_token: Annotated[int, msgspec.Meta(ge=1, le=2**40)] = 256 * 1024 * 1024


class BrokerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which MQTT 5 broker carries the messages.

    Attributes:
        host: host of an existing broker; empty: the embedded broker.
        port: its port; for the embedded broker 0: a free port, chosen at the first start.
        username: the scheduler's own login; empty: none.
        password_file: file with the password, so that no settings file contains it.
        tls_ca_file: authority of the broker's certificate; empty: no TLS, which is allowed on
            loopback only.
        tls_certificate_file: client certificate of the scheduler; empty: none.
        tls_key_file: key of that certificate.
    """

    host: str = ""
    port: int = 0
    username: str = ""
    password_file: str = ""
    tls_ca_file: str = ""
    tls_certificate_file: str = ""
    tls_key_file: str = ""


class WebSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where /metrics, /healthz and /readyz are served.

    Attributes:
        port: port on 127.0.0.1; 0: a free port, chosen at the first start.
    """

    port: int = 0


class FreshnessSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When what a site reported is too old.

    Attributes:
        stale_after_seconds: a site with older figures gets no new work.
        silent_after_seconds: a site that has sent nothing for this long is Ready=False.
        hear_sites_seconds: how long to wait for reports of the sites after a start, before
            anything is decided that they may run already.
        site_status_seconds: the figures of a site are written to its status at most this often; a
            change of Ready is written at once.
    """

    stale_after_seconds: float = 300.0
    silent_after_seconds: float = 45.0
    hear_sites_seconds: float = 10.0
    site_status_seconds: float = 15.0


class QueueSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How often workloads that failed or were not placed are tried again.

    Attributes:
        first_backoff_seconds: pause after the first failure; doubled each time.
        last_backoff_seconds: the longest pause.
        unschedulable_recheck_seconds: unplaced work is decided again after this time, even without
            an event that could help it.
        reserve_after_seconds: capacity is reserved for work that has waited for it this long; 0:
            never.
    """

    first_backoff_seconds: float = 1.0
    last_backoff_seconds: float = 60.0
    unschedulable_recheck_seconds: float = 300.0
    reserve_after_seconds: float = 600.0


class BatchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When the backlog is solved as one batch, for the prices of scarce capacity.

    Attributes:
        at_workloads: a batch is solved when at least this many workloads wait; 0: never.
        interval_seconds: shortest time between two batches.
        prices_expire_seconds: prices that no later batch confirmed are dropped after this time.
        most_workloads: a batch has at most this many workloads, the most urgent ones.
        most_pairs: a batch has at most this many pairs of workload and site; one uses about 50
            bytes of memory meanwhile.
    """

    at_workloads: int = 100
    interval_seconds: float = 30.0
    prices_expire_seconds: float = 300.0
    most_workloads: int = 10_000
    most_pairs: int = 10_000_000


class DispatchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How orders are published.

    Attributes:
        stuck_in_flight_seconds: an order that does not run for this long sets the condition
            StuckInFlight, and room is kept no longer for pods that the site cannot schedule.
        repeat_seconds: an index that a site does not echo is published again this often.
    """

    stuck_in_flight_seconds: float = 300.0
    repeat_seconds: float = 5.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings.

    Attributes:
        hub_id: names this hub in order ids; a hub restored from a backup must keep it. It has
            neither a slash nor a space.
        log_level: DEBUG, INFO, WARNING or ERROR.
        hub: which Kubernetes API is the hub.
        broker: which broker carries the messages.
        web: where metrics and the web page are served.
        freshness: when what a site reported is too old.
        queue: how often work is tried again.
        batch: when the backlog is solved as one batch.
        dispatch: how orders are published.
    """

    hub_id: Annotated[str, msgspec.Meta(max_length=128, pattern=r"^[^/\s]+$")] = "kapok"
    log_level: str = "INFO"
    hub: HubSettings = HubSettings()
    broker: BrokerSettings = BrokerSettings()
    web: WebSettings = WebSettings()
    freshness: FreshnessSettings = FreshnessSettings()
    queue: QueueSettings = QueueSettings()
    batch: BatchSettings = BatchSettings()
    dispatch: DispatchSettings = DispatchSettings()


def load_settings(path: Path | None) -> Settings:
    """Reads a settings file.

    Args:
        path: a YAML file; None: all defaults.

    Raises:
        SettingsError: the file is missing, is not YAML, or a setting is wrong.
    """
    if path is None:
        return Settings()
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; name a file with --config") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not YAML: {error}") from error
    return settings_from(raw, source=str(path))


def settings_from(raw: object, *, source: str) -> Settings:
    """Turns decoded YAML into settings.

    Raises:
        SettingsError: a setting is unknown or has a wrong value; the message names it.
    """
    if not isinstance(raw, dict):
        raise SettingsError(f"{source}: settings must be a map of groups, not a {_type_name(raw)}")
    _refuse_unknown(raw, Settings, source, "")
    try:
        settings = msgspec.convert(raw, Settings)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{source}: {error}") from error
    _refuse_plain_broker(settings.broker, source)
    return settings


def data_directory(named: str | None) -> Path:
    """The data directory: `named`, else $KAPOK_DATA_HOME, else ~/.local/share/kapok."""
    chosen = named or os.environ.get(DATA_HOME)
    return Path(chosen) if chosen else Path.home() / ".local" / "share" / "kapok"


def _refuse_unknown(
    raw: Mapping[str, Any], group: type[msgspec.Struct], source: str, prefix: str
) -> None:
    known = {field.name: field.type for field in msgspec.structs.fields(group)}
    for key, value in raw.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known: {', '.join(known)}"
            raise SettingsError(f"{source}: {prefix}{key}: no such setting; {hint}")
        inner = known[key]
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            if not isinstance(value, dict):
                raise SettingsError(
                    f"{source}: {prefix}{key}: expected a map of settings, not {value!r}"
                )
            _refuse_unknown(value, inner, source, f"{prefix}{key}.")


def _refuse_plain_broker(broker: BrokerSettings, source: str) -> None:
    loopback = broker.host in ("", "localhost", "::1") or broker.host.startswith("127.")
    if not loopback and not broker.tls_ca_file:
        raise SettingsError(
            f"{source}: broker.host: {broker.host} is not on loopback, so broker.tls_ca_file "
            "must name the authority of its certificate"
        )


def _type_name(value: object) -> str:
    return "list" if isinstance(value, list) else type(value).__name__
