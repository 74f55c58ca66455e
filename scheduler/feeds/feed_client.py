"""Asks one feed: bounded in size and time, without redirects, its token in no message.

An answer that is no answer is a `FeedError` that names the feed and what happened. It changes
nothing that is known: the series says by itself what stands in for hours that a feed leaves out.
"""

import asyncio
import json
from pathlib import Path
from types import ModuleType

import aiohttp

from scheduler.energy.factors.factor import Boundary, EmissionFactor
from scheduler.energy.intensity import carbon_aware_sdk, electricity_maps
from scheduler.energy.intensity.csv_series import MAX_CHARACTERS, parse_csv
from scheduler.energy.intensity.series import ParsedSeries, SourceError

MAX_ANSWER_BYTES = 2_000_000
_TOTAL_SECONDS = 15.0
_MAX_TOKEN_BYTES = 4_096
_HTTP_OK = 200
_FORMS: dict[str, ModuleType] = {
    electricity_maps.NAME: electricity_maps,
    carbon_aware_sdk.NAME: carbon_aware_sdk,
}
_TOKEN_HEADERS = {electricity_maps.NAME: "auth-token", carbon_aware_sdk.NAME: "Authorization"}


class FeedError(Exception):
    """A feed that cannot be asked, or whose answer cannot be used."""


class HttpFeed:
    """A feed over HTTP.

    Args:
        form: `electricity-maps` or `carbon-aware-sdk`.
        url: of its server.
        token_file: file with its token; "": none.
    """

    def __init__(self, form: str, url: str, token_file: str = "") -> None:
        self._module, self._form = _FORMS[form], form
        self._url, self._token_file = url.rstrip("/"), token_file

    async def fetch(self, zone: str) -> ParsedSeries:
        """What the feed says of a zone now: what was, and its forecast where it has one.

        Raises:
            FeedError: it does not answer, or not as its form does.
        """
        points: dict[int, EmissionFactor] = {}
        problems: list[str] = []
        history, *others = self._module.paths_of(zone)
        timeout = aiohttp.ClientTimeout(total=_TOTAL_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, headers=self._headers()) as session:
            found = self._parse(await self._ask(session, history), zone)
            points |= found.points
            problems += found.problems
            for path in others:  # a subscription without forecasts is no fault
                try:
                    more = self._parse(await self._ask(session, path), zone)
                except FeedError as error:
                    problems.append(str(error))
                else:
                    points = {**more.points, **points}
                    problems += more.problems
        return ParsedSeries(points, tuple(problems))

    async def _ask(self, session: aiohttp.ClientSession, path: str) -> object:
        where = f"{self._form} {self._url}{path.partition('?')[0]}"
        try:
            async with session.get(self._url + path, allow_redirects=False) as response:
                if response.status != _HTTP_OK:
                    raise FeedError(f"{where}: HTTP status {response.status}")
                body = await _read(response, where)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise FeedError(f"{where}: {type(error).__name__}: no answer") from error
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise FeedError(f"{where}: the answer is no JSON") from error

    def _parse(self, answer: object, zone: str) -> ParsedSeries:
        try:
            found: ParsedSeries = self._module.parse(answer, zone=zone)
        except SourceError as error:
            raise FeedError(str(error)) from error
        return found

    def _headers(self) -> dict[str, str]:
        if not self._token_file:
            return {}
        path = Path(self._token_file)
        try:
            with path.open("rb") as file:
                token = file.read(_MAX_TOKEN_BYTES).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise FeedError(f"token_file {path}: cannot be read") from error
        name = _TOKEN_HEADERS[self._form]
        return {name: token if name == "auth-token" else f"Bearer {token}"}


class CsvFeed:
    """A feed in a file.

    Args:
        file: its path.
        boundary: what its figures include.
    """

    def __init__(self, file: str, boundary: Boundary = "unstated") -> None:
        self._path, self._boundary = Path(file), boundary

    async def fetch(self, zone: str) -> ParsedSeries:
        """What the file says of a zone.

        Raises:
            FeedError: it cannot be read.
        """
        return await asyncio.to_thread(self._read, zone)

    def _read(self, zone: str) -> ParsedSeries:
        name = self._path.name
        try:
            with self._path.open(encoding="utf-8-sig") as file:
                text = file.read(MAX_CHARACTERS + 1)
            is_of_one = "gco2_per_kwh" in text.partition("\n")[0].lower()
            column = "" if is_of_one else zone
            return parse_csv(text, name=name, zone=column, boundary=self._boundary)
        except (OSError, UnicodeDecodeError) as error:
            raise FeedError(f"{self._path}: cannot be read: {error}") from error
        except SourceError as error:
            raise FeedError(str(error)) from error


async def _read(response: aiohttp.ClientResponse, where: str) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise FeedError(f"{where}: the answer is larger than {MAX_ANSWER_BYTES} bytes")
    return bytes(body)
