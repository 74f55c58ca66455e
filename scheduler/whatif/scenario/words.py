"""The words of a scenario: `drain m1 lose province=CN-GD add m2*3 load 1.5`.

The same words are on the command line, in a saved scenario and in the address of the page. Each
begins a change: `drain`, `lose`, `add`, `grant`, `policy`, `price`, `intensity`, `load`, `fix`,
`grid`, `thaw`.
"""

import difflib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from scheduler.whatif.scenario.changes import (
    MAX_CHANGES,
    MAX_COPIES,
    MAX_GRAMS_PER_KWH,
    MAX_KILOWATTS,
    MAX_LOAD,
    MAX_PRICE,
    MAX_SHED_HOURS,
    PRICE_KEYS,
    SITE_PRICE_KEYS,
    AddCopies,
    Change,
    ChangeIntensity,
    ChangePrice,
    ContradictingChanges,
    DrainSite,
    LoseBroker,
    LoseSites,
    LossKind,
    MakeChange,
    ScaleLoad,
    ScenarioError,
    ShedPower,
    ThawEvictions,
)

VERBS: Final = (
    "drain",
    "lose",
    "add",
    "grant",
    "policy",
    "price",
    "intensity",
    "load",
    "fix",
    "grid",
    "thaw",
)
FILE_OPTIONS: Final = ("-f", "--filename")
_LOSS_KINDS: Final[dict[str, LossKind]] = {
    "site": "site",
    "province": "province",
    "city": "city",
    "provider": "provider",
}
_MAX_WORD_LENGTH = 512
_MAX_NAMED = 8
_MAX_KEY_LENGTH = 507

FileReader = Callable[[str, str], Change]
"""(verb, name of a file) → the change that the file describes; raises `ScenarioError`."""


def read_scenario(words: Sequence[str], read_file: FileReader) -> tuple[Change, ...]:
    """The changes that words describe, in their order.

    Args:
        words: as on the command line.
        read_file: reads the files that `-f` names.

    Raises:
        ScenarioError: a word is unknown, a value is out of its range, or two changes contradict.
    """
    if not words:
        raise ScenarioError(f"the scenario is empty; begin with one of {', '.join(VERBS)}")
    changes: list[Change] = []
    for verb, given in _split(words):
        changes += _changes_of(verb, given, read_file)
        if len(changes) > MAX_CHANGES:
            raise ScenarioError(f"a scenario has at most {MAX_CHANGES} changes")
    refuse_contradictions(changes)
    return tuple(changes)


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean A or B?` for a word that is none of those known, else which there are."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=3)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    if not names:
        return "; there is none"
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return f"; there is {', '.join(names[:_MAX_NAMED])}{more}"


def _meant(word: str, known: Iterable[str]) -> str:
    """A near word, for a message that lists all of them besides."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean {near[0]}?" if near else ""


def _split(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each verb with its words; `-f NAME` is one word of the verb before it."""
    verb, given, rest = "", list[str](), list(words)
    while rest:
        word = rest.pop(0)
        if len(word) > _MAX_WORD_LENGTH:
            raise ScenarioError(f"a word has more than {_MAX_WORD_LENGTH} characters")
        if word in FILE_OPTIONS:
            if not rest:
                raise ScenarioError(f"{verb or 'scenario'} {word}: name a file")
            given.append(f"-f {rest.pop(0)}")
        elif word in VERBS:
            if verb:
                yield verb, given
            verb, given = word, []
        elif not verb:
            raise ScenarioError(
                f"{word[:80]!r} begins no change{_meant(word, VERBS)}; begin with one of "
                f"{', '.join(VERBS)}"
            )
        else:
            given.append(word)
    if not verb:
        raise ScenarioError(f"the scenario is empty; begin with one of {', '.join(VERBS)}")
    yield verb, given


def _changes_of(verb: str, given: Sequence[str], read_file: FileReader) -> Iterator[Change]:
    if verb == "thaw":
        if given:
            raise ScenarioError(f"thaw takes no word; {given[0]!r} follows it")
        yield ThawEvictions()
        return
    if not given:
        raise ScenarioError(f"{verb} lacks what it is about, as in: {_EXAMPLES[verb]}")
    for word in given:
        if word.startswith("-f "):
            if verb not in ("add", "grant", "policy"):
                raise ScenarioError(f"{verb} takes no file, as in: {_EXAMPLES[verb]}")
            yield read_file(verb, word.removeprefix("-f "))
        else:
            yield _READERS[verb](word)


def _drain(word: str) -> Change:
    return DrainSite(site=word)


def _lose(word: str) -> Change:
    if word == "broker":
        return LoseBroker()
    key, equals, value = word.partition("=")
    if not equals:
        return LoseSites(kind="site", value=word)
    if key not in _LOSS_KINDS:
        raise ScenarioError(
            f"lose {word}: {key!r} is no key{_meant(key, _LOSS_KINDS)}; write SITE, broker or one "
            f"of {', '.join(f'{one}=NAME' for one in _LOSS_KINDS)}"
        )
    if not value:
        raise ScenarioError(f"lose {word}: name the {key}, as in: {_EXAMPLES['lose']}")
    return LoseSites(kind=_LOSS_KINDS[key], value=value)


def _add(word: str) -> Change:
    name, star, count = word.partition("*")
    if star and not (count.isascii() and count.isdigit() and 1 <= int(count[:9]) <= MAX_COPIES):
        raise ScenarioError(f"add {word}: after * write a number from 1 to {MAX_COPIES}")
    if not name:
        raise ScenarioError(f"add {word}: name a site before *, as in: {_EXAMPLES['add']}")
    return AddCopies(site=name, copies=int(count) if star else 1)


def _needs_file(verb: str) -> Callable[[str], Change]:
    def refuse(word: str) -> Change:
        raise ScenarioError(f"{verb} {word}: name a file, as in: {_EXAMPLES[verb]}")

    return refuse


def _price(word: str) -> Change:
    name, value = _pair("price", word)
    site, _, key = name.rpartition(".")
    if key not in PRICE_KEYS or (site and key not in SITE_PRICE_KEYS):
        known = SITE_PRICE_KEYS if site else PRICE_KEYS
        raise ScenarioError(
            f"price {word}: there is no price {key!r}{' of a site' if site else ''}"
            f"{_meant(key, known)}; the prices are {', '.join(known)}"
        )
    least = -MAX_PRICE if key in SITE_PRICE_KEYS else 0.0
    return ChangePrice(key=key, value=_number("price", word, value, least, MAX_PRICE), site=site)


def _intensity(word: str) -> Change:
    zone, value = _pair("intensity", word)
    return ChangeIntensity(
        zone=zone, gco2_per_kwh=_number("intensity", word, value, 0.0, MAX_GRAMS_PER_KWH)
    )


def _load(word: str) -> Change:
    try:
        factor = float(word)
    except ValueError:
        factor = math.nan
    if not 0 < factor <= MAX_LOAD:
        raise ScenarioError(f"load {word}: write a number above 0, up to {MAX_LOAD:g}")
    return ScaleLoad(factor=factor)


def _fix(word: str) -> Change:
    namespace, slash, name = word.partition("/")
    if not namespace or not slash or not name or len(word) > _MAX_KEY_LENGTH:
        raise ScenarioError(f"fix {word[:80]}: write NAMESPACE/NAME, as in: {_EXAMPLES['fix']}")
    return MakeChange(workload=word)


def _grid(word: str) -> Change:
    where, amount = _pair("grid", word)
    amount, slash, time = amount.partition("/")
    kind, colon, zone = where.partition(":")
    if colon and (kind != "zone" or not zone):
        raise ScenarioError(f"grid {word}: name a site or zone:NAME, as in: {_EXAMPLES['grid']}")
    if slash and not time.endswith("h"):
        raise ScenarioError(f"grid {word}: after / write hours, as in: {_EXAMPLES['grid']}")
    hours = _number("grid", word, time.removesuffix("h"), 0.0, MAX_SHED_HOURS) if slash else 1.0
    kilowatts = ratio = None
    if amount.endswith("%"):
        ratio = _number("grid", word, amount.removesuffix("%"), 0.0, 100.0) / 100.0
    elif amount.endswith("kW"):
        kilowatts = _number("grid", word, amount.removesuffix("kW"), 0.0, MAX_KILOWATTS)
    else:
        raise ScenarioError(
            f"grid {word}: {amount!r} has neither of the units kW and %, and is not guessed; "
            f"write it as in: {_EXAMPLES['grid']}"
        )
    if not hours or not (kilowatts or ratio):
        raise ScenarioError(f"grid {word}: write an amount and a time above 0")
    return ShedPower(
        kind="zone" if colon else "site",
        place=zone if colon else where,
        kilowatts=kilowatts,
        ratio=ratio,
        hours=hours,
    )


def _pair(verb: str, word: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not key or not equals or not value:
        raise ScenarioError(f"{verb} {word}: write it as in: {_EXAMPLES[verb]}")
    return key, value


def _number(verb: str, word: str, text: str, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise ScenarioError(f"{verb} {word}: write a number from {least:g} to {most:g}")
    return value


_READERS: Final[dict[str, Callable[[str], Change]]] = {
    "drain": _drain,
    "lose": _lose,
    "add": _add,
    "grant": _needs_file("grant"),
    "policy": _needs_file("policy"),
    "price": _price,
    "intensity": _intensity,
    "load": _load,
    "fix": _fix,
    "grid": _grid,
}
_EXAMPLES: Final = {
    "drain": "drain gz-edge",
    "lose": "lose gz-edge, lose province=CN-GD, lose broker",
    "add": "add gz-edge*2, add -f site.yaml",
    "grant": "grant -f grants.yaml",
    "policy": "policy -f policy.yaml",
    "price": "price carbonCnyPerKg=0.5, price gz-edge.energyCnyPerKwh=0.4",
    "intensity": "intensity CN-GD=450",
    "load": "load 1.5",
    "fix": "fix health/records",
    "grid": "grid gz-edge=25%/3h, grid gz-edge=40kW/1.5h, grid zone:CN-GD=10%",
}


def refuse_contradictions(changes: Sequence[Change]) -> None:
    """Refuses changes that cannot all be meant.

    Raises:
        ContradictingChanges: two of them contradict, or one says nothing beside the others.
    """
    seen: dict[tuple[object, ...], Change] = {}
    for one in changes:
        key = _single(one)
        if key is not None and seen.setdefault(key, one) != one:
            raise ContradictingChanges(
                f"{' '.join(map(str, key))} has two different values; keep one"
            )
    drained = {one.site for one in changes if isinstance(one, DrainSite)}
    lost = {one.value for one in changes if isinstance(one, LoseSites) and one.kind == "site"}
    both = sorted(drained & lost)
    if both:
        raise ContradictingChanges(f"{both[0]} is drained and lost; a lost site cannot be drained")
    if LoseBroker() in changes and (drained or lost or ThawEvictions() in changes):
        raise ContradictingChanges(
            "lose broker: no site is reached then, so none is drained, lost alone or thawed; "
            "ask about them without the broker's loss"
        )


def _single(change: Change) -> tuple[object, ...] | None:
    """What a change sets that has one value only; None: nothing."""
    match change:
        case ScaleLoad():
            return ("load",)
        case ChangePrice(key=key, site=site):
            return ("price", f"{site}.{key}" if site else key)
        case ChangeIntensity(zone=zone):
            return ("intensity", zone)
        case ShedPower():
            return ("grid", change.text)
        case _:
            return None
