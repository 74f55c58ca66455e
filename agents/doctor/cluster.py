"""Checks of the site's cluster: whether its API answers, and whether the agent has its rights."""

import os
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from agents.config.settings import AgentSettings
from agents.doctor.findings import DoctorFinding, error, warning
from agents.member.access import AccessError, from_kubeconfig, in_cluster
from agents.member.api import MemberApi, MemberApiError
from agents.member.trees import map_at

_REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_APPLY: Final = ("get", "list", "create", "patch", "delete")
_CREDENTIALS: Final = "/run/credentials/"

READING_RIGHTS: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("", "nodes", ("get", "list", "watch")),
    ("", "pods", ("get", "list", "watch")),
    ("", "namespaces", ("get", "list")),
    ("", "resourcequotas", ("get", "list")),
    ("", "limitranges", ("get", "list")),
)
"""What reports need: group, resource, verbs; see manifests/rbac/agent/agent.yaml."""

ORDER_RIGHTS: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("", "namespaces", ("create", "patch", "delete")),
    ("", "configmaps", _APPLY),
    ("", "services", _APPLY),
    ("", "serviceaccounts", _APPLY),
    ("", "persistentvolumeclaims", _APPLY),
    ("", "pods", ("create", "patch", "delete")),
    ("", "secrets", _APPLY),
    ("", "pods/log", ("get",)),
    ("", "events", ("list",)),
    ("apps", "deployments", _APPLY),
    ("apps", "statefulsets", _APPLY),
    ("apps", "daemonsets", _APPLY),
    ("apps", "replicasets", _APPLY),
    ("batch", "jobs", _APPLY),
    ("batch", "cronjobs", _APPLY),
    ("networking.k8s.io", "ingresses", _APPLY),
    ("networking.k8s.io", "networkpolicies", _APPLY),
    ("autoscaling", "horizontalpodautoscalers", _APPLY),
    ("policy", "poddisruptionbudgets", _APPLY),
    ("scheduling.k8s.io", "priorityclasses", _APPLY),
)
"""What orders need beside."""

LEASE_NAMESPACE: Final = "kapok-system"
_ASKED_AT_ONCE: Final = 6
_LEASE_VERBS: Final = ("get", "create", "update")


def examine_cluster(settings: AgentSettings) -> Iterator[DoctorFinding]:
    """The cluster's API and the agent's rights, verb by verb."""
    cluster = settings.cluster
    if cluster.source == "none":
        return
    if cluster.kubeconfig.startswith(_CREDENTIALS) and not Path(cluster.kubeconfig).exists():
        what = "systemd hands the kubeconfig to the service alone: the cluster is not looked at"
        instead = "set KAPOK_AGENT_CLUSTER_KUBECONFIG to the file of LoadCredential for this call"
        yield warning("cluster.kubeconfig", what, instead)
        return
    try:
        if cluster.source == "in-cluster":
            access = in_cluster(os.environ)
        else:
            access = from_kubeconfig(Path(cluster.kubeconfig), cluster.context)
        api = MemberApi(access)
    except (AccessError, OSError, ValueError) as problem:
        yield error("cluster", str(problem), "name a kubeconfig with a token or a certificate")
        return
    try:
        api.get("/version")
        yield from _examine_rights(api, is_executing=cluster.is_executing)
    except MemberApiError as problem:
        where = f"{access.host}:{access.port}"
        what = f"the cluster's API at {where} does not answer: {problem}"
        yield warning(
            "cluster", what, "start it, or name its address; nothing is applied until then"
        )
    finally:
        api.close()


def _examine_rights(api: MemberApi, *, is_executing: bool) -> Iterator[DoctorFinding]:
    rights = READING_RIGHTS + (ORDER_RIGHTS if is_executing else ())
    wanted = [
        _attributes(group, resource, verb) for group, resource, verbs in rights for verb in verbs
    ]
    if is_executing:
        wanted += [_lease(verb) for verb in _LEASE_VERBS]
    lacking: dict[str, list[str]] = {}
    for attributes in _denied(api, wanted):
        lacking.setdefault(_name_of(attributes), []).append(attributes["verb"])
    readable = {_name_of(_attributes(group, name, "")) for group, name, _ in READING_RIGHTS}
    for name, verbs in sorted(lacking.items()):
        what = f"may not {', '.join(verbs)} {name}"
        if name == _name_of(_lease("")):
            instead = "kubectl apply -k manifests/rbac/agent at this cluster"
            yield error("cluster", f"{what}: no order is applied", instead)
            continue
        is_read = name in readable and not {"create", "patch", "delete"} & set(verbs)
        effect = "reports lack what it reads there" if is_read else "orders with such objects fail"
        instead = "kubectl apply -k manifests/rbac/agent, unless it is left out on purpose"
        yield warning("cluster", f"{what}: {effect}", instead)


def _denied(api: MemberApi, wanted: list[dict[str, str]]) -> list[dict[str, str]]:
    """What is not allowed; some are asked at once, for a link of many milliseconds."""
    waiting, denied, problems = deque(wanted), list[dict[str, str]](), list[MemberApiError]()

    def ask() -> None:
        while waiting and not problems:
            try:
                one = waiting.popleft()
            except IndexError:
                return  # another thread was faster
            try:
                if not _is_allowed(api, one):
                    denied.append(one)
            except MemberApiError as problem:
                problems.append(problem)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(_ASKED_AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
    return [one for one in wanted if one in denied]


def _name_of(attributes: dict[str, str]) -> str:
    subresource = attributes.get("subresource")
    resource = attributes["resource"] + (f"/{subresource}" if subresource else "")
    return f"{resource}.{attributes['group']}" if attributes["group"] else resource


def _attributes(group: str, resource: str, verb: str) -> dict[str, str]:
    name, _, subresource = resource.partition("/")
    found = {"group": group, "resource": name, "verb": verb}
    return found | ({"subresource": subresource} if subresource else {})


def _lease(verb: str) -> dict[str, str]:
    return {**_attributes("coordination.k8s.io", "leases", verb), "namespace": LEASE_NAMESPACE}


def _is_allowed(api: MemberApi, attributes: dict[str, str]) -> bool:
    review: dict[str, Any] = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    return map_at(api.create(_REVIEWS, review), "status").get("allowed") is True
