"""The parameters of queries, with the bounds that the handlers check.

A request that keeps to these bounds is never refused with 400: what then still cannot be answered
is not there (404) or contradicts itself or the fleet (409). Patterns say what a client may safely
write; the handlers also read rarer forms, such as `1e9`.
"""

from dataclasses import dataclass
from typing import Final, get_args

from scheduler.model.kinds.fields import DataClass
from scheduler.web.answers.table import MAX_CHOSEN, MAX_OFFSET, MAX_PAGE_ROWS
from scheduler.web.answers.table_rows import FACETS, SORTS
from scheduler.web.live.views import VIEWS
from scheduler.web.openapi.schemas import NAME, TEXT, Schema
from scheduler.web.whatif import MAX_SCENARIO_PARTS
from scheduler.whatif.scenario.changes import SITE_PRICE_KEYS, TERM_PRICE_KEYS
from scheduler.words.languages import LANGUAGES


@dataclass(frozen=True, slots=True)
class ApiParameter:
    """A parameter in the query.

    Attributes:
        name: its name.
        meaning: what it asks for.
        schema: the values that are taken.
        is_required: whether a request without it is refused.
    """

    name: str
    meaning: str
    schema: Schema
    is_required: bool = False


def _text(most: int) -> Schema:
    return {**TEXT, "maxLength": most}


def _matching(pattern: str, most: int | None = None) -> Schema:
    return {**TEXT, "pattern": f"^({pattern})$"} | ({"maxLength": most} if most else {})


def _whole(least: int, most: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


def _several(items: Schema, most: int, least: int = 0) -> Schema:
    """A parameter that may be repeated."""
    found: Schema = {"type": "array", "items": items, "maxItems": most}
    return found | ({"minItems": least} if least else {})


_VALUE: Final = _text(317)
_NUMBER: Final[Schema] = {"type": "integer"}
_WORD: Final = "[A-Za-z0-9]([A-Za-z0-9._-]{0,60}[A-Za-z0-9])?"
_DECIMAL: Final = r"(\.[0-9]{1,3})?"
_QUANTITY: Final = (
    f"[0-9]{{1,9}}{_DECIMAL}(m|k|M|Ki|Mi)?|[0-9]{{1,6}}{_DECIMAL}(G|Gi)|"
    f"[0-9]{{1,3}}{_DECIMAL}(T|Ti)"
)
_COUNT: Final = "[0-9]{1,9}(k|M|Ki|Mi)?"  # of what pods get in whole
_CLASS: Final[Schema] = {"enum": ["", *get_args(DataClass)]}
_SITE: Final = "[a-z0-9]([a-z0-9.-]{0,60}[a-z0-9])?"
_PLACE: Final = "[A-Za-z0-9._\u4e00-\u9fff-]{1,40}"
_AMOUNT: Final = "[0-9]{1,4}" + _DECIMAL
_CHANGES: Final = (
    f"drain {_SITE}",
    f"lose ({_SITE}|(site|province|city|provider)={_PLACE}|broker)",
    rf"add {_SITE}(\*[1-9][0-9]{{0,2}})?",
    f"price ({'|'.join(TERM_PRICE_KEYS)})={_AMOUNT}",
    rf"price ({_SITE}\.)?({'|'.join(SITE_PRICE_KEYS)})=-?{_AMOUNT}",
    f"intensity {_PLACE}={_AMOUNT}",
    r"load ([1-9][0-9]?(\.[0-9]{1,3})?|0\.[0-9]{0,2}[1-9])",
    f"fix {_SITE}/{_SITE}",
    f"grid ({_SITE}|zone:{_PLACE})=([1-9][0-9]?%|[1-9][0-9]{{0,3}}kW)(/[1-9][0-9]?h)?",
    "thaw",
)
_ONE_CHANGE: Final = f"({'|'.join(_CHANGES)})"

LANGUAGE: Final = ApiParameter("lang", "The language of sentences.", {"enum": list(LANGUAGES)})
_SEARCH = ApiParameter("search", "Words that a row must have, in any place.", TEXT)
_OFFSET = ApiParameter("offset", "Rows that are skipped.", _whole(0, MAX_OFFSET))


def _limit(most: int) -> ApiParameter:
    return ApiParameter("limit", "The most rows.", _whole(1, most))


OF_WORKLOADS: Final = (
    ApiParameter("namespace", "Only this namespace.", TEXT),
    ApiParameter("after", "Rows after this NAMESPACE/NAME.", TEXT),
    _limit(10_000),
    _SEARCH,
)
OF_RECORDS: Final = (
    ApiParameter("id", "The record with this id.", TEXT),
    ApiParameter("about", "The newest record that is in effect about NAMESPACE/NAME.", TEXT),
    ApiParameter("last", "The newest record.", TEXT),
    ApiParameter("subject", "Records about NAMESPACE/NAME.", TEXT),
    ApiParameter("after", "Records after this sequence.", _NUMBER),
    ApiParameter("limit", "The most records, up to 256.", _NUMBER),
)
OF_LIVE: Final = (
    ApiParameter("view", "The view of the page.", {"enum": sorted(VIEWS)}),
    ApiParameter("name", "The site of the view `site`; no other view has one.", NAME),
)
OF_BLOB: Final = (ApiParameter("record", "The id of a record that refers to it.", TEXT),)
OF_TABLE: Final = (
    _SEARCH,
    ApiParameter(
        "sort",
        "A column; `-` in front turns the order round.",
        {"enum": ["", *SORTS, *(f"-{name}" for name in SORTS)]},
    ),
    *(
        ApiParameter(
            name, "Only rows with this value; may be repeated.", _several(_VALUE, MAX_CHOSEN)
        )
        for name in FACETS
    ),
    _OFFSET,
    _limit(MAX_PAGE_ROWS),
)
OF_WHY: Final = (
    ApiParameter(
        "decision",
        "The id of a record, as status.decision has it.",
        _matching("[A-Za-z0-9._:-]{0,128}(#[0-9]{1,6})?"),
    ),
    ApiParameter("versus", "A site that is compared; at most two.", _several(NAME, 2)),
    ApiParameter("search", "A part of the names of sites.", _VALUE),
    ApiParameter("offset", "Sites that are skipped.", _whole(0, 10**6)),
    _limit(200),
)
OF_HISTORY: Final = (
    ApiParameter("before", "Entries before this sequence.", _whole(0, 2**62)),
    _limit(100),
)
OF_FITS: Final = (
    ApiParameter(
        "request",
        "NAME=QUANTITY, as cpu=8; repeated for other resources.",
        _several(_matching(f"{_WORD}=({_QUANTITY})|{_WORD}/{_WORD}={_COUNT}"), 8, 1),
        is_required=True,
    ),
    ApiParameter("replicas", "How many.", _whole(1, 100_000)),
    ApiParameter("class", "The class of the data.", _CLASS),
    _limit(200),
)
OF_SCENARIO: Final = (
    ApiParameter(
        "scenario",
        "Words as of `kapok whatif`, without files; may be repeated.",
        _several(_matching(f"{_ONE_CHANGE}( {_ONE_CHANGE}){{0,3}}"), MAX_SCENARIO_PARTS, 1),
        is_required=True,
    ),
)
OF_CHANGE: Final = (
    ApiParameter("change", "The kind of the change; without it the first one.", _text(1000)),
    ApiParameter("target", "What it changes.", _text(4000)),
    ApiParameter("to", "The new value, where other work is to give way.", _text(1000)),
)
OF_SHAPE: Final = (
    *(
        ApiParameter(name, "A quantity of one pod.", _matching(f"({_QUANTITY})?"))
        for name in ("cpu", "memory")
    ),
    ApiParameter("gpu", "Whole cards of one pod.", _matching(f"({_COUNT})?")),
    ApiParameter("class", "The class of the data.", _CLASS),
    ApiParameter(
        "namespace",
        "The namespace of the workload.",
        _matching("([a-z0-9]([-a-z0-9]*[a-z0-9])?)?", 63),
    ),
)
OF_SAID: Final = (
    ApiParameter("text", "A recorded sentence; may be repeated.", _several(_text(2048), 64)),
)
OF_LINKS: Final = (
    ApiParameter("site", "The site whose round-trip times are asked.", TEXT, is_required=True),
)
