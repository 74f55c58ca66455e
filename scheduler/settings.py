"""The settings of `kapok up`: a YAML file and the environment become one typed value.

The only reader of configuration. A wrong setting is refused by name: a typo is never a silent
default. Each setting states its unit in its name; `configs/scheduler.yaml` says what each is for.
"""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

DATA_HOME = "KAPOK_DATA_HOME"
"""Environment variable: the data directory when none is named."""


class SettingsError(ValueError):
    """The settings do not make sense; the message names the setting and the way out."""


class HubSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which Kubernetes API is the hub.

    Attributes:
        kubeconfig: a real cluster's; empty means the embedded hub.
        context: the context in it; empty takes the current one.
        port: the embedded hub's port on 127.0.0.1; 0 chooses a free one at first start.
    """

    kubeconfig: str = ""
    context: str = ""
    port: int = 0


class BrokerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which MQTT 5 broker carries the messages.

    Attributes:
        host: an existing broker's; empty means the embedded broker.
        port: its port; for the embedded broker 0 chooses a free one at first start.
        username: the scheduler's own login; empty means none.
        password_file: a file that holds the password, so that it stands in no settings file.
        tls_ca_file: the authority of the broker's certificate; empty means no TLS, which is allowed
            on loopback only.
        tls_certificate_file: our client certificate; empty means none.
        tls_key_file: its key.
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
        port: on 127.0.0.1; 0 chooses a free one at first start.
    """

    port: int = 0


class FreshnessSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When a site's word is too old.

    Attributes:
        stale_after_seconds: figures older than this place nothing new at the site.
        silent_after_seconds: a site that said nothing for so long is Ready=False.
        hear_sites_seconds: after a start, how long running sites are waited for before anything
            that they may already run is decided.
        site_status_seconds: how often a site's figures are written to its status at most; a change
            of Ready is written at once.
    """

    stale_after_seconds: float = 300.0
    silent_after_seconds: float = 45.0
    hear_sites_seconds: float = 10.0
    site_status_seconds: float = 15.0


class QueueSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How often what failed is tried again.

    Attributes:
        first_backoff_seconds: the pause after the first failure; doubled each time.
        last_backoff_seconds: the longest pause.
        unschedulable_recheck_seconds: unplaced work is looked at again after so long even when no
            event named it.
        reserve_after_seconds: for work that waits for room so long, room is reserved; 0: never.
    """

    first_backoff_seconds: float = 1.0
    last_backoff_seconds: float = 60.0
    unschedulable_recheck_seconds: float = 300.0
    reserve_after_seconds: float = 600.0


class BatchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When waiting work is looked at together, for the prices of what is scarce.

    Attributes:
        at_workloads: so many must wait; 0 never takes a batch.
        interval_seconds: from one batch to the next at least.
        prices_expire_seconds: prices that no later batch confirmed count no longer.
        most_workloads: the most urgent so many are taken.
        most_pairs: workloads times sites of a batch at most; a pair takes some 50 bytes meanwhile.
    """

    at_workloads: int = 100
    interval_seconds: float = 30.0
    prices_expire_seconds: float = 300.0
    most_workloads: int = 10_000
    most_pairs: int = 10_000_000


class DispatchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How orders go out.

    Attributes:
        stuck_in_flight_seconds: an order that no report has shown for so long sets the condition
            StuckInFlight.
        repeat_seconds: how often an index is published again at a site that does not echo it.
    """

    stuck_in_flight_seconds: float = 300.0
    repeat_seconds: float = 5.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings.

    Attributes:
        hub_id: names this hub in order ids; a restored backup keeps it.
        log_level: DEBUG, INFO, WARNING or ERROR.
    """

    hub_id: str = "kapok"
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
        path: a YAML file; None takes all defaults.

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
        raise SettingsError(f"{source}: settings are a map of groups, this is a {_type_name(raw)}")
    _refuse_unknown(raw, Settings, source, "")
    try:
        settings = msgspec.convert(raw, Settings)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{source}: {error}") from error
    _refuse_plain_broker(settings.broker, source)
    return settings


def data_directory(named: str | None) -> Path:
    """The data directory: the named one, else $KAPOK_DATA_HOME, else ~/.local/share/kapok."""
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
                raise SettingsError(f"{source}: {prefix}{key}: a map of settings, not {value!r}")
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
