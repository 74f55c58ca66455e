"""The rules of a site's owner: kinds, namespaces, registries and ceilings. Pure.

An order that breaks one is refused as a whole, and what ran of it before goes on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Any, Final

from agents.orders.allowed.pod_demand import demand_of
from agents.protocol.orders import OrderContent, format_group_kind
from agents.protocol.quantities import QuantityError, parse_quantity

_ANY: Final = ("*",)
_DEFAULT_REGISTRY: Final = "docker.io"
_WITHOUT_IMAGES: Final = ("ConfigMap", "Secret")
"""Kinds whose contents are free text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRules:
    """What orders may do at a site.

    Attributes:
        kinds: patterns of `GROUP/Kind`, core kinds as `Kind` alone; `*` matches anything.
        namespaces: patterns of the namespaces that orders may use.
        registries: registries, with a path or without, that images may come from; `*` is any.
        ceilings: the most that one order may ask for, by resource; `pods` is their number.
    """

    kinds: tuple[str, ...] = _ANY
    namespaces: tuple[str, ...] = _ANY
    registries: tuple[str, ...] = _ANY
    ceilings: Mapping[str, Fraction] = field(default_factory=dict)


def parse_ceilings(texts: Sequence[str]) -> dict[str, Fraction]:
    """Reads ceilings, each as `RESOURCE=AMOUNT`, such as `memory=64Gi`.

    Raises:
        ValueError: one is none of these, or is there twice; the message says which.
    """
    found: dict[str, Fraction] = {}
    for text in texts:
        resource, equals, amount = text.partition("=")
        if not resource.strip() or not equals:
            raise ValueError(f"{text[:60]!r}: expected RESOURCE=AMOUNT, such as memory=64Gi")
        try:
            value = parse_quantity(amount.strip())
        except QuantityError as error:
            raise ValueError(f"{resource.strip()}: {error}") from None
        if value < 0 or resource.strip() in found:
            raise ValueError(f"{text[:60]!r}: less than 0, or there twice")
        found[resource.strip()] = value
    return found


def find_site_refusals(
    content: OrderContent, manifests: Sequence[Mapping[str, Any]], rules: SiteRules
) -> tuple[str, ...]:
    """The reasons why a site's rules refuse an order; empty if they do not.

    Args:
        content: the order.
        manifests: its objects with those that were sealed, of a form that `find_refusals` accepts.
        rules: of the site.
    """
    return tuple(
        dict.fromkeys(
            (
                *_refused_kinds(manifests, rules.kinds),
                *_refused_namespaces(content, manifests, rules.namespaces),
                *_refused_images(manifests, rules.registries),
                *_refused_amounts(content, manifests, rules.ceilings),
            )
        )
    )


def _refused_kinds(
    manifests: Sequence[Mapping[str, Any]], allowed: tuple[str, ...]
) -> Iterator[str]:
    for one in manifests:
        kind = format_group_kind(str(one["apiVersion"]), str(one["kind"]))
        if not _matches(kind, allowed):
            yield f"this site allows no {kind}; its owner may add it to allow.kinds of the agent"


def _refused_namespaces(
    content: OrderContent, manifests: Sequence[Mapping[str, Any]], allowed: tuple[str, ...]
) -> Iterator[str]:
    for name in _namespaces_of(content, manifests):
        if not _matches(name, allowed):
            yield (
                f"this site allows nothing in namespace {name!r}; its owner may add it to"
                " allow.namespaces of the agent"
            )


def _namespaces_of(content: OrderContent, manifests: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield content.namespace
    for one in manifests:
        metadata = one["metadata"]
        if namespace := metadata.get("namespace"):
            yield str(namespace)
        if (one["apiVersion"], one["kind"]) == ("v1", "Namespace"):
            yield str(metadata["name"])


def _refused_images(
    manifests: Sequence[Mapping[str, Any]], allowed: tuple[str, ...]
) -> Iterator[str]:
    if "*" in allowed:
        return
    for one in manifests:
        if one["kind"] in _WITHOUT_IMAGES and one["apiVersion"] == "v1":
            continue
        for image in _images_in(one):
            name = _full_name(image)
            if not any(name == each or name.startswith(f"{each}/") for each in _stems(allowed)):
                yield (
                    f"{one['kind']} {one['metadata']['name']}: image {image[:200]!r} is of no"
                    " registry that this site allows; its owner may add it to allow.registries"
                )


def _stems(allowed: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(one.removesuffix("/*").rstrip("/") for one in allowed)


def _images_in(tree: object, *, is_volume: bool = False) -> Iterator[str]:
    """Every image that an object names, in whatever kind, at any depth (depth is bounded)."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if isinstance(value, str):
                if key == "image" or (is_volume and key == "reference"):
                    yield value
            else:
                yield from _images_in(value, is_volume=key == "image")
    elif isinstance(tree, list):
        for value in tree:
            yield from _images_in(value)


def _full_name(image: str) -> str:
    """The registry and path of an image, without tag and digest: `nginx` is of docker.io."""
    name = image.strip().partition("@")[0]
    head, slash, rest = name.partition("/")
    is_registry = bool(slash) and ("." in head or ":" in head or head == "localhost")
    if not is_registry:
        head, rest = _DEFAULT_REGISTRY, name if slash else f"library/{name}"
    path, _, last = rest.rpartition("/")
    last = last.partition(":")[0]
    return "/".join(part for part in (head, path, last) if part)


def _refused_amounts(
    content: OrderContent,
    manifests: Sequence[Mapping[str, Any]],
    ceilings: Mapping[str, Fraction],
) -> Iterator[str]:
    if not ceilings:
        return
    demand = demand_of(content, manifests, tuple(ceilings))
    for sentence in demand.unknown:
        yield f"{sentence}; this site has ceilings (allow.ceilings of the agent)"
    for resource, most in ceilings.items():
        if (asked := demand.amounts.get(resource, Fraction(0))) > most:
            yield (
                f"asks for {_number(asked)} of {resource}, and this site allows {_number(most)} to"
                " one order (allow.ceilings of the agent)"
            )


def _number(amount: Fraction) -> str:
    return str(amount.numerator) if amount.denominator == 1 else f"{float(amount):.6g}"


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, one) for one in patterns)
