"""`kapok carbon report` over a real ledger, with every figure's origin."""

import csv
import json
import sqlite3
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import msgspec
import pytest

from scheduler.cli.accounting.months import MonthError, month_of
from scheduler.cli.entry import main
from scheduler.energy.accounts.hours import EnergyHour, EnergyPage, SiteCounter
from scheduler.energy.factors.factor import EmissionFactor
from scheduler.energy.factors.official_china import official_factor, residual_factor
from scheduler.ledger.accounts.energy_pages import EnergyPages
from scheduler.ledger.ledger import Ledger
from tests.support.ledgers import NOON

pytestmark = pytest.mark.integration

_KWH = 3_600_000
_NOVEMBER = month_of("2026-11")


def _row(site: str, hour: int, **changes: object) -> EnergyHour:
    row = EnergyHour(
        site=site,
        hour=_NOVEMBER.first_hour + hour,
        seconds=3600,
        it_joules=100 * _KWH,
        origin="measured",
        pue=1.25,
        pue_origin="assumed",
        location=official_factor("CN-GD", year=2026),
        residual=residual_factor("CN-GD", year=2026),
        energy_cny_per_kwh=0.6,
        users={"卫健委": 60 * _KWH, "": 40 * _KWH},
    )
    return msgspec.structs.replace(row, **changes)


async def _record(tmp_path: Path, rows: Sequence[EnergyHour]) -> None:
    async with Ledger(tmp_path) as ledger:
        pages = EnergyPages(ledger)
        counters = {"gz-core": SiteCounter(counter_id="a", at_seconds=1.0, it_joules=5.0)}
        for row in rows:
            page = EnergyPage(hours=(row,), counters=counters)
            await pages.append(epoch=7, at=NOON, page=page)


def _run(tmp_path: Path, *words: str) -> int:
    return main(["carbon", "report", "--month", "2026-11", "--data-dir", str(tmp_path), *words])


async def test_both_ledgers_money_and_pue_by_site_and_department(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await _record(tmp_path, [_row("gz-core", 0), _row("gz-core", 1), _row("sz-edge", 5)])

    assert _run(tmp_path, "-o", "json") == 0

    found = json.loads(capsys.readouterr().out)
    total = found["total"]
    assert (total["itKwh"], total["facilityKwh"], total["pue"]) == (300.0, 375.0, 1.25)
    assert total["locationKgco2e"] == pytest.approx(375 * 0.4419, abs=0.001)
    assert total["marketKgco2e"] == pytest.approx(375 * 0.6096, abs=0.001)
    assert total["cny"] == pytest.approx(375 * 0.6)
    assert total["origins"]["itKwh"] == {"measured": 1.0}
    assert total["origins"]["locationKgco2e"] == {"yearly": 1.0}
    assert total["locationSources"] == ["MEE 2025 No. 47, CN-GD, 2023"]
    assert total["claimsTimeSavings"] is False
    by_name = {one["department"]: one["itKwh"] for one in found["departments"]}
    assert by_name == {"卫健委": 180.0, "(site itself)": 120.0}
    assert [one["site"] for one in found["sites"]] == ["gz-core", "sz-edge"]
    assert any("no saving by time is claimed" in note for note in found["notes"])


async def test_csv_is_one_row_for_each_site_and_department_and_sums_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await _record(tmp_path, [_row("gz-core", 0), _row("sz-edge", 5)])

    assert _run(tmp_path, "-o", "csv") == 0

    printed = capsys.readouterr()
    rows = list(csv.DictReader(StringIO(printed.out)))
    assert {(one["site"], one["department"]) for one in rows} == {
        (site, name) for site in ("gz-core", "sz-edge") for name in ("卫健委", "(site itself)")
    }
    assert sum(float(one["it_kwh"]) for one in rows) == 200.0
    assert rows[0]["location_kgco2e_origin"] == "yearly"
    assert rows[0]["month"] == "2026-11"
    assert "no saving by time" in printed.err
    assert _run(tmp_path, "-o", "csv", "--bom") == 0
    assert capsys.readouterr().out.startswith("\ufeffmonth,")


async def test_a_table_shows_what_is_not_known_as_such(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = _row("gz-core", 0, pue=None, location=None, energy_cny_per_kwh=None, users={})
    await _record(tmp_path, [unknown])

    assert _run(tmp_path) == 0

    printed = capsys.readouterr()
    total = printed.out.splitlines()[-1].split()
    assert total[:6] == ["total", "100.00", "?", "?", "?", "?"]
    assert "location ledger: 100.0 kWh have no known factor" in printed.err


async def test_direct_and_life_cycle_factors_are_shown_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cycle = EmissionFactor(gco2_per_kwh=480, origin="estimated", boundary="life-cycle")
    await _record(tmp_path, [_row("gz-core", 0), _row("gz-core", 1, location=cycle)])

    assert _run(tmp_path, "-o", "json") == 0

    found = json.loads(capsys.readouterr().out)
    assert found["total"]["locationKgco2e"] is None
    assert found["total"]["locationKgco2eByBoundary"] == {
        "direct": pytest.approx(55.238, abs=0.001),
        "life-cycle": 60.0,
    }
    assert any("are not added up" in note for note in found["notes"])


async def test_hours_of_other_months_do_not_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await _record(tmp_path, [_row("m1", -1), _row("m1", 0), _row("m1", 719), _row("m1", 720)])

    assert _run(tmp_path, "-o", "json") == 0

    assert json.loads(capsys.readouterr().out)["total"]["itKwh"] == 200.0


async def test_a_site_or_a_department_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await _record(tmp_path, [_row("gz-core", 0), _row("sz-edge", 5)])

    assert _run(tmp_path, "-o", "json", "--site", "sz-edge", "--department", "卫健委") == 0

    assert json.loads(capsys.readouterr().out)["total"]["itKwh"] == 60.0


async def test_a_month_without_energy_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await _record(tmp_path, [])

    assert _run(tmp_path, "-o", "csv") == 1

    printed = capsys.readouterr()
    assert "no energy is recorded for 2026-11" in printed.err
    assert len(printed.out.splitlines()) == 1


async def test_pages_are_verified_and_a_changed_one_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await _record(tmp_path, [_row("gz-core", 0), _row("gz-core", 1)])
    words = ["ledger", "verify", "--data-dir", str(tmp_path), "-o", "json"]
    assert main(words) == 0
    connection = sqlite3.connect(tmp_path / "ledger.db")
    with connection:
        ((body,),) = connection.execute("SELECT body FROM records WHERE seq = 1").fetchall()
        page = json.loads(body)["content"]["page"]
        (other,) = connection.execute(
            "SELECT packed FROM blobs WHERE digest != ?", (page,)
        ).fetchone()
        connection.execute("UPDATE blobs SET packed = ? WHERE digest = ?", (other, page))
    connection.close()
    capsys.readouterr()

    assert main(words) == 1

    assert json.loads(capsys.readouterr().out)["first_bad"] == 1


async def test_a_page_that_cannot_be_read_is_named_and_not_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await _record(tmp_path, [_row("gz-core", 0)])
    connection = sqlite3.connect(tmp_path / "ledger.db")
    with connection:
        connection.execute("UPDATE blobs SET packed = x'00'")
    connection.close()

    assert _run(tmp_path) == 1

    assert "carbon report" in capsys.readouterr().err


async def test_counters_of_the_newest_page_are_found_again(tmp_path: Path) -> None:
    await _record(tmp_path, [_row("gz-core", 0)])
    async with Ledger(tmp_path) as ledger:
        pages = EnergyPages(ledger)
        assert (await pages.last_counters())["gz-core"].it_joules == 5.0
        assert [row.site for row in await pages.rows_since(0)] == ["gz-core"]


def test_a_wrong_month_or_zone_is_refused_with_what_to_write(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["carbon", "report", "--data-dir", str(tmp_path), "--month"]

    assert main([*words, "2026-13"]) == 2
    assert "expected YYYY-MM, such as 2026-11" in capsys.readouterr().err
    assert main([*words, "2026-11", "--time-zone", "Mars/Base"]) == 2
    assert "write an IANA name such as Asia/Shanghai" in capsys.readouterr().err


def test_a_month_is_that_of_its_zone_and_summer_time_has_an_hour_more_or_less() -> None:
    assert month_of("2026-11").first_hour == month_of("2026-11", "UTC").first_hour - 8
    assert month_of("2026-11").hours == 720
    assert month_of("2026-03", "Europe/Berlin").hours == 31 * 24 - 1
    assert month_of("2026-10", "Europe/Berlin").hours == 31 * 24 + 1
    assert month_of("2026-12", "+08:00").end_hour == month_of("2027-01").first_hour
    with pytest.raises(MonthError, match="full hour"):
        month_of("2026-11", "Asia/Kolkata")
