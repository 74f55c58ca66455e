"""Which hub `kapok up` uses, and that it is what the command line, the settings or a Pod name."""

import json
from pathlib import Path

import pytest
import yaml

from scheduler.cli.entry import main
from scheduler.cli.support.hub_choice import choose_hub
from scheduler.hub.in_cluster import IN_CLUSTER_FILE, has_service_account, usable_kubeconfig
from scheduler.settings import HubSettings, Settings, SettingsError

POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}


@pytest.fixture
def account(tmp_path: Path) -> Path:
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text("t")
    return folder


def test_the_hub_is_embedded_unless_something_names_another(tmp_path: Path) -> None:
    choice = choose_hub(Settings(), tmp_path, is_in_pod=lambda: False)
    assert (choice.kind, choice.settings) == ("embedded", Settings())
    assert "embedded" in choice.sentence


def test_the_command_line_wins_over_the_settings_and_these_over_the_pod(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.touch()
    other.touch()
    settings = Settings(hub=HubSettings(kubeconfig=str(other), context="c"))
    first = choose_hub(settings, tmp_path, kubeconfig=str(one), is_in_pod=lambda: True)
    assert first.settings.hub == HubSettings(kubeconfig=str(one))
    assert "--kubeconfig" in first.sentence
    second = choose_hub(settings, tmp_path, is_in_pod=lambda: True)
    assert second.settings == settings
    assert "hub.kubeconfig" in second.sentence
    third = choose_hub(Settings(), tmp_path, is_in_pod=lambda: True)
    assert third.settings.hub.kubeconfig == str(tmp_path / IN_CLUSTER_FILE)
    assert "service account" in third.sentence
    assert {first.kind, second.kind, third.kind} == {"external"}
    kept = Settings(hub=HubSettings(in_cluster=False))
    assert choose_hub(kept, tmp_path, is_in_pod=lambda: True).kind == "embedded"


@pytest.mark.parametrize("name", ["", "absent"])
def test_a_kubeconfig_that_is_absent_is_refused_and_nothing_takes_its_place(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(SettingsError, match="--kubeconfig: "):
        choose_hub(Settings(), tmp_path, kubeconfig=name and str(tmp_path / name))
    settings = Settings(hub=HubSettings(kubeconfig=str(tmp_path / "absent")))
    with pytest.raises(SettingsError, match=r"hub\.kubeconfig: "):
        choose_hub(settings, tmp_path, is_in_pod=lambda: True)


def test_a_key_in_a_secret_needs_a_real_hub(tmp_path: Path) -> None:
    settings = Settings(hub=HubSettings(signing_key_secret="s"))  # noqa: S106 - a name
    with pytest.raises(SettingsError, match="embedded hub has no Secret"):
        choose_hub(settings, tmp_path, is_in_pod=lambda: False)
    assert choose_hub(settings, tmp_path, is_in_pod=lambda: True).kind == "external"


def test_the_kubeconfig_of_a_pod_names_its_files_and_holds_no_secret(
    tmp_path: Path, account: Path
) -> None:
    assert has_service_account(POD, account)
    assert not has_service_account({}, account)
    assert not has_service_account(POD, tmp_path)
    path = usable_kubeconfig(str(tmp_path / IN_CLUSTER_FILE), POD, account)
    document = yaml.safe_load(path.read_text())
    [cluster], [user] = document["clusters"], document["users"]
    assert cluster["cluster"] == {
        "server": "https://10.0.0.1:6443",
        "certificate-authority": str(account / "ca.crt"),
    }
    assert user["user"] == {"tokenFile": str(account / "token")}
    six = usable_kubeconfig(str(path), {"KUBERNETES_SERVICE_HOST": "fd00::1"}, account)
    assert "https://[fd00::1]:443" in six.read_text()


def test_the_kubeconfig_of_a_person_is_never_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / ".kube" / "config"
    own.parent.mkdir()
    own.write_text("not a kubeconfig")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(own))
    assert main(["version", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["hub"] == "embedded"
    assert main(["version", "-o", "json", "--kubeconfig", str(own)]) == 0
    assert json.loads(capsys.readouterr().out)["hub"] == "external"
    assert main(["version", "--kubeconfig", str(tmp_path / "absent")]) == 2
    assert "no such file" in capsys.readouterr().err
