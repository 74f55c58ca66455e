"""One agent's orders at one member, step by step and without loops."""

import http.client
import json
import random
import secrets
from pathlib import Path
from typing import Any

from agents.member.api import MemberApi
from agents.member.discovery import Discovery
from agents.member.errors import MemberApiError
from agents.orders.allowed.site_rules import SiteRules
from agents.orders.executor import OrderExecutor
from agents.orders.intake import Intake
from agents.orders.journal import Journal
from agents.protocol.keys import TrustedKeys
from agents.protocol.orders import OrderContent
from agents.protocol.status import OrderStatus
from agents.protocol.topics import parse_topic
from tests.support.fake_clock import FakeClock
from tests.support.member_clusters import REAL_KUBECONFIGS
from tests.support.wire_hub import Manifest, WireHub, packed

CONFIG_MAPS = "/api/v1/namespaces/{}/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/{}/deployments"
AUTOSCALERS = "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers"
JOBS = "/apis/batch/v1/namespaces/{}/jobs"


def written_version(tree: Any) -> str:  # noqa: ANN401 - a JSON tree
    """Changes with each write of an object; on a real server, whose controllers write statuses and
    finalizers, with each write of this agent."""
    metadata = tree["metadata"]
    if not REAL_KUBECONFIGS:
        return str(metadata["resourceVersion"])
    own = [one for one in metadata["managedFields"] if one["manager"] == "kapok-agent"]
    return json.dumps([metadata.get("generation"), metadata.get("labels"), own], sort_keys=True)


class AgentRig:
    """One agent's orders at one member, step by step and without loops."""

    def __init__(
        self,
        api: MemberApi,
        folder: Path,
        *,
        tenant_account: str = "",
        site_rules: SiteRules | None = None,
    ) -> None:
        self.site_rules = site_rules or SiteRules()
        self.api = api
        self.folder = folder
        self.tenant_account = tenant_account
        self.clock = FakeClock()
        self.hub = WireHub(site="site-a")
        self.name = f"ka{secrets.token_hex(4)}"
        self.bound: dict[str, int] = {}
        self.is_allowed = True
        self._sequence = 0
        self.start()

    def start(self) -> None:
        """A start of the agent on the disk it has."""
        self.journal = Journal(self.folder / "journal.sqlite")
        trusted = TrustedKeys([self.hub.key.public])
        self.intake = Intake(site="site-a", trusted_keys=trusted, journal=self.journal)
        self.executor = OrderExecutor(
            discovery=Discovery(self.api, self.clock),
            intake=self.intake,
            journal=self.journal,
            clock=self.clock,
            jitter=random.Random(1),  # noqa: S311 - jitter
            is_allowed=lambda: self.is_allowed,
            bound_pods=lambda: self.bound,
            tenant_account=self.tenant_account,
            site_rules=self.site_rules,
        )
        self.executor.ensure_system_namespace()

    def lose_disk(self) -> None:
        """A start of the agent on an empty disk."""
        self.journal.close()
        for path in self.folder.iterdir():
            path.unlink()
        self.start()

    def content(self, *manifests: Manifest, **more: Any) -> OrderContent:  # noqa: ANN401 - fields
        return self.hub.content(self.name, *manifests, **more)

    def order(self, *contents: OrderContent, purge: tuple[str, ...] = ()) -> None:
        """The hub orders exactly this, and lets the claims of the orders in `purge` go."""
        self._sequence += 1
        each = packed(*contents)
        self.intake.accept_index(self.hub.index(self._sequence, *each, purge=purge or None)[1])
        for name, payload in self.hub.orders(*each):
            self.intake.accept_part(parse_topic(name), payload)

    def run(self, *contents: OrderContent, purge: tuple[str, ...] = ()) -> list[OrderStatus]:
        """The hub orders exactly this, and one pass is made."""
        self.order(*contents, purge=purge)
        return self.step()

    def step(self) -> list[OrderStatus]:
        self.executor.reconcile()
        return list(self.executor.order_statuses())

    def phases(self) -> list[str]:
        return [status.phase for status in self.step()]

    def find(self, collection: str, name: str) -> Any:  # noqa: ANN401 - a JSON tree, or None
        return self.api.find(f"{collection.format(self.name)}/{name}")

    def finish(self, name: str, kind: str = "Complete") -> None:
        """Plays the job controller; a real one beside it writes the status too."""
        for _ in range(20):
            try:
                return self._finish(f"{JOBS.format(self.name)}/{name}", kind)
            except MemberApiError as error:
                if error.code != http.client.CONFLICT:
                    raise
        raise AssertionError(f"job {name}: its status was changed before each of 20 writes")

    def _finish(self, path: str, kind: str) -> None:
        tree = self.api.get(path)
        moment = tree.get("status", {}).get("startTime") or "2026-01-01T00:00:00Z"
        also = "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget"
        tree["status"] = {
            "startTime": moment,
            "conditions": [
                {"type": each, "status": "True", "lastTransitionTime": moment}
                for each in (also, kind)
            ],
        }
        if kind == "Complete":
            tree["status"] |= {"completionTime": moment, "succeeded": 1}
        self.api.update(f"{path}/status", tree)
