"""Ingress, IngressClass, NetworkPolicy, EndpointSlice and webhooks: defaults and checks.

They are stored and checked as by a real server; nothing behind this server routes or filters
traffic, and no webhook is called. Sources: the API reference of the groups networking.k8s.io,
discovery.k8s.io and admissionregistration.k8s.io.
"""

import ipaddress

from scheduler.apiserver.kinds.names import dns_subdomain_problems
from scheduler.apiserver.kinds.resources import KindStrategy
from scheduler.apiserver.kinds.unstructured import map_at, maps_in, set_missing
from scheduler.hub.schema.json_types import Json, JsonObject
from scheduler.hub.schema.problems import FieldProblem, invalid_value, quote_value, required_value

_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_POLICY_TYPES = ("Egress", "Ingress")
_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_MAX_ENDPOINT_ADDRESSES = 100


def unsupported_value(path: str, value: Json, supported: tuple[str, ...]) -> FieldProblem:
    """An `Unsupported value` problem: the value is none of a closed list."""
    listed = ", ".join(quote_value(one) for one in supported)
    message = f"Unsupported value: {quote_value(value)}: supported values: {listed}"
    return FieldProblem("FieldValueNotSupported", path, message)


# ---------------------------------------------------------------- Ingress


def _init_ingress(item: JsonObject) -> None:
    item["status"] = {"loadBalancer": {}}


def _ingress_problems(item: JsonObject, _old: JsonObject | None) -> list[FieldProblem]:
    spec = map_at(item, "spec")
    rules, default = maps_in(spec.get("rules")), spec.get("defaultBackend")
    problems: list[FieldProblem] = []
    if not rules and default is None:
        why = "either `defaultBackend` or `rules` must be specified"
        problems.append(invalid_value("spec", rules, why))
    if isinstance(default, dict):
        problems += _backend_problems(default, "spec.defaultBackend")
    for index, rule in enumerate(rules):
        problems += _rule_problems(rule, f"spec.rules[{index}]")
    return problems


def _rule_problems(rule: JsonObject, path: str) -> list[FieldProblem]:
    host = str(rule.get("host") or "")
    problems = [
        invalid_value(f"{path}.host", host, why)
        for why in (dns_subdomain_problems(host.removeprefix("*.")) if host else ())
    ]
    http = rule.get("http")
    paths = maps_in(http.get("paths")) if isinstance(http, dict) else []
    if isinstance(http, dict) and not paths:
        problems.append(required_value(f"{path}.http.paths"))
    for index, one in enumerate(paths):
        problems += _path_problems(one, f"{path}.http.paths[{index}]")
    return problems


def _path_problems(one: JsonObject, path: str) -> list[FieldProblem]:
    kind, text = one.get("pathType"), str(one.get("path") or "")
    problems: list[FieldProblem] = []
    if kind not in _PATH_TYPES:
        problems.append(unsupported_value(f"{path}.pathType", kind, _PATH_TYPES))
    elif not text.startswith("/") and (kind != "ImplementationSpecific" or text):
        problems.append(invalid_value(f"{path}.path", text, "must be an absolute path"))
    return problems + _backend_problems(map_at(one, "backend"), f"{path}.backend")


def _backend_problems(backend: JsonObject, path: str) -> list[FieldProblem]:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        why = "cannot set both resource and service backends"
        return [invalid_value(path, "", why)]
    if service is None and resource is None:
        return [required_value(path, "cannot set both resource and service backends")]
    port = map_at(service, "port") if isinstance(service, dict) else {"name": "unused"}
    if not port.get("name") and not port.get("number"):
        return [required_value(f"{path}.service.port", "port name or number is required")]
    if port.get("name") and port.get("number"):
        return [
            invalid_value(f"{path}.service.port", "", "cannot set both port name & port number")
        ]
    return []


# ---------------------------------------------------------------- NetworkPolicy


def _set_network_policy_defaults(item: JsonObject) -> None:
    spec = map_at(item, "spec")
    set_missing(spec, policyTypes=["Ingress", *(["Egress"] if spec.get("egress") else [])])
    for direction in ("ingress", "egress"):
        for rule in maps_in(spec.get(direction)):
            for port in maps_in(rule.get("ports")):
                set_missing(port, protocol="TCP")


def _network_policy_problems(item: JsonObject, _old: JsonObject | None) -> list[FieldProblem]:
    spec = map_at(item, "spec")
    problems = [
        unsupported_value(f"spec.policyTypes[{index}]", kind, _POLICY_TYPES)
        for index, kind in enumerate(spec.get("policyTypes") or ())
        if kind not in _POLICY_TYPES
    ]
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(maps_in(spec.get(direction))):
            for number, peer in enumerate(maps_in(rule.get(peers))):
                path = f"spec.{direction}[{index}].{peers}[{number}]"
                problems += _peer_problems(peer, path)
    return problems


def _peer_problems(peer: JsonObject, path: str) -> list[FieldProblem]:
    if not any(
        peer.get(key) is not None for key in ("podSelector", "namespaceSelector", "ipBlock")
    ):
        return [required_value(path, "must specify a peer")]
    block = peer.get("ipBlock")
    if not isinstance(block, dict):
        return []
    if len(peer) > 1:
        return [
            FieldProblem(
                "FieldValueForbidden",
                path,
                "Forbidden: may not specify both ipBlock and another peer",
            )
        ]
    try:
        ipaddress.ip_network(str(block.get("cidr")), strict=False)
    except ValueError:
        why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
        return [invalid_value(f"{path}.ipBlock.cidr", block.get("cidr"), why)]
    return []


# ---------------------------------------------------------------- EndpointSlice and webhooks


def _set_endpoint_slice_defaults(item: JsonObject) -> None:
    for port in maps_in(item.get("ports")):
        set_missing(port, name="", protocol="TCP")


def _endpoint_slice_problems(item: JsonObject, old: JsonObject | None) -> list[FieldProblem]:
    kind = item.get("addressType")
    problems: list[FieldProblem] = []
    if kind not in _ADDRESS_TYPES:
        problems.append(unsupported_value("addressType", kind, _ADDRESS_TYPES))
    elif old is not None and old.get("addressType") != kind:
        problems.append(invalid_value("addressType", kind, "field is immutable"))
    for index, endpoint in enumerate(maps_in(item.get("endpoints"))):
        addresses = endpoint.get("addresses") or []
        path = f"endpoints[{index}].addresses"
        if not addresses:
            problems.append(required_value(path, "must contain at least 1 address"))
        elif len(addresses) > _MAX_ENDPOINT_ADDRESSES:
            why = f"Too many: {len(addresses)}: must have at most {_MAX_ENDPOINT_ADDRESSES} items"
            problems.append(FieldProblem("FieldValueTooMany", path, why))
    return problems


def _set_webhook_defaults(item: JsonObject) -> None:
    for webhook in maps_in(item.get("webhooks")):
        set_missing(
            webhook,
            failurePolicy="Fail",
            matchPolicy="Equivalent",
            namespaceSelector={},
            objectSelector={},
            timeoutSeconds=10,
        )
        if item.get("kind") == "MutatingWebhookConfiguration":
            set_missing(webhook, reinvocationPolicy="Never")
        set_missing(map_at(webhook, "clientConfig").get("service"), port=443)
        for rule in maps_in(webhook.get("rules")):
            set_missing(rule, scope="*")


def _webhook_problems(item: JsonObject, _old: JsonObject | None) -> list[FieldProblem]:
    problems: list[FieldProblem] = []
    for index, webhook in enumerate(maps_in(item.get("webhooks"))):
        path, client = f"webhooks[{index}]", map_at(webhook, "clientConfig")
        name = str(webhook.get("name") or "")
        if len(name.split(".")) < 3:  # noqa: PLR2004 - a fully qualified name
            why = "should be a domain with at least three segments separated by dots"
            problems.append(invalid_value(f"{path}.name", name, why))
        if (client.get("url") is None) == (client.get("service") is None):
            why = "exactly one of url or service is required"
            problems.append(required_value(f"{path}.clientConfig", why))
        if webhook.get("sideEffects") not in {"None", "NoneOnDryRun"}:
            found = webhook.get("sideEffects")
            supported = ("None", "NoneOnDryRun")
            problems.append(unsupported_value(f"{path}.sideEffects", found, supported))
    return problems


_NO_ROUTING = "is stored; nothing behind this server routes traffic by it"
_NO_WEBHOOK = "is stored; this server calls no webhooks"
_WEBHOOKS = KindStrategy(
    set_defaults=_set_webhook_defaults, problems=_webhook_problems, not_enforced=_NO_WEBHOOK
)

NETWORK_STRATEGIES: dict[str, KindStrategy] = {
    "Ingress": KindStrategy(
        prepare_for_create=_init_ingress, problems=_ingress_problems, not_enforced=_NO_ROUTING
    ),
    "IngressClass": KindStrategy(not_enforced=_NO_ROUTING),
    "NetworkPolicy": KindStrategy(
        set_defaults=_set_network_policy_defaults,
        problems=_network_policy_problems,
        not_enforced="is stored; nothing behind this server filters traffic by it",
    ),
    "EndpointSlice": KindStrategy(
        set_defaults=_set_endpoint_slice_defaults,
        problems=_endpoint_slice_problems,
        generation_follows_labels=True,
    ),
    "ValidatingWebhookConfiguration": _WEBHOOKS,
    "MutatingWebhookConfiguration": _WEBHOOKS,
}
