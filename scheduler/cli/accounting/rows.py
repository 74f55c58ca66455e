"""A month's accounts as rows: the same keys in JSON, CSV and the table.

A figure that is not known is empty, never 0, and beside it stands how much energy it is missing
for. Sums of direct and of life-cycle factors are empty too, with both parts in JSON.
"""

import csv
from collections.abc import Mapping
from io import StringIO
from typing import Any

from scheduler.cli.accounting.months import Month
from scheduler.energy.accounts.ledgers import CarbonSum
from scheduler.energy.accounts.month import Account, MonthReport
from scheduler.model.formatters import format_list
from scheduler.model.units import GRAMS_PER_KILOGRAM
from scheduler.runtime.printable import printable

SITE_ITSELF = "(site itself)"
"""The department of idle power, and of what is not Kapok's."""
_DIGITS = 3
_MAX_SOURCES, _MAX_NAMED = 4, 8
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def report_object(month: Month, report: MonthReport) -> dict[str, Any]:
    """The report as one JSON object."""
    return {
        "month": month.name,
        "timeZone": month.zone,
        "hours": month.hours,
        "rows": [account_row(one) for one in report.accounts],
        "sites": [_without(account_row(one), "department") for one in report.sites],
        "departments": [_without(account_row(one), "site") for one in report.departments],
        "total": _without(account_row(report.total), "site", "department"),
        "notes": report_notes(month, report),
    }


def account_row(one: Account) -> dict[str, Any]:
    """One account: each figure, what it is missing for, and where it comes from."""
    return {
        "site": one.site,
        "department": one.department or SITE_ITSELF,
        "itKwh": _rounded(one.it_kwh),
        "facilityKwh": _rounded(one.facility_kwh) if one.it_kwh_with_pue > 0 else None,
        "pue": _rounded(one.pue),
        **_carbon("location", one.location),
        **_carbon("market", one.market),
        "cny": _rounded(one.known_cny),
        "kwhWithoutPrice": _rounded(one.kwh_without_price),
        "waterLitres": _rounded(one.known_litres),
        "embodiedKgco2e": _rounded(one.known_embodied_kgco2e),
        "unmeasuredHours": _rounded(one.unmeasured_hours),
        "claimsTimeSavings": one.claims_time_savings,
        "origins": {
            "itKwh": _shares(one.it_kwh_by_origin),
            "pue": _shares(one.it_kwh_by_pue_origin),
            "locationKgco2e": _shares(one.location.kwh_by_origin),
            "marketKgco2e": _shares(one.market.kwh_by_origin),
        },
    }


def report_notes(month: Month, report: MonthReport) -> list[str]:
    """What a reader must know before the figures are quoted."""
    total, notes = report.total, list[str]()
    if not report.accounts:
        return [f"no energy is recorded for {month.name}: no site has reported totals"]
    if total.location.kwh_by_origin and not total.claims_time_savings:
        notes.append("some factors are yearly: no saving by time is claimed with them")
    for name, ledger in (("location", total.location), ("market", total.market)):
        if len(ledger.grams) > 1:
            parts = ", ".join(sorted(ledger.grams))
            notes.append(f"{name} ledger: factors of several kinds ({parts}) are not added up")
        if ledger.kwh_without_factor > 0:
            notes.append(
                f"{name} ledger: {ledger.kwh_without_factor:.1f} kWh have no known factor or PUE"
                " and are in no sum"
            )
    notes += [f"site {site}: {doubt}" for site, doubt in list(total.doubts.items())[:_MAX_NAMED]]
    unknown = [one.site for one in report.sites if one.location.kwh_without_factor > 0]
    if unknown:
        notes.append(
            f"without a factor or a PUE: {format_list(unknown, _MAX_NAMED)}; set energy.gridZone"
            " and energy.pue of these sites"
        )
    if total.unmeasured_hours > 0:
        notes.append(f"{total.unmeasured_hours:.1f} site-hours have no known power")
    if total.kwh_without_price > 0:
        notes.append(f"{total.kwh_without_price:.1f} kWh have no known price")
    notes.append("shares of departments are attributed by a model; those of a site add up to it")
    return notes


def csv_text(month: Month, report: MonthReport) -> str:
    """The rows as CSV (RFC 4180): one for each site and department."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    rows = [_flat(month, account_row(one)) for one in report.accounts]
    writer.writerow(list(rows[0]) if rows else list(_flat(month, account_row(Account()))))
    for row in rows:
        writer.writerow([_cell(value) for value in row.values()])
    return out.getvalue()


def table_rows(report: MonthReport) -> list[tuple[str, ...]]:
    """The rows for people: sites and departments, then the sum."""
    header = (
        "SITE",
        "DEPARTMENT",
        "KWH",
        "PUE",
        "KGCO2E-LOCATION",
        "KGCO2E-MARKET",
        "CNY",
        "ORIGIN",
    )
    rows: list[tuple[str, ...]] = [header]
    for one in (*report.accounts, report.total):
        row = account_row(one)
        is_total = one is report.total
        shown = ("total", "") if is_total else (row["site"], row["department"])
        figures = [
            _for_people(row[key])
            for key in ("itKwh", "pue", "locationKgco2e", "marketKgco2e", "cny")
        ]
        rows.append((*shown, *figures, _text(row["origins"]["locationKgco2e"])))
    return rows


def _carbon(name: str, ledger: CarbonSum) -> dict[str, Any]:
    return {
        f"{name}Kgco2e": _rounded(ledger.kilograms),
        f"{name}Boundary": ledger.boundary,
        f"{name}Kgco2eByBoundary": {
            boundary: _rounded(grams / GRAMS_PER_KILOGRAM)
            for boundary, grams in sorted(ledger.grams.items())
        },
        f"{name}KwhWithoutFactor": _rounded(ledger.kwh_without_factor),
        f"{name}Sources": sorted(ledger.sources)[:_MAX_SOURCES],
    }


def _flat(month: Month, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of CSV: maps become text, and names are of the kind that spreadsheets like."""
    flat: dict[str, Any] = {"month": month.name}
    for key, value in row.items():
        if key == "origins":
            flat |= {f"{_snake(name)}_origin": _text(parts) for name, parts in value.items()}
        elif not key.endswith("ByBoundary"):
            flat[_snake(key)] = "; ".join(value) if isinstance(value, list) else value
    return flat


def _cell(value: object) -> str:
    """A cell; text that a spreadsheet would run as a formula is quoted."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return str(value)
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _shares(kwh_by_origin: Mapping[Any, float]) -> dict[str, float]:
    """The share of energy of each origin, the largest first."""
    whole = sum(kwh_by_origin.values())
    ordered = sorted(kwh_by_origin, key=lambda one: (-kwh_by_origin[one], one))
    return {one: round(kwh_by_origin[one] / whole, _DIGITS) if whole else 0.0 for one in ordered}


def _text(shares: Mapping[str, float]) -> str:
    if len(shares) == 1:
        return next(iter(shares))
    return "; ".join(f"{origin} {share:.1%}" for origin, share in shares.items())


def _for_people(value: float | None) -> str:
    return "?" if value is None else f"{value:,.2f}"


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)


def _without(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in names}
