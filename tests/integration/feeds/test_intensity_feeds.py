"""Feeds over real sockets: good answers, bad answers, a feed that is down, and files."""

import asyncio
import logging
from pathlib import Path

import msgspec
import pytest

from scheduler.energy.intensity.series import hour_of
from scheduler.feed_settings import EnergySettings
from scheduler.feeds.feed_client import MAX_ANSWER_BYTES, CsvFeed, FeedError, HttpFeed
from scheduler.feeds.intensity_feeds import IntensityFeeds, feeds_of
from tests.support.fake_clock import START, FakeClock
from tests.support.faults import make_faults
from tests.support.feed_double import FeedDouble

pytestmark = pytest.mark.integration

_FORMS = ("electricity-maps", "carbon-aware-sdk")


def _double() -> FeedDouble:
    return FeedDouble(now=START.replace(minute=0, second=0, microsecond=0))


def _feeds(*raw: dict[str, object], clock: FakeClock | None = None) -> IntensityFeeds:
    settings = msgspec.convert({"feeds": list(raw)}, EnergySettings)
    clock = clock or FakeClock()
    return feeds_of(settings, clock=clock, faults=make_faults(clock))


@pytest.mark.parametrize("form", _FORMS)
async def test_a_zone_has_its_history_and_a_forecast_is_not_taken_for_the_past(form: str) -> None:
    double = _double()
    async with double.served() as url:
        feeds = _feeds({"form": form, "url": url, "zones": {"DE": "de-west"}})
        await feeds.ask_all()

    now = hour_of(double.now)
    found = feeds.factor_at("DE", now)
    assert found is not None
    assert found.gco2_per_kwh == 300.0
    assert found.boundary == ("life-cycle" if form == "electricity-maps" else "unstated")
    ahead = feeds.factor_at("DE", now + 2)
    assert ahead is not None
    assert "2 h old" in ahead.source
    assert feeds.factor_at("FR", now) is None
    assert feeds.problems == {}
    assert all("de-west" in path for path, _ in double.asked)


async def test_a_token_is_read_from_its_file_and_stands_in_no_message(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    double = _double()
    async with double.served() as url:
        for form, sent in (("electricity-maps", "s3cret"), ("carbon-aware-sdk", "Bearer s3cret")):
            await HttpFeed(form, url, str(token)).fetch("DE")
            assert double.asked[-1][1] == sent
        double.status = 403
        with pytest.raises(FeedError) as refused:
            await HttpFeed("electricity-maps", url, str(token)).fetch("DE")

    assert "HTTP status 403" in str(refused.value)
    assert "s3cret" not in str(refused.value)


async def test_a_feed_without_forecasts_is_used_all_the_same() -> None:
    double = _double()
    double.has_forecasts = False
    async with double.served() as url:
        found = await HttpFeed("electricity-maps", url).fetch("DE")

    assert len(found.points) == 25
    assert "HTTP status 401" in found.problems[0]


@pytest.mark.parametrize("form", _FORMS)
@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (500, b"", "HTTP status 500"),
        (302, b"", "HTTP status 302"),
        (200, b"<html>", "no JSON"),
        (200, b"[" * 100_000, "no JSON"),
        (200, b'"' + b"x" * MAX_ANSWER_BYTES + b'"', "larger than"),
        (200, b"{}", "DE"),
        (200, b"\xff\xfe", "no JSON"),
    ],
)
async def test_a_bad_answer_is_refused_by_name(
    form: str, status: int, body: bytes, why: str
) -> None:
    double = _double()
    double.status, double.body = status, body
    async with double.served() as url:
        with pytest.raises(FeedError, match=why):
            await HttpFeed(form, url).fetch("DE")


async def test_a_feed_that_is_down_is_said_once_and_its_last_figures_stand_in(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    double, clock = _double(), FakeClock()
    async with double.served() as url:
        feeds = _feeds({"form": "electricity-maps", "url": url, "zones": {"DE": "DE"}}, clock=clock)
        await feeds.ask_all()
    for _ in range(3):  # nothing listens any more
        await feeds.ask_all()

    (said,) = [one.getMessage() for one in caplog.records]
    assert said.startswith(f"grid zone DE: electricity-maps {url}/v3/carbon-intensity/history: ")
    assert said.endswith("no answer")
    assert "no answer" in feeds.problems["DE"]
    now = hour_of(double.now)
    sources = [feeds.factor_at("DE", now + hours) for hours in (1, 10, 60)]
    assert sources[0] is not None
    assert "1 h old" in sources[0].source
    assert sources[1] is not None
    assert "mean of this hour" in sources[1].source
    assert sources[2] is None


async def test_nonsense_in_a_feed_is_named_and_never_the_greenest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    double = _double()
    double.grams = lambda hours_ago: 0.3 + hours_ago / 1000  # kg/kWh
    async with double.served() as url:
        feeds = _feeds({"form": "electricity-maps", "url": url, "zones": {"DE": "DE"}})
        await feeds.ask_all()

    assert feeds.factor_at("DE", hour_of(double.now)) is None
    assert "kg/kWh" in feeds.problems["DE"]
    assert "grid zone DE" in caplog.text


async def test_a_feed_that_never_answers_keeps_no_other_from_being_asked() -> None:
    clock, double = FakeClock(), _double()
    connected, left = asyncio.Event(), asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()  # until the client leaves
        writer.close()
        left.set()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    silent_url = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
    async with silent, double.served() as url:
        many = {f"Z{number}": "DE" for number in range(200)}
        feeds = _feeds(
            {"form": "electricity-maps", "url": silent_url, "zones": many},
            {"form": "electricity-maps", "url": url, "zones": {"DE": "DE"}},
            clock=clock,
        )
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(feeds.run())
            await connected.wait()
            async with asyncio.timeout(10):  # less than the silent one is waited for
                while feeds.factor_at("DE", hour_of(double.now)) is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)  # noqa: TID251 - a real socket is waited for
            assert feeds.problems == {}  # the silent one is still waited for
            asking.cancel()
        await left.wait()


async def test_the_first_feed_that_knows_a_zone_counts(tmp_path: Path) -> None:
    double = _double()
    file = tmp_path / "带.csv"
    file.write_text(f"time,DE,FR\n{double.now.isoformat()},111,55\n", encoding="utf-8-sig")
    async with double.served() as url:
        feeds = _feeds(
            {"form": "csv", "file": str(file), "zones": {"DE": "DE"}, "boundary": "direct"},
            {"form": "electricity-maps", "url": url, "zones": {"DE": "DE", "FR": "FR"}},
        )
        await feeds.ask_all()

    now = hour_of(double.now)
    first, second = feeds.factor_at("DE", now), feeds.factor_at("FR", now)
    assert first is not None
    assert second is not None
    assert (first.gco2_per_kwh, first.boundary) == (111.0, "direct")
    assert second.gco2_per_kwh == 300.0


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b"a,b\n1,2\n"])
async def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "zones.csv"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(FeedError, match=r"zones\.csv"):
        await CsvFeed(str(file)).fetch("DE")


@pytest.mark.parametrize("form", _FORMS)
async def test_an_answer_becomes_the_outlook_of_its_zone_and_says_so_once(form: str) -> None:
    double, told = _double(), list[str]()
    async with double.served() as url:
        feeds = _feeds({"form": form, "url": url, "zones": {"DE": "de-west"}})
        feeds.on_outlook = told.append
        await feeds.ask_all()
        first = feeds.outlook("DE")
        await feeds.ask_all()
        double.status = 500
        await feeds.ask_all()

    assert first is not None
    assert (first.hourly.gco2_per_kwh, first.hourly.observed_at) == (300.0, double.now)
    assert first.forecast is not None
    assert first.forecast.steps[-1].at > double.now
    assert feeds.outlook("DE") == first
    assert feeds.outlook("FR") is None
    assert told == ["DE"]
