"""Signed heads of the ledger that left it: what each site holds, and the newest of our own.

They are written to a ConfigMap, so that `kapok ledger verify` finds them in the hub. The sites keep
theirs themselves: what the ConfigMap says of a site is a copy, and `kapok-agent --print-heads`
prints the original. It is bounded, because it holds what sites send.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from scheduler.control.ports.agents import IndexVersion, OrderStatusReport
from scheduler.control.ports.hub import CONFIG_MAPS, NAMESPACE, Hub, HubError
from scheduler.control.ports.ledger import SignedHead
from scheduler.control.ports.not_recorded import NotRecorded
from scheduler.runtime.clock import Clock
from scheduler.runtime.faults import Faults

_log = logging.getLogger(__name__)

CONFIG_MAP = "kapok-ledger-heads"
FIELD_MANAGER = "kapok-scheduler"
WRITE_SECONDS = 10.0
_NEWEST, _SITES = "newest.json", "sites.json"
_MAX_SITES = 500
_ASK_SECONDS = 3600.0
_ASK_AGAIN_SECONDS = 60.0
_MAX_BYTES = 900_000


@dataclass(slots=True, kw_only=True)
class LedgerHeads:
    """Heads of the ledger, and who holds them.

    Attributes:
        head: the signed head of the moment; None while there is none.
        sent_head: the head in the index of a version that was published for a site.
        is_recorded: whether our ledger has this record, with this hash.
        is_ours: whether a key of this hub has signed a head.
        ask: asks a site for the heads that it holds.
        clock: for how often the object is written.
        faults: handles what fails in a write.
    """

    head: Callable[[], SignedHead | None]
    sent_head: Callable[[str, IndexVersion], SignedHead | None]
    is_recorded: Callable[[int, str], bool]
    is_ours: Callable[[SignedHead], bool]
    ask: Callable[[str], None]
    clock: Clock
    faults: Faults
    _held: dict[str, list[SignedHead]] = field(default_factory=dict, init=False)
    _asked_seconds: dict[str, float] = field(default_factory=dict, init=False)
    _awaited: set[str] = field(default_factory=set, init=False)
    _named: set[str] = field(default_factory=set, init=False)
    _written: Mapping[str, str] = field(default_factory=dict, init=False)

    def on_order_status(self, report: OrderStatusReport) -> None:
        """Notes which head came with the index that a site works by; asks for all, once an hour.

        Heads that were not asked for are not read: checking them costs time.
        """
        site, now = report.site, self.clock.monotonic()
        if report.ledger_heads and site in self._awaited:
            self._awaited.discard(site)
            self.take_in(site, report.ledger_heads)
        if report.version is None or not report.is_executing:
            return
        sent = self.sent_head(site, report.version)
        if sent and sent not in self._held.get(site, ()):
            self.take_in(site, [sent])
        if now - self._asked_seconds.get(site, float("-inf")) >= _ASK_SECONDS:
            self._asked_seconds[site] = now
            self._awaited.add(site)
            self.ask(site)

    def take_in(self, site: str, heads: Iterable[SignedHead]) -> None:
        """Keeps what a site holds: the newest, and the newest that our ledger does not have."""
        known = self._held.get(site, [])
        ordered = sorted({*known, *heads}, key=lambda one: one.seq, reverse=True)
        usual = (one for one in ordered if self.is_recorded(one.seq, one.hash))
        others = (one for one in ordered if not self.is_recorded(one.seq, one.hash))
        try:
            newest = next(filter(self.is_ours, usual), None)
            strange = next(filter(self.is_ours, others), None)
        except NotRecorded as error:  # the ledger's server is away; what is held stays evidence
            _log.debug("heads of %s: not compared: %s", site, error)
            self._asked_seconds[site] = self.clock.monotonic() - _ASK_SECONDS + _ASK_AGAIN_SECONDS
            return
        self._held.pop(site, None)  # the newest of the sites becomes the last
        self._held[site] = [one for one in (strange, newest) if one]
        while len(self._held) > _MAX_SITES:
            del self._held[next(iter(self._held))]  # of the site that has sent nothing for longest
        if strange and site not in self._named and len(self._named) < _MAX_SITES:
            self._named.add(site)
            _log.error(
                "site %s holds a head of a ledger that is not this one: record %s, signed at %s;"
                " kapok ledger verify says more",
                site,
                strange.seq,
                strange.at,
            )

    def forget(self, site: str) -> None:
        """Drops what is known of a site whose object is gone."""
        self._held.pop(site, None)
        self._asked_seconds.pop(site, None)
        self._awaited.discard(site)
        self._named.discard(site)

    async def run(self, hub: Hub) -> None:
        """Writes what has changed, every 10 s at most; runs until cancelled."""
        while True:
            with self.faults.barrier("ledger-heads"):
                await self.write_changes(hub)
            await self.clock.sleep(WRITE_SECONDS)

    async def write_changes(self, hub: Hub) -> None:
        """Writes the object if it is not as it was written last."""
        data = self._data()
        if data and data != self._written:
            await self._write(hub, data)

    async def _write(self, hub: Hub, data: Mapping[str, str]) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": CONFIG_MAP, "namespace": NAMESPACE},
            "data": data,
        }
        try:
            await hub.apply(CONFIG_MAPS, body, field_manager=FIELD_MANAGER)
            self._written = data
        except HubError as error:
            _log.warning("heads of the ledger: not written, retrying: %s", error)

    def _data(self) -> dict[str, str]:
        head = self.head()
        if head is None:
            return {}
        sites = {site: [asdict(one) for one in held] for site, held in sorted(self._held.items())}
        data = {_NEWEST: json.dumps(asdict(head)), _SITES: json.dumps(sites)}
        if len(data[_SITES]) > _MAX_BYTES:
            data[_SITES] = "{}"
        return data


def read_heads(
    config_map: Mapping[str, Any],
) -> tuple[Sequence[object], Mapping[str, Sequence[object]]]:
    """Reads the ConfigMap, which an owner of the hub may have written.

    Returns:
        The newest heads of the hub, and the heads by site, both unchecked.
    """
    newest, sites = (_parsed(config_map, name) for name in (_NEWEST, _SITES))
    by_site = sites if isinstance(sites, Mapping) else {}
    return (
        [] if newest is None else [newest],
        {str(site)[:253]: heads for site, heads in by_site.items() if isinstance(heads, list)},
    )


def _parsed(config_map: Mapping[str, Any], name: str) -> object:
    data = config_map.get("data")
    try:
        return json.loads(data[name]) if isinstance(data, Mapping) else None
    except (KeyError, RecursionError, TypeError, ValueError):
        return None
