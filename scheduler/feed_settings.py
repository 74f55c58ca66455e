"""Where carbon intensities come from, as the settings say, and the checks of that."""

from collections.abc import Iterator
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from scheduler.setting_checks import SettingFinding

_FEEDS = "energy.feeds"
_LOOPBACK = ("localhost", "::1")

Zone = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class FeedSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One feed.

    Attributes:
        form: electricity-maps or carbon-aware-sdk (over HTTP), or csv (a file).
        url: address of the server, without a path of the API; empty for csv.
        file: the file of a csv feed; empty for the others.
        token_file: file with the token that is sent along; empty: none.
        zones: the feed's name of each grid zone of sites (`energy.gridZone`).
        interval_seconds: how often it is asked.
        boundary: what the figures of a csv file include.
    """

    form: Literal["electricity-maps", "carbon-aware-sdk", "csv"]
    zones: Annotated[dict[Zone, Zone], msgspec.Meta(min_length=1, max_length=256)]
    url: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    file: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    token_file: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    interval_seconds: Annotated[float, msgspec.Meta(ge=60, le=86_400)] = 900.0
    boundary: Literal["direct", "life-cycle", "unstated"] = "unstated"


class EnergySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where figures of energy come from beside the sites themselves.

    Attributes:
        feeds: what is asked for the carbon intensity of grid zones; of several that know a zone
            the first one counts.
    """

    feeds: Annotated[
        tuple[FeedSettings, ...],
        msgspec.Meta(max_length=16, description="a list of feeds, as configs/scheduler.yaml shows"),
    ] = ()


def find_feed_problems(settings: EnergySettings) -> Iterator[SettingFinding]:
    """What is wrong with the feeds."""
    for index, feed in enumerate(settings.feeds):
        path = f"{_FEEDS}[{index}]"
        if feed.form == "csv":
            if not feed.file or feed.url:
                instead = "name the file in file, and no url"
                yield SettingFinding(path, "error", "a csv feed is a file", instead)
            continue
        if feed.file or not feed.url:
            instead = "write the address of its server into url, and no file"
            yield SettingFinding(path, "error", f"{feed.form} is asked over HTTP", instead)
            continue
        yield from _find_url_problems(f"{path}.url", feed)


def _find_url_problems(path: str, feed: FeedSettings) -> Iterator[SettingFinding]:
    try:
        parts = urlsplit(feed.url)
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
    if parts.scheme not in {"http", "https"} or not host:
        yield SettingFinding(path, "error", "not an address", "write https://HOST[:PORT]")
        return
    if parts.username or parts.password or parts.query:
        instead = "write it into a file of its own, and name that in token_file"
        yield SettingFinding(path, "error", "a secret in the settings file", instead)
    is_loopback = host in _LOOPBACK or host.startswith("127.")
    if parts.scheme == "http" and not is_loopback:
        what = f"{host} is not on loopback, and is asked without TLS"
        yield SettingFinding(path, "error", what, "write https://")
