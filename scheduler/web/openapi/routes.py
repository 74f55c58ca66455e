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
    ApiParameter("sites", "Words that a row of a site must have.", TEXT),
    ApiParameter("workloads", "Words that a row of a workload must have.", TEXT),
)
_OF_BLOB: Final = (ApiParameter("record", "The id of a record that refers to it.", TEXT),)

API_ROUTES: Final = (
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
        summary="Server-sent events: all rows first, then those that change.",
        query=_LIVE,
        content_type="text/event-stream",
        refusals=(503,),
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
