"""Builds and parses the names of the MQTT topics.

`kapok/v1/SITE/{desired,desired/delta,orders/TOKEN[/PART],hub}` go down to a site,
`{report,status,offline,answer/TOKEN}` go up to the hub. A site name is a DNS subdomain (RFC 1123):
it contains none of MQTT's own characters `/ + #`, and a broker's access rules can use it as the
user name.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal, get_args

from agents.protocol.bounds import MAX_TEXT_CHARACTERS, MAX_TOPIC_CHARACTERS, is_unicode
from agents.protocol.errors import WireError

PREFIX: Final = "kapok/v1"
TOKEN_CHARACTERS: Final = 32
HUB_USER: Final = "kapok-scheduler"
"""The scheduler's user name at the broker: it reads and writes all topics, so no site has it."""

TopicKind = Literal[
    "desired", "desired/delta", "orders", "hub", "report", "status", "offline", "answer"
]
_TOPIC_KINDS: Final[tuple[TopicKind, ...]] = get_args(TopicKind)

_SUBDOMAIN_PATTERN = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_TOKEN_PATTERN = re.compile(rf"[0-9a-f]{{{TOKEN_CHARACTERS}}}")


@dataclass(frozen=True, slots=True)
class Topic:
    """A parsed topic.

    Attributes:
        site: name of the site.
        kind: kind of message.
        token: token of the order, for `orders`, or of the question, for `answer`; else None.
        part: number of the content's part, for `orders`; else 0.
    """

    site: str
    kind: TopicKind
    token: str | None = None
    part: int = 0


def is_site_name(name: str) -> bool:
    """Whether `name` may be a site's: a subdomain (`is_subdomain`), and not the scheduler's own."""
    return name != HUB_USER and is_subdomain(name)


def is_subdomain(name: str) -> bool:
    """Whether `name` is an RFC 1123 subdomain of at most 253 characters."""
    return _SUBDOMAIN_PATTERN.fullmatch(name) is not None


def site_topic(site: str, kind: TopicKind) -> str:
    """The topic of one kind of message at one site.

    For orders see `order_topic`, for answers `answer_topic`.
    """
    return f"{PREFIX}/{site}/{kind}"


def order_token(order_id: str) -> str:
    """The token of an order in topics and labels: the first 32 hex digits of its id's SHA-256.

    The id itself (`HUB/NAMESPACE/NAME/INCARNATION`) has slashes and may exceed the 63 characters of
    a label.
    """
    return sha256(order_id.encode()).hexdigest()[:TOKEN_CHARACTERS]


def is_order_id(text: str) -> bool:
    """Whether a text may be an order's id: neither empty, nor too long, nor without a token.

    Every user of a member cluster may write one into an annotation; a lone surrogate in it has no
    bytes, and so no token.
    """
    return 0 < len(text) <= MAX_TEXT_CHARACTERS and is_unicode(text)


def order_topic(site: str, order_id: str, part: int = 0) -> str:
    """The topic of one part of an order's content; parts after the first end in their number."""
    first = f"{site_topic(site, 'orders')}/{order_token(order_id)}"
    return f"{first}/{part}" if part else first


def answer_topic(site: str, token: str) -> str:
    """The topic of the answer to the question with this token."""
    return f"{site_topic(site, 'answer')}/{token}"


def is_question_token(text: str) -> bool:
    """Whether a text has the form of a question's token."""
    return _TOKEN_PATTERN.fullmatch(text) is not None


def hub_subscriptions() -> tuple[str, ...]:
    """The topics that the hub subscribes to: every site's reports, statuses, wills and answers."""
    return tuple(f"{PREFIX}/+/{kind}" for kind in ("report", "status", "offline", "answer/+"))


def parse_topic(name: str) -> Topic:
    """Parses the name of a topic.

    Raises:
        WireError: it is not a topic of this version.
    """
    if len(name) > MAX_TOPIC_CHARACTERS:
        raise WireError(
            "malformed", f"topic: at most {MAX_TOPIC_CHARACTERS} characters are allowed"
        )
    words = name.split("/")
    if len(words) < 4 or "/".join(words[:2]) != PREFIX or not is_site_name(words[2]):  # noqa: PLR2004 - kapok, v1, site, kind
        raise WireError("malformed", f"topic {name!r}: expected {PREFIX}/SITE/KIND")
    for kind in _TOPIC_KINDS:
        if kind == words[3]:
            return _parse_rest(name, words[2], kind, words[4:])
    raise WireError("malformed", f"topic {name!r}: expected a kind of {', '.join(_TOPIC_KINDS)}")


def _parse_rest(name: str, site: str, kind: TopicKind, rest: list[str]) -> Topic:
    if kind == "desired" and rest == ["delta"]:
        return Topic(site, "desired/delta")
    if kind not in ("orders", "answer"):
        if rest:
            raise WireError("malformed", f"topic {name!r}: unexpected text after {kind}")
        return Topic(site, kind)
    if not rest or not _TOKEN_PATTERN.fullmatch(rest[0]):
        raise WireError("malformed", f"topic {name!r}: expected a token of 32 hex digits")
    token, *parts = rest
    if not parts:
        return Topic(site, kind, token)
    if kind == "orders" and len(parts) == 1 and re.fullmatch(r"[1-9][0-9]{0,3}", parts[0]):
        return Topic(site, kind, token, int(parts[0]))
    raise WireError("malformed", f"topic {name!r}: expected a part number from 1")
