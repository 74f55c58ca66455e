"""Reads sites from a CSV file of a spreadsheet: UTF-8 with or without a BOM, or GB 18030.

Everything is checked before anything is returned; each error names its line and its column.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, get_args

from scheduler.model.kinds.site import RESERVED_NAMES, Tier
from scheduler.pki.authority import MAX_NAME_CHARACTERS

MAX_SITES = 1000
_MAX_FILE_BYTES = 1_000_000
_MAX_SHOWN = 20
_MAX_TEXT = 128
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_TEXTS = {
    "provider": ("provider",),
    "province": ("location", "province"),
    "city": ("location", "city"),
    "metro": ("location", "metro"),
    "gridZone": ("energy", "gridZone"),
}
_NUMBERS = {
    "latitude": (("location", "latitude"), -90.0, 90.0),
    "longitude": (("location", "longitude"), -180.0, 180.0),
    "pue": (("energy", "pue"), 1.0, 10.0),
}
COLUMNS = ("name", "tier", *_TEXTS, *_NUMBERS)
"""The columns of a file; `name` is required, and an empty cell says nothing."""


class SiteListError(ValueError):
    """The list cannot be used; each line of the message names a line and a column."""


@dataclass(frozen=True, slots=True)
class NewSite:
    """A site that is to join.

    Attributes:
        name: its name.
        spec: what is known of it, as in `Site.spec`.
    """

    name: str
    spec: dict[str, Any]


def read_sites(path: Path) -> list[NewSite]:
    """The sites of a file.

    Raises:
        SiteListError: it cannot be read, or any cell is wrong; nothing of it is used then.
    """
    rows = csv.reader(io.StringIO(_read_text(path)), strict=True)
    try:
        header = [cell.strip() for cell in next(rows, [])]
        problems = list(_header_problems(header))
        if problems:
            raise SiteListError(f"{path}, line 1: " + "; ".join(problems))
        sites: list[NewSite] = []
        lines: dict[str, int] = {}
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            line = rows.line_num
            if len(row) != len(header):
                text = f"{len(row)} cells, and the first line has {len(header)} columns"
                problems.append(f"line {line}: {text}")
                continue
            site, wrong = site_from(dict(zip(header, (cell.strip() for cell in row), strict=True)))
            problems += [f"line {line}, column {column}: {text}" for column, text in wrong]
            if site.name in lines:
                text = f"{site.name} stands in line {lines[site.name]} too"
                problems.append(f"line {line}, column name: {text}")
            lines.setdefault(site.name, line)
            sites.append(site)
    except csv.Error as error:
        raise SiteListError(f"{path}, line {rows.line_num}: not CSV: {error}") from None
    if not sites and not problems:
        problems.append("line 2: there is no site")
    if len(sites) > MAX_SITES:
        problems.append(f"line {MAX_SITES + 2}: at most {MAX_SITES} sites; split the file")
    if problems:
        more = len(problems) - _MAX_SHOWN
        shown = problems[:_MAX_SHOWN] + ([f"and {more} more"] if more > 0 else [])
        raise SiteListError("\n".join(f"{path}, {one}" for one in shown))
    return sites


def site_from(cells: Mapping[str, str]) -> tuple[NewSite, list[tuple[str, str]]]:
    """A site of texts by column, and what is wrong with them: column and message."""
    wrong = [] if (problem := name_problem(cells["name"])) is None else [("name", problem)]
    spec: dict[str, Any] = {}
    tier = cells.get("tier", "")
    if tier and tier not in get_args(Tier):
        wrong.append(("tier", f"{tier!r} is none of {', '.join(get_args(Tier))}"))
    spec["tier"] = tier or "edge"
    for column, keys in _TEXTS.items():
        text = cells.get(column, "")
        if len(text) > _MAX_TEXT or not text.isprintable():
            wrong.append((column, f"at most {_MAX_TEXT} printable characters"))
        elif text:
            _put(spec, keys, text)
    for column, (keys, least, most) in _NUMBERS.items():
        text = cells.get(column, "")
        if not text:
            continue
        number = _number_of(text)
        if number is None or not least <= number <= most:
            wrong.append((column, f"{text!r} is no number from {least:g} to {most:g}"))
        else:
            _put(spec, keys, number)
    return NewSite(cells["name"], spec), wrong


def name_problem(name: str) -> str | None:
    """Why a text is no name of a site that may join; None: it is one."""
    if name in RESERVED_NAMES:
        return f"{name} is the scheduler's own name at the broker"
    if len(name) > MAX_NAME_CHARACTERS:
        return (
            f"{name[:60]!r}… is longer than the {MAX_NAME_CHARACTERS} characters of a certificate"
        )
    if not _NAME.fullmatch(name):
        return f"{name[:60]!r} is no name: lower-case letters, digits, '-' and '.'"
    return None


def _header_problems(header: list[str]) -> Iterator[str]:
    known = ", ".join(COLUMNS)
    if "name" not in header:
        yield f"no column name; the first line names the columns: {known}"
    for cell in header:
        if cell not in COLUMNS:
            yield f"column {cell[:60]!r} is not known; known: {known}"
        elif header.count(cell) > 1:
            yield f"column {cell} is there twice"


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SiteListError(f"{path}: {error.strerror}") from None
    if len(data) > _MAX_FILE_BYTES:
        raise SiteListError(f"{path}: larger than {_MAX_FILE_BYTES} bytes")
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise SiteListError(f"{path}: neither UTF-8 nor GB 18030 text; save it as CSV UTF-8")


def _number_of(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None


def _put(spec: dict[str, Any], keys: tuple[str, ...], value: object) -> None:
    for key in keys[:-1]:
        spec = spec.setdefault(key, {})
    spec[keys[-1]] = value
