"""Reads the agent's settings from a YAML file and the environment.

An unknown or invalid setting is an error that names it, so that a typo never becomes a default.
Every setting can come from the environment: `broker.password` is `KAPOK_AGENT_BROKER_PASSWORD`.
That is how a pod passes in a Kubernetes Secret.
"""

import dataclasses
import math
import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from agents.config.rules import PUSH_SITE, find_problems, find_push_problems
from agents.config.settings import AgentSettings

ENVIRONMENT_PREFIX: Final = "KAPOK_AGENT_"
# Kubernetes sets these in every pod of a namespace that has a Service named kapok-agent.
_SERVICE_LINK_VARIABLES: Final = re.compile(ENVIRONMENT_PREFIX + r"(SERVICE_(HOST|PORT)|PORT)(_|$)")


class AgentSettingsError(ValueError):
    """The settings are invalid; the message names the setting and what is expected."""


TypeHint = Any
RawValue = Any


def load_settings(path: Path | None, environment: Mapping[str, str]) -> AgentSettings:
    """Reads settings; the environment overrides the file.

    Args:
        path: a YAML file; None takes all settings from the environment.
        environment: usually `os.environ`; only names with the prefix are read.

    Raises:
        AgentSettingsError: the file is missing or not YAML, or a setting is unknown or invalid.
    """
    settings, source = read_settings(path, environment)
    for problem in find_problems(settings):
        raise AgentSettingsError(f"{source}: {problem.path}: {problem.text}")
    return settings


def load_push_settings(path: Path | None, environment: Mapping[str, str]) -> AgentSettings:
    """Reads the settings of `kapok-agent push`: without a site, and its agents are named `push`.

    Raises:
        AgentSettingsError: as `load_settings`, and for settings that belong to one site.
    """
    defaults = {"site": PUSH_SITE, "agent": "push"}
    settings, source = read_settings(path, environment, defaults)
    for problem in (*find_problems(settings), *find_push_problems(settings)):
        raise AgentSettingsError(f"{source}: {problem.path}: {problem.text}")
    return settings


def read_settings(
    path: Path | None,
    environment: Mapping[str, str],
    defaults: Mapping[str, str] = MappingProxyType({}),
) -> tuple[AgentSettings, str]:
    """Settings of the right types, whose values are not checked yet, and where they come from.

    Args:
        path: a YAML file, or None.
        environment: usually `os.environ`.
        defaults: values of settings that neither of them names.

    Raises:
        AgentSettingsError: as `load_settings`, but for values.
    """
    raw = _read_yaml(path) if path else {}
    source = str(path) if path else "environment"
    if not isinstance(raw, dict):
        raise AgentSettingsError(f"{source}: settings are a map of names to values")
    for variable, keys, value in _read_environment(environment):
        _set_nested(raw, keys, value, variable)
    for name, value in defaults.items():
        raw.setdefault(name, value)
    settings: AgentSettings = _parse_record(AgentSettings, raw, source, "")
    return settings, source


def _read_yaml(path: Path) -> RawValue:
    import yaml  # noqa: PLC0415 - only agents with a settings file need it

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise AgentSettingsError(f"{path}: {error.strerror}; name a file with --config") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise AgentSettingsError(f"{path}: not YAML: {str(error)[:300]}") from error


# ---------------------------------------------------------------- environment


def _setting_paths(record: TypeHint, keys: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    hints = typing.get_type_hints(record)
    for each in dataclasses.fields(record):
        hint = hints[each.name]
        if dataclasses.is_dataclass(hint):
            yield from _setting_paths(hint, (*keys, each.name))
        else:
            yield (*keys, each.name)


def environment_names() -> dict[str, tuple[str, ...]]:
    """Every environment variable that is a setting, with the path of that setting."""
    return {
        ENVIRONMENT_PREFIX + "_".join(keys).upper(): keys for keys in _setting_paths(AgentSettings)
    }


def _read_environment(
    environment: Mapping[str, str],
) -> Iterator[tuple[str, tuple[str, ...], RawValue]]:
    known = environment_names()
    for variable, text in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or _SERVICE_LINK_VARIABLES.match(variable):
            continue
        if variable not in known:
            raise AgentSettingsError(
                f"environment: {variable}: no such setting{_suggestion(variable, known)}"
            )
        yield variable, known[variable], text


def _set_nested(
    raw: dict[str, RawValue], keys: tuple[str, ...], value: RawValue, source: str
) -> None:
    *groups, last = keys
    for name in groups:
        raw = raw.setdefault(name, {})
        if not isinstance(raw, dict):
            raise AgentSettingsError(f"{source}: {name} in the file is not a group of settings")
    raw[last] = value


# ---------------------------------------------------------------- values


def _parse_record(record: TypeHint, raw: RawValue, source: str, prefix: str) -> RawValue:
    if not isinstance(raw, dict):
        raise AgentSettingsError(
            f"{source}: {prefix.rstrip('.')}: a map of settings, not {_describe_type(raw)}"
        )
    hints = typing.get_type_hints(record)
    for key in raw:
        if key not in hints:
            hint = _suggestion(str(key), hints, prefix)
            raise AgentSettingsError(f"{source}: {prefix}{key}: no such setting{hint}")
    for each in dataclasses.fields(record):
        is_given = raw.get(each.name) is not None
        if not is_given and each.default is each.default_factory is dataclasses.MISSING:
            raise AgentSettingsError(f"{source}: {prefix}{each.name}: is required")
    values = {
        key: _parse_value(hints[key], value, source, prefix + key)
        for key, value in raw.items()
        if value is not None
    }
    return record(**values)


def _parse_value(hint: TypeHint, raw: RawValue, source: str, path: str) -> RawValue:
    if dataclasses.is_dataclass(hint):
        return _parse_record(hint, raw, source, f"{path}.")
    origin: TypeHint = typing.get_origin(hint)
    if origin is tuple:
        return _parse_list(typing.get_args(hint)[0], raw, source, path)
    members = [each for each in typing.get_args(hint) if each is not type(None)]
    return _parse_scalar(members[0] if members else hint, raw, source, path)


def _parse_list(item: TypeHint, raw: RawValue, source: str, path: str) -> RawValue:
    if isinstance(raw, str):  # from the environment, or a single value in the file
        raw = [word.strip() for word in raw.split(",") if word.strip()]
    if not isinstance(raw, list):
        raise AgentSettingsError(f"{source}: {path}: a list is expected, not {_describe_type(raw)}")
    return tuple(_parse_value(item, each, source, f"{path}[{at}]") for at, each in enumerate(raw))


def _parse_scalar(hint: TypeHint, raw: RawValue, source: str, path: str) -> RawValue:
    if hint is bool:
        words = {"true": True, "false": False, "yes": True, "no": False}
        value = raw if isinstance(raw, bool) else words.get(str(raw).lower())
        if value is None:
            raise AgentSettingsError(f"{source}: {path}: true or false is expected, not {raw!r}")
        return value
    if hint in (int, float):
        return _parse_number(hint, raw, source, path)
    if not isinstance(raw, str | int | float) or isinstance(raw, bool):
        raise AgentSettingsError(f"{source}: {path}: text is expected, not {_describe_type(raw)}")
    return hint(raw)


def _parse_number(hint: TypeHint, raw: RawValue, source: str, path: str) -> RawValue:
    try:
        value = hint(raw)
        is_same = not isinstance(raw, bool) and math.isfinite(value) and float(raw) == value
    except (TypeError, ValueError, OverflowError):
        is_same, value = False, 0
    if not is_same or value < 0:
        kind = "a whole number" if hint is int else "a number"
        raise AgentSettingsError(f"{source}: {path}: {kind} from 0 is expected, not {raw!r}")
    return value


def _suggestion(name: str, known: Mapping[str, object], prefix: str = "") -> str:
    import difflib  # noqa: PLC0415 - only for a wrong setting

    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {prefix}{near[0]}?" if near else f"; known: {', '.join(known)}"


def _describe_type(raw: RawValue) -> str:
    return {dict: "a map", list: "a list", type(None): "nothing"}.get(type(raw), repr(raw))
