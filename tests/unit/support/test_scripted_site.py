"""A scripted site with many orders asks for no more contents at once than a broker keeps."""

from agents.protocol.index import IndexEntry
from agents.protocol.orders import OrderContent
from tests.support.scripted_site import ScriptedSite


def site_with_orders(count: int) -> ScriptedSite:
    site = ScriptedSite("m1", "127.0.0.1:1", "")
    entries = [
        IndexEntry(id=f"kapok/default/w{n}/abc", generation=1, digest=f"sha256:{n}", parts=1)
        for n in range(count)
    ]
    site._entries = {entry.id: entry for entry in entries}  # noqa: SLF001 - as an index sets them
    return site


def arrive(site: ScriptedSite, count: int) -> None:
    """So many of the contents that were asked for first arrive."""
    asked = [one for one in site._entries.values() if one.digest in site._asked_at]  # noqa: SLF001
    for entry in [one for one in asked if one.id not in site.contents][:count]:
        namespace, name = entry.id.split("/")[1:3]
        site.contents[entry.id] = OrderContent(
            id=entry.id, generation=1, site="m1", namespace=namespace, name=name, manifests=()
        )


def test_a_thousand_contents_are_asked_for_in_steps_as_they_arrive() -> None:
    site = site_with_orders(1000)
    assert len(site.topics_to_ask(0.0)) == 100
    assert site.topics_to_ask(0.5) == []
    asked = 100
    for step in range(9):
        arrive(site, 100)
        asked += len(site.topics_to_ask(0.6 + step / 100))
    assert asked == 1000
    arrive(site, 100)
    assert site.topics_to_ask(9.0) == []


def test_what_has_not_come_is_asked_for_again_after_a_second() -> None:
    site = site_with_orders(2)
    first = site.topics_to_ask(0.0)
    assert len(first) == 2
    arrive(site, 1)
    assert site.topics_to_ask(0.9) == []
    assert site.topics_to_ask(1.0) == first[1:]
