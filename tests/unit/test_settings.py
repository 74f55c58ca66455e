"""Settings: the shipped file is the defaults, and a typo is refused by name."""

from pathlib import Path

import pytest

from scheduler.runtime.packaged_files import packaged_folder
from scheduler.settings import Settings, SettingsError, data_directory, load_settings, settings_from


def test_the_shipped_file_states_exactly_the_defaults() -> None:
    assert load_settings(packaged_folder("configs") / "scheduler.yaml") == Settings()


def test_a_typo_is_refused_with_the_name_that_was_meant() -> None:
    with pytest.raises(SettingsError, match=r"queue\.first_backof_seconds: no such setting"):
        settings_from({"queue": {"first_backof_seconds": 2}}, source="x.yaml")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ([], "map of groups"),
        ({"queue": 3}, "queue: expected a map of settings"),
        ({"hub": {"port": "many"}}, "port"),
        ({"broker": {"host": "mqtt.example.org"}}, "tls_ca_file"),
        ({"zzz": 1}, "known: hub_id"),
    ],
    ids=["list", "scalar-group", "wrong-type", "plain-text-broker", "unknown"],
)
def test_wrong_settings_are_refused_by_name(raw: object, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        settings_from(raw, source="x.yaml")


def test_a_missing_file_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--config"):
        load_settings(tmp_path / "absent.yaml")


def test_a_file_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("a: [")
    with pytest.raises(SettingsError, match=r"broken\.yaml: not YAML"):
        load_settings(path)


def test_a_relative_data_directory_becomes_absolute() -> None:
    assert data_directory("./city") == Path.cwd() / "city"
