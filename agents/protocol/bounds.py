"""The table of bounds: the one range of every number, instant, duration, quantity, name and count.

A field has its range by its type: the types of this module, or `Annotated` with a mark of it.
`shapes.py` checks the marks when a message is decoded, and names the field in the `WireError`. What
lies within these bounds fits 64-bit integers, a `datetime`, a JSON number that every reader can
read, and the kinds of the hub (`Site.status`, Lease); so nothing behind the decoder has to check
again. An honest agent brings what it has observed within them before it sends.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final


@dataclass(frozen=True, slots=True)
class AtMost:
    """Bounds the characters of a text, the items of a list or the entries of a map."""

    count: int


@dataclass(frozen=True, slots=True)
class Between:
    """Bounds a number; both ends are included."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class NotEmpty:
    """Marks a text that has at least one character."""


@dataclass(frozen=True, slots=True)
class Printable:
    """Marks a text that people read in one line: no control, format or bidi character, no newline.

    Names reach `Site.status`, metrics, logs and terminals.
    """


@dataclass(frozen=True, slots=True)
class RemainingKeys:
    """Marks the map field that takes every key of the object that no other field has."""


@dataclass(frozen=True, slots=True)
class QuantityValues:
    """Marks a map of resource names to Kubernetes quantities, each of 0 to its largest amount."""


@dataclass(frozen=True, slots=True)
class InstantText:
    """Marks a text that names an instant, which must lie between `MIN_INSTANT` and `MAX_INSTANT`.

    Text that is no instant is free text of people (`yearly 2023`); it stays, and means no instant.
    """


# ---------------------------------------------------------------- messages

MAX_MESSAGE_BYTES: Final = 8 * 1024 * 1024
MAX_ENVELOPE_BYTES: Final = 4 * 1024 * 1024
MAX_PAYLOAD_BYTES: Final = 8 * 1024 * 1024
MAX_CONTENT_BYTES: Final = 8 * 1024 * 1024
MAX_PART_BYTES: Final = 256 * 1024
MAX_PARTS: Final = 64
MAX_TOPIC_CHARACTERS: Final = 512
MAX_FREE_JSON_DEPTH: Final = 64
"""Levels of a manifest; the whole message has a few more."""

# ---------------------------------------------------------------- defaults of fields without a mark

MAX_INTEGER: Final = 2**63 - 1
MAX_NUMBER: Final = 1e18
MAX_TEXT_CHARACTERS: Final = 1024
MAX_LIST_ITEMS: Final = 10_000
MAX_MAP_ENTRIES: Final = 256

# ---------------------------------------------------------------- counts of items

MAX_NODE_ROWS: Final = 5_000
MAX_TOTAL_NODE_ROWS: Final = 20_000
MAX_NODE_AMOUNTS: Final = 120_000
MAX_NODE_DESCRIPTIONS: Final = 120_000
MAX_NAMESPACE_AMOUNTS: Final = 20_000
"""Of a whole report: rows, amounts in them, labels and taints of nodes; amounts of namespaces."""

MAX_ORDERS: Final = 20_000
MAX_LEDGER_HEADS: Final = 100
MAX_NAMESPACES: Final = 500
MAX_API_KINDS: Final = 1_024
MAX_PEERS: Final = 2_000
MAX_FAULTS: Final = 64
MAX_LABELS: Final = 64
MAX_TAINTS: Final = 32
MAX_RESOURCES: Final = 64
MAX_MANIFESTS: Final = 500
MAX_NEEDS: Final = 64
"""Orders of referred objects that one order needs."""
MAX_ASKERS: Final = 4
"""Schedulers whose nonces an agent carries: a leader, standbys, and one that has just ended."""
MAX_KEPT_CLAIMS: Final = 10_000

# ---------------------------------------------------------------- numbers

MAX_EPOCH: Final = 2**31 - 1
"""`Lease.spec.leaseTransitions` has 32 bits, and the epoch comes from there."""

LAST_EPOCH: Final = 2**30
LAST_SEQUENCE: Final = 2**52
"""The highest that an index, a boot or a message may have. What arrives leaves every counter as far
from its maximum again, so that its owner can always count on. Echoes may be higher: a site that
stands at a maximum must be able to say so."""

MAX_ANSWER_SPREAD_SECONDS: Final = 2.0
MAX_SECONDS: Final = 10 * 365 * 86_400.0
MAX_WATTS: Final = 1e12
MAX_GCO2_PER_KWH: Final = 1e5
MAX_MILLISECONDS: Final = 3_600_000.0
MAX_JOULES: Final = MAX_NUMBER
MAX_PODS: Final = 2**31 - 1
MAX_QUANTITY: Final = 2**62 - 1
"""Bytes, cards, pods; for cpu the thousandths. A sum of two still fits 64 bits."""

MIN_INSTANT: Final = datetime(1970, 1, 1, tzinfo=UTC)
MAX_INSTANT: Final = datetime(2200, 1, 1, tzinfo=UTC)

Count = Annotated[int, Between(0, 2**53)]
"""A number that every JSON reader holds exactly: sequences, generations, bytes."""

Counter = Annotated[int, Between(0, LAST_SEQUENCE)]
"""A number of which the highest so far is kept: boots, and messages of a boot."""

Epoch = Annotated[int, Between(0, MAX_EPOCH)]
PodCount = Annotated[int, Between(0, MAX_PODS)]
Seconds = Annotated[float, Between(0, MAX_SECONDS)]
Watts = Annotated[float, Between(0, MAX_WATTS)]
Celsius = Annotated[float, Between(-273, 10_000)]
Joules = Annotated[float, Between(0, MAX_JOULES)]
Grams = Annotated[float, Between(0, MAX_GCO2_PER_KWH)]
Milliseconds = Annotated[float, Between(0, MAX_MILLISECONDS)]
Ratio = Annotated[float, Between(0, 1)]
LoadRatio = Annotated[float, Between(0, 1e6)]
Pue = Annotated[float, Between(1, 10)]
Instant = Annotated[str, AtMost(64), InstantText()]

# ---------------------------------------------------------------- names

SiteName = Annotated[str, AtMost(253), Printable()]
AgentName = Annotated[str, AtMost(64)]
BootId = Annotated[str, AtMost(64)]
Uid = Annotated[str, AtMost(128)]
OrderId = Annotated[str, AtMost(MAX_TEXT_CHARACTERS)]
Digest = Annotated[str, AtMost(71)]
ObjectName = Annotated[str, AtMost(253), Printable()]
NamespaceName = Annotated[str, AtMost(63), Printable()]
QualifiedName = Annotated[str, AtMost(317), NotEmpty(), Printable()]
"""Name of a label, taint or resource: a prefix of 253 characters, a slash, and 63 characters."""

LabelValue = Annotated[str, AtMost(63), Printable()]
Word = Annotated[str, AtMost(64)]
"""A slug or a version."""

Nonce = Annotated[str, AtMost(64), NotEmpty()]
"""What a scheduler makes up and an agent repeats; only the scheduler reads it."""

Quantities = Annotated[dict[QualifiedName, str | int], AtMost(MAX_RESOURCES), QuantityValues()]
"""Resource name to quantity."""


def is_unicode(text: str) -> bool:
    """Whether a text has bytes in UTF-8; one with a lone surrogate has none."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def is_instant_in_range(text: str) -> bool:
    """Whether a text is no instant, or one between the ends of `Instant`."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return True
    try:
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:  # the first or last day of time, in another zone
        return False
    return MIN_INSTANT <= at <= MAX_INSTANT
