"""An explanation as text for people, in the language of the reader.

The JSON of `kapok explain` is English in every language, with slugs and values beside the
sentences, so programs do not depend on who runs them.
"""

from collections.abc import Iterator
from typing import Any

from scheduler.cli.looking.references import format_references
from scheduler.cli.support.offline_input import NO_TENANT_NOTE, NO_TENANT_SENTENCE
from scheduler.inquiry.recorded import HELD_NOTE
from scheduler.model.words.sentence import Message, Sentence
from scheduler.runtime.printable import printable
from scheduler.words.catalogue import Catalogue, reader_catalogue
from scheduler.words.explained import offer_of

_TITLES = ("SITE", "REPLICAS", "ROOM", "CNY/REPLICA-HOUR", "WHY, OR WHY NOT")


def print_explanation(answer: dict[str, Any]) -> None:
    """Prints an explanation.

    Args:
        answer: its JSON form, with sentences that know their slugs.
    """
    from rich.console import Console  # noqa: PLC0415 - only when a table is drawn
    from rich.table import Table  # noqa: PLC0415 - only when a table is drawn

    words = reader_catalogue()
    console = Console(markup=False, emoji=False)  # a name such as "[red]" or ":x:" is no markup
    console.print(
        printable(f"{answer['workload']}{words.phrases.colon}{words.say(answer['line'])}"),
        style="bold",
    )
    for line in _plain_lines(answer, words):
        console.print(printable(line))
    table = Table(box=None, pad_edge=False)
    for title in _TITLES:
        table.add_column(words.label(title), overflow="fold")
    for site in answer["sites"]:
        table.add_row(*map(printable, _cells(site, words)))
    console.print(table)
    for line in _lines_below(answer, words):
        console.print(printable(line))


def _plain_lines(answer: dict[str, Any], words: Catalogue) -> Iterator[str]:
    """For each reason, what it means in plain words and who to ask."""
    gap = "" if words.language == "zh" else " "
    for each in answer.get("plain", ()):
        known = words.reasons.get(each["reason"])
        if known is not None:
            yield f"{each['reason']}{words.phrases.colon}{known.sentence}{gap}{known.ask}"


def _cells(site: dict[str, Any], words: Catalogue) -> tuple[str, ...]:
    failed = [each for each in site["verdicts"] if each["passed"] is False]
    total = site["totalCnyPerReplicaHour"]
    said = [_VERDICT(reason=each["reason"], sentence=each["sentence"]) for each in failed]
    costs = [
        _COST(term=each["term"], cost=each["cnyPerReplicaHour"], origin=each["origin"])
        for each in site["costs"]
    ]
    return (
        site["name"],
        str(site["replicas"]),
        str(site["room"]),
        words.phrases.unknown if total is None else f"{total:.4f}",
        _joined(said, words.phrases.then, words) or _joined(costs, words.phrases.list, words),
    )


def _joined(sentences: list[Sentence], between: str, words: Catalogue) -> str:
    return between.join(map(words.say, sentences))


def _lines_below(answer: dict[str, Any], words: Catalogue) -> Iterator[str]:
    for site in answer["sites"]:
        for step in site.get("applied", ()):
            what = ": ".join(filter(None, (step["object"], ", ".join(step["changes"]))))
            yield f"{site['name']}: {step['source']}: {what}"
    yield from format_references(answer["references"])
    if "versus" in answer:
        yield words.say(answer["versus"]["sentence"])
    for change in answer["smallestChange"]:
        yield words.say(offer_of(change) if change["message"] == "change" else change["sentence"])
        if change["kind"] == "time":
            continue  # it comes by itself, so there is no one to ask
        where = (_AT(site=change["site"]),) if change["site"] else ()
        yield f"  {words.say(_HOLDERS[change['who']](where=where))}"
    for note in answer["notes"]:
        if "placement.identity" in note or note.startswith(HELD_NOTE):
            yield words.say(note)
    if NO_TENANT_NOTE in answer["notes"]:
        yield words.say(NO_TENANT_SENTENCE)


_VERDICT = Message("verdict", "{reason}: {sentence:said}")
_COST = Message("cost", "{term:said} {cost:.4f} ({origin:said})")
_AT = Message("change.at", "at {site}, ")
_HOLDERS = {
    "tenant": Message("change.by-tenant", "{where:parts}by the tenant"),
    "operator": Message("change.by-operator", "{where:parts}by the operator"),
    "authority": Message("change.by-authority", "{where:parts}by the authority"),
}
