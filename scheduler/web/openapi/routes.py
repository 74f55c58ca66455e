"""Every route of the HTTP API: one entry each. A test compares them with those of the server.

To add a route, add an entry here, and its answer to `schemas.py`.
"""

from dataclasses import dataclass
from typing import Final, Literal

from scheduler.web.openapi.parameters import (
    LANGUAGE,
    OF_BLOB,
    OF_CHANGE,
    OF_FITS,
    OF_HISTORY,
    OF_LINKS,
    OF_LIVE,
    OF_RECORDS,
    OF_SAID,
    OF_SCENARIO,
    OF_SHAPE,
    OF_TABLE,
    OF_WHY,
    OF_WORKLOADS,
    ApiParameter,
)

Rights = Literal["none", "all", "namespace"]
"""Who may send a request: every process that reaches the server; who may list all workloads, or has
a session of the page; also who may get the workloads of the namespace that it is about."""

JSON: Final = "application/json"
PLAIN: Final = "text/plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRoute:
    """One method of one path.

    Attributes:
        answer: the name of the answer's schema; "": it is no JSON.
        query: its parameters; those in the path are names.
        body: the name of the schema of the request's body; "": it has none.
        is_body_required: whether a request without a body is refused.
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
    is_body_required: bool = False
    rights: Rights = "all"
    status: int = 200
    content_type: str = JSON
    refusals: tuple[int, ...] = ()


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
        query=(*query, *(() if "{language}" in path or answer != "Answer" else (LANGUAGE,))),
        rights=rights,
        refusals=(400, 404, 409, 429, 503),
    )


API_ROUTES: Final = (
    _answer("/api/v1/links", "Round-trip times of a site.", OF_LINKS, rights="all", answer="Links"),
    _answer("/api/v1/workloads/table", "Workloads with search, facets and sort.", OF_TABLE),
    _answer(_ONE_WORKLOAD, "One workload."),
    _answer(_ONE_WORKLOAD + "/why", "Every verdict and cost of its decision.", OF_WHY),
    _answer(_ONE_WORKLOAD + "/changes", "The smallest changes that would place it."),
    _answer(_ONE_WORKLOAD + "/history", "What was decided about it.", OF_HISTORY),
    _answer(_ONE_WORKLOAD + "/events", "Its events."),
    _answer(
        _ONE_WORKLOAD + "/whatif", "What its smallest change would do.", OF_CHANGE, rights="all"
    ),
    _answer("/api/v1/queue", "What waits, and for what."),
    _answer("/api/v1/tenants", "What tenants use of their quotas."),
    _answer("/api/v1/spend", "Power, carbon and cost of placed work.", rights="all"),
    _answer("/api/v1/fits", "Where a shape still fits.", OF_FITS, rights="all"),
    _answer("/api/v1/losses/{site}", "What is lost if a site is.", rights="all"),
    _answer("/api/v1/whatif", "What a scenario would do.", OF_SCENARIO, rights="all"),
    ApiRoute(
        method="post",
        path="/api/v1/whatif",
        summary="The same, with progress, a JSON object a line; the last one has the answer.",
        body="AskedOfCopy",
        is_body_required=True,
        content_type="application/x-ndjson",
        refusals=(400, 429),
    ),
    _answer("/api/v1/capacity", "What of a shape still fits where.", OF_SHAPE, rights="all"),
    _answer("/api/v1/words/{language}", "The catalogue of a language.", rights="all"),
    _answer("/api/v1/words/{language}/said", "Sentences in a language.", OF_SAID, rights="all"),
    ApiRoute(path="/api/v1/sites", summary="All sites.", answer="SiteList"),
    ApiRoute(
        path="/api/v1/workloads",
        summary="Workloads by namespace and name, in pages.",
        answer="WorkloadPage",
        query=OF_WORKLOADS,
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
        query=OF_RECORDS,
        rights="namespace",
        refusals=(400, 503),
    ),
    ApiRoute(
        path="/api/v1/ledger/blobs/{digest}",
        summary="What a record refers to.",
        answer="Blob",
        query=OF_BLOB,
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
        query=OF_LIVE,
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
