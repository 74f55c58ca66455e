"""The agent's settings: a typo is never a silent default, and a secret never shows."""

import dataclasses
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import yaml

from agents import __version__
from agents.config.load import AgentSettingsError, environment_names, load_settings
from agents.config.rules import PEER_RANGES, RANGES
from agents.config.settings import AgentBrokerSettings, AgentSettings, PeerSettings, Secret
from agents.doctor.examination import examine

ROOT = Path(__file__).parents[4]
EXAMPLE = ROOT / "configs" / "agent.yaml"


def load(tmp_path: Path, text: str, **environment: str) -> AgentSettings:
    path = tmp_path / "agent.yaml"
    path.write_text(text)
    return load_settings(path, environment)


def refused(tmp_path: Path, text: str, **environment: str) -> str:
    with pytest.raises(AgentSettingsError) as caught:
        load(tmp_path, text, **environment)
    return str(caught.value)


def test_the_example_holds_the_defaults() -> None:
    example = load_settings(EXAMPLE, {})
    assert example == AgentSettings(site=example.site)


def test_the_example_names_every_setting() -> None:
    named = yaml.safe_load(EXAMPLE.read_text())
    text = EXAMPLE.read_text()
    for path in environment_names().values():
        group = named.get(path[0])
        assert f"{path[-1]}:" in text, path
        assert len(path) == 1 or isinstance(group, dict), path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "site: is required"),
        ("[1]", "a map of names"),
        ("site: {", "not YAML"),
        ("site: a\nbrokr: {}", "brokr: no such setting; did you mean broker?"),
        ("site: a\nbroker: {prot: 1}", "broker.prot: no such setting; did you mean broker.port?"),
        ("site: a\nzzz: 1", "zzz: no such setting; known: site,"),
        ("site: a\nbroker: 7", "broker: a map of settings, not 7"),
        ("site: a\nbroker: {port: x}", "broker.port: a whole number from 0 is expected, not 'x'"),
        ("site: a\nbroker: {port: 1.5}", "broker.port: a whole number"),
        ("site: a\nbroker: {port: true}", "broker.port: a whole number"),
        ("site: a\nreport: {interval_seconds: -1}", "report.interval_seconds: a number from 0"),
        ("site: a\nreport: {interval_seconds: .nan}", "report.interval_seconds: a number from 0"),
        ("site: a\nreport: {interval_seconds: 0}", "report.interval_seconds: must be 0.01"),
        ("site: a\nhost_sensor: perhaps", "host_sensor: true or false"),
        ("site: a\nhub_keys: {a: 1}", "hub_keys: a list is expected, not a map"),
        ("site: a\nhub_keys: [abc]", "hub_keys: a key is written ed25519:BASE64"),
        ("site: [a]", "site: text is expected, not a list"),
        ("site: A/b", "site: lower-case letters"),
        ("site: a\ncluster: {source: kubernetes}", "cluster.source: one of none, kubeconfig"),
        ("site: a\ncluster: {source: kubeconfig}", "cluster.kubeconfig: is needed"),
        ("site: a\nstatic: {pue: 0.5}", "static.pue: is total power over IT power"),
        ("site: a\nstatic: {power_origin: guess}", "static.power_origin: one of measured"),
        ("site: a\nlog_level: loud", "log_level: one of DEBUG, INFO, WARNING, ERROR"),
        ("site: a\nbroker: {port: 70000}", "broker.port: must be 1 to 65535, not 70000"),
        ("site: a\npeers: [{name: b, host: h, port: 70000}]", "peers[0].port: must be 0 to 65535"),
        ("site: a\nbroker: {host: mqtt.example.org}", "broker.tls_ca_file: mqtt.example.org"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(tmp_path: Path, text: str, words: str) -> None:
    assert words in refused(tmp_path, text)


def test_every_number_has_a_range() -> None:
    assert set(RANGES) == set(_numbers(AgentSettings))
    assert set(PEER_RANGES) == set(_numbers(PeerSettings))


def _numbers(record: Any, prefix: str = "") -> Iterator[str]:  # noqa: ANN401 - a dataclass
    for name, hint in get_type_hints(record).items():
        if dataclasses.is_dataclass(hint):
            yield from _numbers(hint, f"{prefix}{name}.")
        elif {int, float} & {hint, *get_args(hint)}:
            yield prefix + name


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("site: a\nlog_level: loud\nbroker: {port: 0}", {"log_level", "broker.port", "hub_keys"}),
        ("site: a\nzzz: 1", {""}),
        ("site: a\nreplay: {file: /absent/file.csv}", {"replay.file", "hub_keys"}),
    ],
)
def test_the_doctor_lists_every_problem(tmp_path: Path, text: str, paths: set[str]) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text(text)
    answer = examine(path, {})
    assert answer["ok"] is False
    assert {one["path"] for one in answer["findings"]} - {"broker.host"} == paths


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(AgentSettingsError, match="name a file with --config"):
        load_settings(tmp_path / "none.yaml", {})


def test_the_environment_wins(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        "site: a\nbroker: {port: 1}",
        KAPOK_AGENT_BROKER_PORT="2",
        KAPOK_AGENT_BROKER_PASSWORD="hush",  # noqa: S106 - a test's
        KAPOK_AGENT_HOST_SENSOR="false",
        KAPOK_AGENT_CLUSTER_LABELS="zone, kapok.dev/*",
        HOME="/",
    )
    assert (settings.broker.port, settings.broker.password) == (2, "hush")
    assert settings.host_sensor is False
    assert settings.cluster.labels == ("zone", "kapok.dev/*")


def test_the_environment_alone_will_do() -> None:
    assert load_settings(None, {"KAPOK_AGENT_SITE": "a"}).site == "a"


def test_a_typo_in_the_environment_is_refused_too(tmp_path: Path) -> None:
    words = refused(tmp_path, "site: a", KAPOK_AGENT_BROKER_PROT="1")
    assert "did you mean KAPOK_AGENT_BROKER_PORT?" in words


def test_what_kubernetes_sets_for_a_service_of_our_name_is_let_be(tmp_path: Path) -> None:
    load(
        tmp_path,
        "site: a",
        KAPOK_AGENT_SERVICE_HOST="10.0.0.1",
        KAPOK_AGENT_SERVICE_PORT_METRICS="1",
        KAPOK_AGENT_PORT="tcp://10.0.0.1:1",
        KAPOK_AGENT_PORT_1_TCP="x",
    )


def test_a_secret_never_shows_in_a_repr() -> None:
    settings = AgentSettings(site="a", broker=AgentBrokerSettings(password=Secret("hush")))
    assert "hush" not in repr(settings)
    assert "********" in repr(settings)
    assert str(settings.broker.password) == "hush"


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert __version__ == project["project"]["version"]
