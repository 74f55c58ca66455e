"""Writes what a machine learns by joining into its settings file, and keeps all else of it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from agents.config.load import AgentSettingsError, load_settings
from agents.runtime.data_dir import write_durably

_MODE: Final = 0o644
"""The file holds no secret: keys are in files of their own, and the service's user reads it."""
_BACKUP_SUFFIX: Final = ".before-join"
_HEADER: Final = "# Settings of kapok-agent. kapok-agent join wrote those that name the hub.\n"


def read_settings_file(path: Path) -> dict[str, Any]:
    """The settings in a file as they are; {} if it does not exist.

    Raises:
        AgentSettingsError: it is no map of settings.
    """
    if not path.exists():
        return {}
    import yaml  # noqa: PLC0415 - only for a file that is there

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise AgentSettingsError(f"{path}: not YAML: {str(error)[:300]}") from None
    if not isinstance(found, dict):
        raise AgentSettingsError(f"{path}: settings are a map of names to values")
    return found


def merged(known: Mapping[str, Any], learned: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with those that were learned; groups are merged."""
    result = dict(known)
    for name, value in learned.items():
        before = result.get(name)
        if isinstance(value, Mapping):
            result[name] = merged(before if isinstance(before, Mapping) else {}, value)
        else:
            result[name] = value
    return result


def write_settings_file(path: Path, settings: Mapping[str, Any]) -> None:
    """Replaces the file at once; the one before is kept beside it.

    Raises:
        AgentSettingsError: the agent would refuse these settings; nothing is written.
        OSError: the file cannot be written.
    """
    text = _HEADER + "".join(_lines(settings))
    draft = path.with_name(f".{path.name}.draft")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(draft, text.encode(), mode=_MODE)
    try:
        load_settings(draft, {})
    except AgentSettingsError as error:
        raise AgentSettingsError(str(error).replace(str(draft), str(path))) from None
    finally:
        draft.unlink(missing_ok=True)
    if path.exists() and path.read_bytes() != text.encode():
        backup = path.with_name(path.name + _BACKUP_SUFFIX)
        write_durably(backup, path.read_bytes(), mode=path.stat().st_mode & 0o777)
    write_durably(path, text.encode(), mode=_MODE)


def _lines(settings: Mapping[str, Any], indent: str = "") -> list[str]:
    """YAML of maps, with JSON for all values in them: JSON is YAML."""
    lines: list[str] = []
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            lines += [f"{indent}{name}:\n", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{name}: {json.dumps(value, ensure_ascii=False)}\n")
    return lines
