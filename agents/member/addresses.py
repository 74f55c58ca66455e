"""Where a Service or an Ingress is reachable from outside the cluster. Pure.

The addresses are those that the cluster's load balancer or Ingress controller has written into the
status; a Service of another type than LoadBalancer has none there.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from agents.member.trees import integer_at, map_at, objects_at, text_at

Tree = Mapping[str, Any]

_MAX_NAME: Final = 253
_MAX_ADDRESSES: Final = 16
_MAX_PORT: Final = 65_535
_HTTP, _HTTPS = 80, 443


class Address(NamedTuple):
    """One place where an object is reachable; `host` is what an Ingress serves there, or ""."""

    address: str
    port: int
    host: str = ""


def addresses_of(tree: Tree) -> tuple[Address, ...]:
    """The addresses of a Service of type LoadBalancer or an Ingress, in order, up to a bound."""
    places = [
        text_at(each, "ip") or text_at(each, "hostname")
        for each in objects_at(map_at(tree, "status", "loadBalancer"), "ingress")
    ]
    found: list[Address] = []
    for place in filter(None, places):
        if len(place) > _MAX_NAME:
            continue
        if tree.get("kind") == "Ingress":
            found += [Address(place, port, host) for host, port in _served_hosts(tree)]
        elif map_at(tree, "spec").get("type") == "LoadBalancer":
            found += [Address(place, port) for port in _ports(tree)]
    return tuple(sorted(set(found))[:_MAX_ADDRESSES])


def _ports(tree: Tree) -> Iterator[int]:
    for each in objects_at(map_at(tree, "spec"), "ports"):
        port = integer_at(each, "port", 0)
        if 0 < port <= _MAX_PORT:
            yield port


def _served_hosts(tree: Tree) -> Iterator[tuple[str, int]]:
    """Each host name of an Ingress with its port; "" for rules that name no host."""
    spec = map_at(tree, "spec")
    secured = {
        host
        for each in objects_at(spec, "tls")
        for host in (each.get("hosts") or ())
        if isinstance(host, str)
    }
    hosts = {text_at(each, "host")[:_MAX_NAME] for each in objects_at(spec, "rules")} or {""}
    for host in hosts:
        yield host, _HTTPS if host in secured else _HTTP
