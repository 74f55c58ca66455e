"""Access reviews, as `kubectl auth can-i` and `auth whoami` send them: answered, not stored."""

from scheduler.apiserver.auth.rbac import AccessAttributes, Identity, is_allowed, resource_rules_of
from scheduler.apiserver.base.errors import bad_request, resource_not_found
from scheduler.hub.schema.json_types import Json, JsonObject

REVIEW_KINDS: dict[tuple[str, str], str] = {
    ("authorization.k8s.io", "selfsubjectaccessreviews"): "SelfSubjectAccessReview",
    ("authorization.k8s.io", "selfsubjectrulesreviews"): "SelfSubjectRulesReview",
    ("authentication.k8s.io", "selfsubjectreviews"): "SelfSubjectReview",
}
"""The review kinds by group and plural; they can only be created, and are answered at once."""
REVIEW_VERSION = "v1"


def openapi_name_of_review(group: str, plural: str) -> str:
    """The OpenAPI name of the kind of a review."""
    family = group.partition(".")[0]
    return f"io.k8s.api.{family}.v1.{REVIEW_KINDS[group, plural]}"


def answer_review(identity: Identity, kind: str, review: Json) -> JsonObject:
    """The review with its status filled in.

    Raises:
        ApiError: 400, the review is incomplete or malformed.
    """
    if not isinstance(review, dict):
        raise bad_request("the review is not a JSON object")
    spec = review.get("spec") or {}
    if not isinstance(spec, dict):
        raise bad_request("spec is not an object")
    if kind == "SelfSubjectAccessReview":
        status = _access_status(identity, spec)
    elif kind == "SelfSubjectRulesReview":
        status = _rules_status(identity, spec)
    elif kind == "SelfSubjectReview":
        groups = list(identity.groups)
        status = {"userInfo": {"username": identity.name, "groups": groups}}
    else:
        raise resource_not_found()
    group = "authentication.k8s.io" if kind == "SelfSubjectReview" else "authorization.k8s.io"
    made: JsonObject = {"kind": kind, "apiVersion": f"{group}/v1", "metadata": {}}
    if spec:
        made["spec"] = spec
    return made | {"status": status}


def _access_status(identity: Identity, spec: JsonObject) -> JsonObject:
    requested = spec.get("resourceAttributes")
    if isinstance(spec.get("nonResourceAttributes"), dict):
        return {"allowed": True}
    if not isinstance(requested, dict):
        raise bad_request(
            "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        )
    resource = str(requested.get("resource", ""))
    if requested.get("subresource"):
        resource += f"/{requested['subresource']}"
    attributes = AccessAttributes(
        verb=str(requested.get("verb", "")),
        group=str(requested.get("group", "")),
        resource=resource,
        namespace=str(requested.get("namespace", "")),
        name=str(requested.get("name", "")),
    )
    if is_allowed(identity, attributes):
        return {"allowed": True, "reason": f"the role {identity.role} allows it"}
    return {"allowed": False, "reason": f"the role {identity.role} does not allow it"}


def _rules_status(identity: Identity, spec: JsonObject) -> JsonObject:
    namespace = str(spec.get("namespace", ""))
    if not namespace:
        raise bad_request("spec.namespace: Required value")
    return {
        "resourceRules": list(resource_rules_of(identity, namespace)),
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["*"]}],
        "incomplete": False,
    }
