"""`kapok top`: sites and workloads as a live table in the terminal."""

import argparse
import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from scheduler.cli.seeing.forms import CSV_HELP, add_form_option, print_listed
from scheduler.cli.seeing.live_table import (
    COLUMNS,
    TABLES,
    LiveState,
    LiveView,
    TableName,
    screen_lines,
    sort_names,
    sorted_rows,
    summary_line,
)
from scheduler.cli.seeing.screen import Screen, Stopped, is_terminal, open_screen
from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_NO,
    EXIT_USAGE,
    UsageError,
    seconds_between,
)
from scheduler.cli.support.hub_access import HubNotFound, add_hub_arguments, find_kubeconfig
from scheduler.cli.support.output import print_error, print_text
from scheduler.cli.support.web_access import (
    WebClient,
    WebUnavailable,
    add_server_option,
    connect_web,
)
from scheduler.control.ports.hub import HubError

_KEY_SECONDS: Final = 0.2
_PAGE_ROWS: Final = 5000
_PAUSE_FACTOR: Final = 10.0
"""A pause lasts at least so many times as long as the answer before it took."""
_MAX_ROWS: Final = 100_000
_REFUSED: Final = (401, 403)
_EPILOG = f"""examples:
  kapok top                        sites above, workloads below, what needs a person first
  kapok top sites --sort kilowatts
  kapok top workloads -n health --interval 5
  kapok top --once                 one table, and the end
  kapok top sites -o csv > sites.csv

keys: q quits, Tab shows sites, workloads or both, s sorts by the next column, r turns the order
round, j and k (or the arrows) scroll. Where stdout or stdin is no terminal, or with -o, everything
is printed once and without escape codes. ? is what is not known.
{CSV_HELP}
Exit code: 0 after q or --once, 1 the server refuses, 2 wrong usage, 130 Ctrl-C."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok top`."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "what",
        nargs="?",
        choices=["all", *TABLES],
        default="all",
        metavar="WHAT",
        help="sites or workloads (default: both)",
    )
    parser.add_argument("-n", "--namespace", metavar="NS", help="only workloads of this namespace")
    parser.add_argument("--sort", metavar="COLUMN", help="sort by this column of the table")
    parser.add_argument("--reverse", action="store_true", help="turn the order round")
    parser.add_argument("--once", action="store_true", help="print once, and end")
    parser.add_argument(
        "--interval",
        type=seconds_between(0.5, 3600),
        default=2.0,
        metavar="SECONDS",
        help="least time between two requests (default: %(default)s)",
    )
    add_hub_arguments(parser)
    add_server_option(parser)
    add_form_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Shows sites and workloads, once or until it is ended."""
    try:
        view = _view_of(arguments)
        kubeconfig = find_kubeconfig(arguments.kubeconfig, arguments.data_dir)
    except (HubNotFound, UsageError) as error:
        print_error("top", error)
        return EXIT_USAGE
    try:
        web = asyncio.run(connect_web(kubeconfig, arguments.server))
        read = _Reader(web, arguments.namespace, view.tables)
        if arguments.once or arguments.output or not is_terminal():
            _print_once(arguments, view, read())
        else:
            with open_screen() as screen:
                _follow(screen, view, _Refresher(read, arguments.interval))
    except HubError as error:
        print_error("top", error)
        return EXIT_NO
    except Stopped as stopped:
        return stopped.code
    return EXIT_GOOD


def _view_of(arguments: argparse.Namespace) -> LiveView:
    tables: tuple[TableName, ...] = TABLES if arguments.what == "all" else (arguments.what,)
    if len(tables) > 1 and arguments.output in ("csv", "name"):
        raise UsageError(f"-o {arguments.output} is of one table: add sites or workloads")
    sort = {}
    if arguments.sort:
        found = [one for one in tables if arguments.sort.lower() in sort_names(one)]
        if not found:
            known = ", ".join(dict.fromkeys(name for one in tables for name in sort_names(one)))
            raise UsageError(f"--sort: no column {arguments.sort!r}; there are {known}")
        sort = dict.fromkeys(found, arguments.sort.lower())
    return LiveView(tables=tables, sort=sort, is_reversed=arguments.reverse)


def _print_once(arguments: argparse.Namespace, view: LiveView, state: LiveState) -> None:
    rows = {table: sorted_rows(state, view, table) for table in view.tables}
    answer: dict[str, Any] = {"summary": state.summary()}
    answer |= {str(name): one for name, one in rows.items()}
    is_table = arguments.output in (None, "wide")
    if is_table:
        print_text(summary_line(state))
    # The first table stands for all of a JSON answer, which holds each.
    for table in view.tables if is_table else view.tables[:1]:
        columns = COLUMNS[table]
        if is_table:
            print_text("")
        print_listed(
            *(arguments.output, answer, rows[table], columns),
            name_of=lambda row, first=columns[0]: str(first.value(row)),  # type: ignore[misc]
        )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Asks the web server for what is shown."""

    web: WebClient
    namespace: str | None
    tables: tuple[TableName, ...]

    def __call__(self) -> LiveState:
        sites = self.web.get("/api/v1/sites")["sites"]
        rows: list[dict[str, Any]] = []
        query = {"limit": str(_PAGE_ROWS), "namespace": self.namespace or "", "after": ""}
        page: dict[str, Any] = {"next": ""}
        while "next" in page and len(rows) < _MAX_ROWS:
            query["after"] = str(page["next"])
            page = self.web.get(f"/api/v1/workloads?{urlencode(query)}")
            rows += page["workloads"]
        return LiveState(sites, rows, int(page["total"]), self.web.get("/api/v1/evictions"))


@dataclass(slots=True)
class _Refresher:
    """Reads again and again beside the keys; one request at a time.

    Attributes:
        read: asks the server.
        interval_seconds: the least time from one answer to the next request.
    """

    read: Callable[[], LiveState]
    interval_seconds: float
    state: LiveState = field(default_factory=LiveState)
    notice: str = "asking the server …"
    refused: HubError | None = None
    _thread: threading.Thread | None = None
    _next_seconds: float = 0.0

    def poll(self) -> None:
        """Begins the next request when it is time.

        Raises:
            HubError: the server refuses, which waiting does not change.
        """
        if self.refused is not None:
            raise self.refused
        is_busy = self._thread is not None and self._thread.is_alive()
        if not is_busy and time.monotonic() >= self._next_seconds:
            self._thread = threading.Thread(target=self._ask, name="top", daemon=True)
            self._thread.start()

    def _ask(self) -> None:
        began = time.monotonic()
        try:
            self.state, self.notice = self.read(), ""
        except WebUnavailable as error:
            self.notice = f"not up to date: {error}"
            self.refused = error if error.code in _REFUSED else None
        except (KeyError, TypeError, ValueError) as error:
            self.notice = f"not up to date: the answer cannot be read: {error!r}"
        ended = time.monotonic()
        # A large fleet is asked less often, so that watching it stays a small part of its work.
        self._next_seconds = ended + max(self.interval_seconds, _PAUSE_FACTOR * (ended - began))


def _follow(screen: Screen, view: LiveView, refresher: _Refresher) -> None:
    """Draws until q is pressed."""
    while True:
        refresher.poll()
        width, height = screen.size()
        lines = screen_lines(
            refresher.state, view, width=width, height=height, notice=refresher.notice
        )
        screen.draw(lines)
        for key in screen.keys(within_seconds=_KEY_SECONDS):
            if key == "q":
                return
            view = view.with_key(key)
