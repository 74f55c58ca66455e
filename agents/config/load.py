"""Reads the agent's settings: a YAML file and the environment become one typed value.

A wrong setting is refused by name: a typo is never a silent default. Every setting can be given by
the environment too: `broker.password` is `KAPOK_AGENT_BROKER_PASSWORD`; that is how a secret comes
from a Kubernetes Secret.
"""

import dataclasses
import math
import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from agents.config.settings import BrokerSettings, Settings
from agents.protocol.errors import WireError
from agents.protocol.keys import TrustedKeys
from agents.protocol.report import Figure
from agents.protocol.topics import is_site_name

ENVIRONMENT_PREFIX: Final = "KAPOK_AGENT_"
# Kubernetes sets these in every pod beside a Service that is named kapok-agent.
_KUBERNETES: Final = re.compile(ENVIRONMENT_PREFIX + r"(SERVICE_(HOST|PORT)|PORT)(_|$)")
_SOURCES: Final = ("none", "kubeconfig", "in-cluster")


class SettingsError(ValueError):
    """The settings do not make sense; the message names the setting and the way out."""


Hint = Any
Raw = Any


def load_settings(path: Path | None, environment: Mapping[str, str]) -> Settings:
    """Reads a settings file; the environment wins over it.

    Args:
        path: a YAML file; None takes everything from the environment.
        environment: usually `os.environ`; only names with the prefix are looked at.

    Raises:
        SettingsError: the file is missing, is not YAML, or a setting is wrong.
    """
    raw = _read_yaml(path) if path else {}
    source = str(path) if path else "environment"
    if not isinstance(raw, dict):
        raise SettingsError(f"{source}: settings are a map of names to values")
    for variable, keys, value in _from_environment(environment):
        _put(raw, keys, value, variable)
    settings: Settings = _record(Settings, raw, source, "")
    _check(settings, source)
    return settings


def _read_yaml(path: Path) -> Raw:
    import yaml  # noqa: PLC0415 - an agent set up by the environment alone never needs it

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; name a file with --config") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not YAML: {error}") from error


# ---------------------------------------------------------------- environment


def _leaves(record: Hint, keys: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    hints = typing.get_type_hints(record)
    for each in dataclasses.fields(record):
        hint = hints[each.name]
        if dataclasses.is_dataclass(hint):
            yield from _leaves(hint, (*keys, each.name))
        else:
            yield (*keys, each.name)


def environment_names() -> dict[str, tuple[str, ...]]:
    """Every environment variable that is a setting, and the path of that setting."""
    return {ENVIRONMENT_PREFIX + "_".join(keys).upper(): keys for keys in _leaves(Settings)}


def _from_environment(
    environment: Mapping[str, str],
) -> Iterator[tuple[str, tuple[str, ...], Raw]]:
    known = environment_names()
    for variable, text in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or _KUBERNETES.match(variable):
            continue
        if variable not in known:
            raise SettingsError(f"environment: {variable}: no such setting{_hint(variable, known)}")
        yield variable, known[variable], text


def _put(raw: dict[str, Raw], keys: tuple[str, ...], value: Raw, source: str) -> None:
    *groups, last = keys
    for name in groups:
        raw = raw.setdefault(name, {})
        if not isinstance(raw, dict):
            raise SettingsError(f"{source}: {name} in the file is no group of settings")
    raw[last] = value


# ---------------------------------------------------------------- values


def _record(record: Hint, raw: Raw, source: str, prefix: str) -> Raw:
    if not isinstance(raw, dict):
        raise SettingsError(f"{source}: {prefix.rstrip('.')}: a map of settings, not {_kind(raw)}")
    hints = typing.get_type_hints(record)
    for key in raw:
        if key not in hints:
            hint = _hint(str(key), hints, prefix)
            raise SettingsError(f"{source}: {prefix}{key}: no such setting{hint}")
    for each in dataclasses.fields(record):
        is_given = raw.get(each.name) is not None
        if not is_given and each.default is each.default_factory is dataclasses.MISSING:
            raise SettingsError(f"{source}: {prefix}{each.name}: is required")
    values = {
        key: _value(hints[key], value, source, prefix + key)
        for key, value in raw.items()
        if value is not None
    }
    return record(**values)


def _value(hint: Hint, raw: Raw, source: str, path: str) -> Raw:
    if dataclasses.is_dataclass(hint):
        return _record(hint, raw, source, f"{path}.")
    origin: Hint = typing.get_origin(hint)
    if origin is tuple:
        return _list(typing.get_args(hint)[0], raw, source, path)
    members = [each for each in typing.get_args(hint) if each is not type(None)]
    return _scalar(members[0] if members else hint, raw, source, path)


def _list(item: Hint, raw: Raw, source: str, path: str) -> Raw:
    if isinstance(raw, str):  # from the environment, or a single value in the file
        raw = [word.strip() for word in raw.split(",") if word.strip()]
    if not isinstance(raw, list):
        raise SettingsError(f"{source}: {path}: a list is expected, not {_kind(raw)}")
    return tuple(_value(item, each, source, f"{path}[{at}]") for at, each in enumerate(raw))


def _scalar(hint: Hint, raw: Raw, source: str, path: str) -> Raw:
    if hint is bool:
        words = {"true": True, "false": False, "yes": True, "no": False}
        value = raw if isinstance(raw, bool) else words.get(str(raw).lower())
        if value is None:
            raise SettingsError(f"{source}: {path}: true or false is expected, not {raw!r}")
        return value
    if hint in (int, float):
        return _number(hint, raw, source, path)
    if not isinstance(raw, str | int | float) or isinstance(raw, bool):
        raise SettingsError(f"{source}: {path}: text is expected, not {_kind(raw)}")
    return hint(raw)


def _number(hint: Hint, raw: Raw, source: str, path: str) -> Raw:
    try:
        value = hint(raw)
        is_same = not isinstance(raw, bool) and math.isfinite(value) and float(raw) == value
    except (TypeError, ValueError, OverflowError):
        is_same, value = False, 0
    if not is_same or value < 0:
        kind = "a whole number" if hint is int else "a number"
        raise SettingsError(f"{source}: {path}: {kind} from 0 is expected, not {raw!r}")
    return value


# ---------------------------------------------------------------- sense


def _check(settings: Settings, source: str) -> None:
    for path, is_good, words in _rules(settings):
        if not is_good:
            raise SettingsError(f"{source}: {path}: {words}")
    try:
        TrustedKeys.parse(settings.hub_keys)
    except WireError as error:
        raise SettingsError(f"{source}: hub_keys: {error}") from error


def _peer_rules(settings: Settings, figures: tuple[str, ...]) -> Iterator[tuple[str, bool, str]]:
    for number, peer in enumerate(settings.peers):
        yield (
            f"peers[{number}]",
            (bool(peer.host) and peer.port > 0) or peer.milliseconds is not None,
            "host and port to measure the round trip, or milliseconds that are modelled",
        )
        origin = f"one of {', '.join(figures)}"
        yield f"peers[{number}].origin", peer.origin in figures, origin


def _rules(settings: Settings) -> Iterator[tuple[str, bool, str]]:
    cluster, report = settings.cluster, settings.report
    figures = typing.get_args(Figure)
    yield "site", is_site_name(settings.site), "lower-case letters, digits, - and . are expected"
    yield "agent", is_site_name(settings.agent), "lower-case letters, digits, - and . are expected"
    yield "cluster.source", cluster.source in _SOURCES, f"one of {', '.join(_SOURCES)}"
    yield (
        "cluster.kubeconfig",
        bool(cluster.kubeconfig) or cluster.source != "kubeconfig",
        "is needed when cluster.source is kubeconfig",
    )
    for name in ("power_origin", "pue_origin", "intensity_origin"):
        word = getattr(settings.static, name)
        yield f"static.{name}", word in figures, f"one of {', '.join(figures)}"
    yield from _peer_rules(settings, figures)
    yield (
        "static.pue",
        (settings.static.pue or 1.0) >= 1,
        "is total over IT power: at least 1",
    )
    for name in ("interval_seconds", "full_interval_seconds", "status_interval_seconds"):
        yield f"report.{name}", getattr(report, name) > 0, "must be more than 0"
    yield "cluster.resync_seconds", cluster.resync_seconds > 0, "must be more than 0"
    yield "cluster.lease_seconds", cluster.lease_seconds >= 1, "must be at least 1"
    yield (
        "broker.tls_ca_file",
        _is_safe(settings.broker),
        f"{settings.broker.host} is not on loopback; name the authority of its certificate",
    )


def _is_safe(broker: BrokerSettings) -> bool:
    is_loopback = broker.host in ("localhost", "::1") or broker.host.startswith("127.")
    return is_loopback or bool(broker.tls_ca_file)


def _hint(word: str, known: Mapping[str, object], prefix: str = "") -> str:
    import difflib  # noqa: PLC0415 - only for a wrong setting

    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {prefix}{near[0]}?" if near else f"; known: {', '.join(known)}"


def _kind(raw: Raw) -> str:
    return {dict: "a map", list: "a list", type(None): "nothing"}.get(type(raw), repr(raw))
