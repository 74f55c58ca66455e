"""Wrong feeds are refused by name, with what to write instead."""

import pytest

from scheduler.settings import Settings, SettingsError, find_problems, settings_from

_GOOD = {
    "form": "electricity-maps",
    "url": "https://feeds.example.org",
    "token_file": "/etc/kapok/token",
    "zones": {"CN-GD": "CN-GD"},
}


def _problems(**changes: object) -> list[tuple[str, str]]:
    feed = {key: value for key, value in {**_GOOD, **changes}.items() if value is not None}
    found = find_problems({"energy": {"feeds": [feed]}})
    return [(one.path, f"{one.what}; {one.instead}") for one in found]


def test_good_feeds_are_read_with_their_defaults() -> None:
    csv = {"form": "csv", "file": "zones.csv", "boundary": "life-cycle", "zones": {"DE": "DE"}}

    settings = settings_from({"energy": {"feeds": [_GOOD, csv]}}, source="kapok.yaml")

    assert [one.interval_seconds for one in settings.energy.feeds] == [900.0, 900.0]
    assert settings.energy.feeds[1].boundary == "life-cycle"
    assert Settings().energy.feeds == ()


@pytest.mark.parametrize(
    ("changes", "path", "why"),
    [
        ({"form": "csv"}, "energy.feeds[0]", "a csv feed is a file"),
        ({"form": "csv", "url": None, "file": None}, "energy.feeds[0]", "name the file"),
        ({"url": None}, "energy.feeds[0]", "is asked over HTTP"),
        ({"file": "a.csv"}, "energy.feeds[0]", "is asked over HTTP"),
        ({"url": "feeds.example.org"}, "energy.feeds[0].url", "write https://"),
        ({"url": "ftp://feeds.example.org"}, "energy.feeds[0].url", "write https://"),
        ({"url": "https://[::1"}, "energy.feeds[0].url", "not an address"),
        ({"url": "http://feeds.example.org"}, "energy.feeds[0].url", "is asked without TLS"),
        ({"url": "https://me:secret@example.org"}, "energy.feeds[0].url", "token_file"),
        ({"url": "https://example.org?token=secret"}, "energy.feeds[0].url", "token_file"),
    ],
)
def test_a_wrong_feed_is_refused_by_name(changes: dict[str, object], path: str, why: str) -> None:
    (found,) = _problems(**changes)

    assert found[0] == path
    assert why in found[1]
    assert "secret" not in found[1].replace("a secret in", "")


@pytest.mark.parametrize(
    "changes", [{"form": "watttime"}, {"zones": {}}, {"interval_seconds": 1}, {"zone": "DE"}]
)
def test_a_feed_of_another_form_is_refused_with_the_path_of_the_list(
    changes: dict[str, object],
) -> None:
    found = _problems(**changes)

    assert [path for path, _ in found] == ["energy.feeds"]


def test_loopback_needs_no_tls() -> None:
    assert _problems(url="http://127.0.0.1:8080") == []
    with pytest.raises(SettingsError, match="without TLS"):
        settings_from(
            {"energy": {"feeds": [{**_GOOD, "url": "http://10.0.0.7"}]}}, source="kapok.yaml"
        )
