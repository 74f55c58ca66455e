"""Settings: the shipped file is the defaults, and a typo is refused by name."""

import json
from pathlib import Path
from typing import get_args

import pytest

from scheduler.cli.entry import main
from scheduler.ledger.errors import LedgerUnavailableError
from scheduler.ledger_settings import LedgerSettings, read_ledger_url
from scheduler.runtime.packaged_files import packaged_folder
from scheduler.setting_checks import each_setting
from scheduler.settings import (
    Settings,
    SettingsError,
    check_settings_file,
    data_directory,
    find_problems,
    load_settings,
    settings_from,
)

_DB = "postgresql://kapok@db.example/kapok?connect_timeout=3"


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
    with pytest.raises(SettingsError, match=r"broken\.yaml: line 2, column 1: not YAML"):
        load_settings(path)


def test_a_relative_data_directory_becomes_absolute() -> None:
    assert data_directory("./city") == Path.cwd() / "city"


def test_every_number_has_a_range_and_a_unit() -> None:
    for path, expected in each_setting(Settings):
        if get_args(expected) and get_args(expected)[0] in (int, float):
            (meta,) = get_args(expected)[1:]
            assert meta.ge is not None, path
            assert meta.le is not None, path
            assert meta.extra["unit"], path


@pytest.mark.parametrize("bad", [-1, 1e300, float("nan"), float("inf"), 10**400, "5", True, None])
def test_every_number_out_of_range_is_reported_by_name(bad: object) -> None:
    numbers = {
        path
        for path, expected in each_setting(Settings)
        if get_args(expected) and get_args(expected)[0] in (int, float)
    }
    raw: dict[str, dict[str, object]] = {}
    for path in numbers:
        group, _, name = path.partition(".")
        raw.setdefault(group, {})[name] = bad
    assert {one.path for one in find_problems(raw)} == numbers


@pytest.mark.parametrize(
    ("raw", "path", "says"),
    [
        ({"log_level": "loud"}, "log_level", "one of DEBUG, INFO, WARNING, ERROR"),
        ({"log_level": "warn"}, "log_level", "did you mean WARNING"),
        ({"log_level": 10}, "log_level", "one of DEBUG"),
        ({"hub_id": "a/b"}, "hub_id", "neither slash nor space"),
        ({"queue": {"first_backoff_seconds": 90}}, "queue.last_backoff_seconds", "write 90"),
        ({"hub": {"port": 81}, "web": {"port": 81}}, "web.port", "port of hub.port too"),
        ({"broker": {"tls_key_file": "k"}}, "broker.tls_key_file", "without its certificate"),
        ({"hub": {"context": "x"}}, "hub.context", "does nothing"),
        ({"web": {"tls_key_file": "k"}}, "web.tls_key_file", "without its certificate"),
        ({"web": {"host": "0.0.0.0"}}, "web.host", "without TLS other machines get"),  # noqa: S104 - refused
        ({"web": {"host": "1.2.3.999"}}, "web.host", "no IP address"),
        ({"web": {"host": "kapok.example"}}, "web.host", "is not a text (an IP address)"),
        ({"web": {"allowed_hosts": ["http://x"]}}, "web.allowed_hosts", "host names without port"),
        ({"web": {"allowed_hosts": ["*"]}}, "web.allowed_hosts", "host names without port"),
        ({"log": {"format": "xml"}}, "log.format", "one of text, json"),
        ({"ledger": {"url": "mysql://h/d"}}, "ledger.url", "no address of PostgreSQL"),
        ({"ledger": {"url": "postgresql://h:99999/d"}}, "ledger.url", "a port from 1 to 65535"),
        ({"ledger": {"url": "postgresql://db/k"}}, "ledger.url", "add ?sslmode=verify-full"),
        ({"ledger": {"url": f"{_DB}&sslmode=require"}}, "ledger.url", "need not prove who it is"),
        ({"ledger": {"url": f"{_DB}&sslmode=no"}}, "ledger.url", "one of disable, allow"),
        ({"ledger": {"url": f"{_DB}&password=x"}}, "ledger.url", "ledger.password_file"),
        ({"ledger": {"password_file": "f"}}, "ledger.password_file", "does nothing"),
        ({"hub": {"signing_key_secret": "s"}}, "hub.signing_key_secret", "embedded hub"),
        ({1: 2}, "1", "no such setting"),
        (None, "", "map of groups"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_wrong_is_said_with_what_to_write(raw: object, path: str, says: str) -> None:
    (finding,) = find_problems(raw)
    assert finding.path == path
    assert says in finding.line
    assert finding.instead


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        settings_from({"zzz": 1, "web": {"port": 70_000}, "log_level": "loud"}, source="x.yaml")
    assert str(refused.value).count("x.yaml: ") == 3


def test_a_level_is_written_in_any_case() -> None:
    assert settings_from({"log_level": "debug"}, source="x.yaml").log_level == "DEBUG"


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xfe",
        b"a: &a [*a]",
        b"x" * 1_000_001,
        b"--- {}\n---\nhub_id: x",
        b"a: 1\na: 2",
        b"=: 1",
    ],
    ids=["bytes", "loop", "large", "two", "twice", "equals"],
)
def test_a_file_that_cannot_be_used_is_one_finding_and_no_traceback(
    tmp_path: Path, data: bytes
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(data)
    assert [one.severity for one in check_settings_file(path)] == ["error"]
    with pytest.raises(SettingsError):
        load_settings(path)


def test_the_command_exits_1_for_an_error_and_0_for_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("log_level: loud\n")
    assert main(["config", "check", str(path), "-o", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is False
    assert found["findings"][0].keys() == {"path", "severity", "what", "instead"}
    path.write_text("hub: {context: x}\n")
    assert main(["config", "check", str(path), "-o", "json"]) == 0
    assert main(["config", "check"]) == 0


@pytest.mark.parametrize(
    "written",
    [
        "postgresql://kapok:hunter2@127.0.0.1/kapok",
        "postgresql://kapok:hunter2@h:x/kapok",
        "postgresql://kapok:hunter2@h/kapok?what=1",
        "kapok:hunter2",
        ["hunter2"],
        {"url": "hunter2"},
    ],
)
def test_no_finding_and_no_settings_show_a_password(written: object) -> None:
    raw = {"ledger": {"url": written}}
    findings = list(find_problems(raw))
    assert findings
    assert "hunter2" not in repr(findings) + "".join(one.line for one in findings)
    if all(one.severity == "warning" for one in findings):
        settings = settings_from(raw, source="x.yaml")
        assert "hunter2" not in f"{settings!r} {settings}"
        assert "kapok@127.0.0.1" in repr(settings)


def test_a_password_file_takes_the_place_of_the_password(tmp_path: Path) -> None:
    file = tmp_path / "password"
    settings = LedgerSettings(url="postgresql://kapok:old@localhost/k", password_file=str(file))
    with pytest.raises(LedgerUnavailableError, match=r"ledger\.password_file: .*password: No such"):
        read_ledger_url(settings)
    file.write_text("new\n")
    url = read_ledger_url(settings)
    assert url is not None
    assert url.connect_arguments()["password"] == "new"  # noqa: S105 - of this test
    assert read_ledger_url(LedgerSettings()) is None
