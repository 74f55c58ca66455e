"""What a Kubernetes API server has and this one does not: each is refused with a sentence.

The codes are those of a server without the resource, so that clients that only probe go on. What
is stored without being acted on (`KindStrategy.not_enforced`) is no refusal: the writer is warned.
"""

from scheduler.apiserver.base.errors import ApiError

_NO_CONTAINERS = "the embedded hub runs no containers; ask the cluster that runs the pod"
_NO_AGGREGATION = (
    "the embedded hub has no API aggregation; register the API at a real API server, and name that "
    "as the hub with kapok up --kubeconfig"
)
_NO_POLICIES = (
    "the embedded hub evaluates no admission policies; rules of your own need a real API server"
)
_NO_REVIEWS_OF_OTHERS = (
    "the embedded hub answers reviews of the caller only; ask with that caller's token"
)
NOT_SERVED_RESOURCES = {
    ("apiregistration.k8s.io", "apiservices"): _NO_AGGREGATION,
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"): _NO_POLICIES,
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"): _NO_POLICIES,
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies"): _NO_POLICIES,
    ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings"): _NO_POLICIES,
    ("authorization.k8s.io", "subjectaccessreviews"): _NO_REVIEWS_OF_OTHERS,
    ("authorization.k8s.io", "localsubjectaccessreviews"): _NO_REVIEWS_OF_OTHERS,
    ("authentication.k8s.io", "tokenreviews"): _NO_REVIEWS_OF_OTHERS,
    ("certificates.k8s.io", "certificatesigningrequests"): (
        "the embedded hub signs no certificates; kapok hub token makes a token"
    ),
    ("flowcontrol.apiserver.k8s.io", "flowschemas"): (
        "the embedded hub has a fixed share of requests for each token, and no flow schemas"
    ),
}
"""By group and plural: why it is not served, and what to do."""
NOT_SERVED_SUBRESOURCES = {
    **dict.fromkeys(
        [
            ("pods", name)
            for name in ("exec", "attach", "portforward", "proxy", "ephemeralcontainers")
        ],
        _NO_CONTAINERS,
    ),
    ("services", "proxy"): _NO_CONTAINERS,
    ("nodes", "proxy"): _NO_CONTAINERS,
    ("serviceaccounts", "token"): (
        "the embedded hub makes no tokens of service accounts; kapok hub token makes a token"
    ),
}
"""By plural and subresource of core kinds: the same."""


def resource_not_served(group: str, plural: str) -> ApiError | None:
    """The refusal of a resource that other servers have; None: it is simply not known."""
    sentence = NOT_SERVED_RESOURCES.get((group, plural))
    return None if sentence is None else ApiError(404, "NotFound", sentence)


def subresource_not_served(plural: str, subresource: str) -> ApiError | None:
    """The refusal of a subresource that other servers have; None: it is simply not known."""
    sentence = NOT_SERVED_SUBRESOURCES.get((plural, subresource))
    return None if sentence is None else ApiError(501, "NotImplemented", sentence)
