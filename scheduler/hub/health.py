"""Whether the hub serves the scheduler: what it answered last to each kind of request.

Every request of a `HubClient` ends here. A change of state is one line of the log, however many
requests fail; `/readyz` has the same sentence, and `kapok_hub_problem` the reason.
"""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Literal, TypeAlias

from scheduler.runtime.clock import Clock

_log = logging.getLogger(__name__)

HubProblem: TypeAlias = Literal[
    "unreachable", "unauthorized", "forbidden", "not-served", "failing", "throttled"
]
HUB_PROBLEMS: Final[tuple[HubProblem, ...]] = (
    "unreachable",
    "unauthorized",
    "forbidden",
    "not-served",
    "failing",
    "throttled",
)
"""Why the hub does not serve the scheduler, the gravest first."""

_FORGOTTEN_AFTER_SECONDS = 600.0  # a request that is not repeated any more says nothing any more
_QUIET_SECONDS = 60.0
_WHOLE_SERVER = ""
_SCOPED = re.compile(
    r"^/(?:api|apis/(?P<group>[^/]+))/[^/]+/(?:namespaces/[^/]+/)?(?P<rest>[^/].*)$"
)
_ESSENTIAL_GROUPS = ("kapok.dev", "coordination.k8s.io")
_VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
_LONGEST_MESSAGE = 300


@dataclass(frozen=True, slots=True)
class HubCall:
    """A kind of request, as RBAC names it.

    Attributes:
        verb: get, list, watch, create, patch, update, delete.
        resource: plural with group and subresource, e.g. "workloads.kapok.dev/status".
        is_essential: nothing can be decided without it; the scheduler goes on without the others.
    """

    verb: str
    resource: str
    is_essential: bool

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


def call_of(method: str, path: str, *, is_watch: bool) -> HubCall:
    """The kind of a request."""
    found = _SCOPED.match(path)
    if found is None:
        return HubCall(_VERBS.get(method, "get"), path, is_essential=False)
    group, (plural, *more) = found["group"] or "", found["rest"].split("/")
    resource = f"{plural}.{group}" if group else plural
    if len(more) > 1:
        resource = f"{resource}/{more[1]}"
    verb = _VERBS.get(method) or ("watch" if is_watch else "get" if more else "list")
    return HubCall(verb, resource, is_essential=group in _ESSENTIAL_GROUPS)


@dataclass(slots=True)
class _Trouble:
    """The last failure of a kind of request."""

    problem: HubProblem
    text: str
    since_seconds: float
    since: str
    seen_seconds: float


@dataclass(slots=True, kw_only=True)
class HubHealth:
    """The hub as the requests of one process find it.

    Attributes:
        clock: for since when a problem lasts.
        count: called with each failed request's problem.
        server: address of the hub; set by the client.
    """

    clock: Clock
    count: Callable[[HubProblem], None] = lambda _problem: None
    server: str = "?"
    _troubles: dict[str, _Trouble] = field(default_factory=dict, init=False)
    _logged: HubProblem | None = field(default=None, init=False)
    _logged_seconds: dict[HubProblem, float] = field(default_factory=dict, init=False)

    @property
    def problem(self) -> HubProblem | None:
        """The gravest problem that lasts; None while the hub serves all that is needed."""
        worst = self._worst()
        return None if worst is None else worst.problem

    @property
    def sentence(self) -> str:
        """What is wrong, with the server and since when; "" if nothing is."""
        worst = self._worst()
        if worst is None:
            return ""
        lasts = max(0.0, self.clock.monotonic() - worst.since_seconds)
        what = f"the hub at {self.server}: {worst.problem} since {worst.since} ({lasts:.0f} s)"
        others = sorted(
            key
            for key, one in self._troubles.items()
            if one.problem == worst.problem and one is not worst
        )
        return f"{what}: {worst.text}{'; also: ' if others else ''}{', '.join(others)}"

    @property
    def is_undisturbed(self) -> bool:
        """Whether no problem is known or was logged last: an accepted request says nothing new."""
        return not self._troubles and self._logged is None

    def on_answer(self, call: HubCall, status: int, message: str) -> None:
        """Notes an answer of the hub.

        Args:
            call: what was asked.
            status: the HTTP status.
            message: what the hub says of a failure.
        """
        text = f"{call}: {message or status}"[:_LONGEST_MESSAGE].rstrip()
        if self._ends_trouble_of_all(status):
            self._troubles.pop(_WHOLE_SERVER, None)
        if status == HTTPStatus.UNAUTHORIZED:
            self._note(_WHOLE_SERVER, "unauthorized", text)
        elif status == HTTPStatus.FORBIDDEN:
            hint = "; manifests/rbac/scheduler.yaml has the rights that the scheduler needs"
            self._note_call(call, "forbidden", f"{text}{hint if call.is_essential else ''}")
        elif status == HTTPStatus.TOO_MANY_REQUESTS:
            self._note_call(call, "throttled", text)
        elif status == HTTPStatus.NOT_FOUND and call.verb in ("list", "watch"):
            hint = "kubectl apply --server-side -f manifests/crds"
            self._note_call(call, "not-served", f"{text}; {hint}")
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
            self._note_call(call, "failing", text)
        else:
            self._troubles.pop(str(call), None)
        self._log_change()

    def _ends_trouble_of_all(self, status: int) -> bool:
        """Whether an answer shows that the server is there, and knows the scheduler."""
        whole = self._troubles.get(_WHOLE_SERVER)
        if whole is None or whole.problem == "unreachable":
            return True
        is_known = status != HTTPStatus.UNAUTHORIZED
        return is_known and status < HTTPStatus.INTERNAL_SERVER_ERROR

    def on_no_answer(self, call: HubCall, reason: str) -> None:
        """Notes that no answer came."""
        self._note(_WHOLE_SERVER, "unreachable", f"{call}: {reason}"[:_LONGEST_MESSAGE])
        self._log_change()

    def _note_call(self, call: HubCall, problem: HubProblem, text: str) -> None:
        if call.is_essential:
            self._note(str(call), problem, text)
        else:
            self.count(problem)

    def _note(self, key: str, problem: HubProblem, text: str) -> None:
        self.count(problem)
        now, known = self.clock.monotonic(), self._troubles.get(key)
        if known is not None and known.problem == problem:
            known.text, known.seen_seconds = text, now
            return
        since = self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        self._troubles[key] = _Trouble(problem, text, now, since, now)

    def _worst(self) -> _Trouble | None:
        oldest = self.clock.monotonic() - _FORGOTTEN_AFTER_SECONDS
        # How long an unreachable hub is not asked is for the back-off to say, not for this.
        lasting = [
            one
            for one in self._troubles.values()
            if one.seen_seconds >= oldest or one.problem == "unreachable"
        ]
        return min(lasting, key=lambda one: HUB_PROBLEMS.index(one.problem), default=None)

    def _log_change(self) -> None:
        """Logs a change of state once; one that comes and goes, once a minute."""
        worst = self._worst()
        problem = None if worst is None else worst.problem
        if problem == self._logged:
            return
        now = self.clock.monotonic()
        if problem is None:
            _log.info("the hub at %s serves the scheduler again", self.server)
        elif now - self._logged_seconds.get(problem, float("-inf")) < _QUIET_SECONDS:
            return
        else:
            self._logged_seconds[problem] = now
            _log.warning("%s; trying again with back-off", self.sentence)
        self._logged = problem
