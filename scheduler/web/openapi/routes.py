"""Every route of the HTTP API: one entry each. A test compares them with those of the server.

To add a route, add an entry here, and its answer to `schemas.py`.
"""

from dataclasses import dataclass
from typing import Final, Literal

from scheduler.web.openapi.schemas import COUNT, TEXT, Schema

Rights = Literal["none", "all", "namespace"]
"""Who may send a request: every process that reaches the server; who may list all workloads, or has
a session of the page; also who may get the workloads of the namespace that it is about."""

JSON: Final = "application/json"
PLAIN: Final = "text/plain"


@dataclass(frozen=True, slots=True)
class ApiParameter:
    """A parameter in the query; none is required."""

    name: str
    meaning: str
    schema: Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRoute:
    """One method of one path.

    Attributes:
        answer: the name of the answer's schema; "": it is no JSON.
        query: its parameters; those in the path are names.
        body: the name of the schema of the request's body; "": it has none.
        rights: who may send it.
        status: the status of a good answer.
        content_type: the type of a good answer.
        refusals: the statuses of other answers, beside those of rights.
    """

    method: Literal["get", "post"] = "get"
    path: str
    summary: str
    answer: str = ""
    query: tuple[ApiParameter, ...] = ()
    body: str = ""
    rights: Rights = "all"
    status: int = 200
    content_type: str = JSON
    refusals: tuple[int, ...] = ()


_NUMBER: Final[Schema] = {"type": "integer"}
_SEARCH = ApiParameter("search", "Words that a row must have, in any place.", TEXT)
_WORKLOADS: Final = (
    ApiParameter("namespace", "Only this namespace.", TEXT),
    ApiParameter("after", "Rows after this NAMESPACE/NAME.", TEXT),
    ApiParameter("limit", "The most rows.", {**COUNT, "minimum": 1, "maximum": 10_000}),
    _SEARCH,
)
_RECORDS: Final = (
    ApiParameter("id", "The record with this id.", TEXT),
    ApiParameter("about", "The newest record that is in effect about NAMESPACE/NAME.", TEXT),
    ApiParameter("last", "The newest record.", TEXT),
    ApiParameter("subject", "Records about NAMESPACE/NAME.", TEXT),
    ApiParameter("after", "Records after this sequence.", _NUMBER),
    ApiParameter("limit", "The most records, up to 256.", _NUMBER),
)
_LIVE: Final = (
    ApiParameter("view", "The view of the page.", TEXT),
    ApiParameter("name", "The site of the view `site`.", TEXT),
)
_OF_BLOB: Final = (ApiParameter("record", "The id of a record that refers to it.", TEXT),)

_OFFSET = ApiParameter("offset", "Rows that are skipped.", COUNT)
_LIMIT = ApiParameter("limit", "The most rows.", {**COUNT, "minimum": 1})
_TABLE: Final = (
    _SEARCH,
    ApiParameter("sort", "A column; `-` in front turns the order round.", TEXT),
    *(
        ApiParameter(name, "Only rows with this value; may be repeated.", TEXT)
        for name in ("tenant", "namespace", "phase", "site", "class", "reason")
    ),
    _OFFSET,
    _LIMIT,
)
_WHY: Final = (
    ApiParameter("decision", "The id of a record, as status.decision has it.", TEXT),
    ApiParameter("versus", "A site that is compared; at most two.", TEXT),
    _SEARCH,
    _OFFSET,
    _LIMIT,
)
_HISTORY: Final = (ApiParameter("before", "Entries before this sequence.", COUNT), _LIMIT)
_FITS: Final = (
    ApiParameter("request", "NAME=QUANTITY, as cpu=8; may be repeated.", TEXT),
    ApiParameter("replicas", "How many.", {**COUNT, "minimum": 1}),
    ApiParameter("class", "The class of the data.", TEXT),
    _LIMIT,
)
_SCENARIO: Final = (
    ApiParameter("scenario", "Words as of `kapok whatif`; may be repeated.", TEXT),
    ApiParameter("workload", "NAMESPACE/NAME whose smallest change is made, beside change.", TEXT),
    ApiParameter("change", "The kind of that change, in place of a scenario.", TEXT),
    ApiParameter("target", "What it changes.", TEXT),
    ApiParameter("to", "The new value, where other work is to give way.", TEXT),
)
_SHAPE: Final = (
    *(ApiParameter(name, "A quantity of one pod.", TEXT) for name in ("cpu", "memory", "gpu")),
    ApiParameter("class", "The class of the data.", TEXT),
    ApiParameter("namespace", "The namespace of the workload.", TEXT),
)
_SAID: Final = (ApiParameter("text", "A recorded sentence; at most 64 of them.", TEXT),)
_OF_LINKS: Final = (ApiParameter("site", "The site whose round-trip times are asked.", TEXT),)
_ONE_WORKLOAD: Final = "/api/v1/workloads/{namespace}/{name}"


def _answer(
    path: str,
    summary: str,
    query: tuple[ApiParameter, ...] = (),
    *,
    rights: Rights = "namespace",
    answer: str = "Answer",
) -> ApiRoute:
    """An answer of `scheduler/web/answers`."""
    return ApiRoute(
        path=path,
        summary=summary,
        answer=answer,
        query=query,
        rights=rights,
        refusals=(400, 404, 429, 503),
    )


API_ROUTES: Final = (
    _answer(
        "/api/v1/links", "Round-trip times of a site.", _OF_LINKS, rights="all", answer="Links"
    ),
    _answer("/api/v1/workloads/table", "Workloads with search, facets and sort.", _TABLE),
    _answer(_ONE_WORKLOAD, "One workload."),
    _answer(_ONE_WORKLOAD + "/why", "Every verdict and cost of its decision.", _WHY),
    _answer(_ONE_WORKLOAD + "/changes", "The smallest changes that would place it."),
    _answer(_ONE_WORKLOAD + "/history", "What was decided about it.", _HISTORY),
    _answer(_ONE_WORKLOAD + "/events", "Its events."),
    _answer("/api/v1/queue", "What waits, and for what."),
    _answer("/api/v1/tenants", "What tenants use of their quotas."),
    _answer("/api/v1/spend", "Power, carbon and cost of placed work.", rights="all"),
    _answer("/api/v1/fits", "Where a shape still fits.", _FITS, rights="all"),
    _answer("/api/v1/losses/{site}", "What is lost if a site is.", rights="all"),
    _answer("/api/v1/whatif", "What a scenario would do.", _SCENARIO, rights="all"),
    ApiRoute(
        method="post",
        path="/api/v1/whatif",
        summary="The same, with progress, a JSON object a line; the last one has the answer.",
        body="Scenario",
        content_type="application/x-ndjson",
        refusals=(400, 429),
    ),
    _answer("/api/v1/capacity", "What of a shape still fits where.", _SHAPE, rights="all"),
    _answer("/api/v1/words/{language}", "The catalogue of a language.", rights="all"),
    _answer("/api/v1/words/{language}/said", "Sentences in a language.", _SAID, rights="all"),
    ApiRoute(path="/api/v1/sites", summary="All sites.", answer="SiteList"),
    ApiRoute(
        path="/api/v1/workloads",
        summary="Workloads by namespace and name, in pages.",
        answer="WorkloadPage",
        query=_WORKLOADS,
        refusals=(400,),
    ),
    ApiRoute(path="/api/v1/evictions", summary="What holds evictions back.", answer="Evictions"),
    ApiRoute(
        path="/api/v1/decisions/{id}",
        summary="A record of the ledger.",
        answer="Decision",
        rights="namespace",
        refusals=(404, 503),
    ),
    ApiRoute(
        path="/api/v1/ledger/records",
        summary="Records of the ledger.",
        answer="RecordPage",
        query=_RECORDS,
        rights="namespace",
        refusals=(400, 503),
    ),
    ApiRoute(
        path="/api/v1/ledger/blobs/{digest}",
        summary="What a record refers to.",
        answer="Blob",
        query=_OF_BLOB,
        rights="namespace",
        refusals=(404, 503),
    ),
    ApiRoute(
        method="post",
        path="/api/v1/status/{namespace}/{name}",
        summary="Asks the sites of a workload for its pods and events.",
        answer="StatusAnswer",
        body="Question",
        rights="namespace",
        refusals=(400, 404, 429),
    ),
    ApiRoute(
        method="post",
        path="/api/v1/logs/{namespace}/{name}",
        summary="Asks the sites of a workload for its logs.",
        answer="LogsAnswer",
        body="Question",
        rights="namespace",
        refusals=(400, 404, 429),
    ),
    ApiRoute(
        path="/api/v1/live",
        summary="Server-sent events: the document of a view, then what changes in it.",
        query=_LIVE,
        content_type="text/event-stream",
        refusals=(400, 404, 429, 503),
    ),
    ApiRoute(
        method="post",
        path="/login/codes",
        summary="Makes a code that opens one session of the page.",
        answer="Code",
        status=201,
    ),
    ApiRoute(
        path="/metrics",
        summary="Metrics for Prometheus; docs/metrics.md explains them.",
        rights="none",
        content_type=PLAIN,
    ),
    ApiRoute(
        path="/healthz", summary="Whether the process lives.", rights="none", content_type=PLAIN
    ),
    ApiRoute(
        path="/readyz",
        summary="Whether decisions are made, and what is missing.",
        rights="none",
        content_type=PLAIN,
        refusals=(503,),
    ),
    ApiRoute(path="/openapi.json", summary="This document.", answer="Document", rights="none"),
)
"""The routes for programs; the files of the page are none of them."""
