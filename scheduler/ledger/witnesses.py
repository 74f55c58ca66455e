"""What was seen of the ledger elsewhere: the hash of a record, with who saw it and when.

Witnesses are signed heads that sites hold, heads in the hub's object, the hashes in statuses of
workloads, and anchors that an operator kept. A ledger that holds a witnessed record with another
hash, or does not hold it, was rewritten or cut, whatever its own hashes and signatures say.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from scheduler.ledger.segments import head_of, is_signed, key_id_of

_ANCHOR = re.compile(r"([1-9][0-9]{0,17}):(sha256:[0-9a-f]{64})")
_MAX_HEADS = 10_000


@dataclass(frozen=True, slots=True)
class Anchor:
    """Record `seq` once had this hash.

    Attributes:
        seq: sequence of the record.
        hash: its hash.
        witness: who says so, such as "site m1" or "the status of health/appointment".
        at: when it was seen, ISO 8601; "" when that is not known.
        is_outside: the one that says so is neither the hub nor its data directory.
        segment: hash of the newest segment at that time; "" when that is not known.
    """

    seq: int
    hash: str
    witness: str = "an anchor"
    at: str = ""
    is_outside: bool = True
    segment: str = ""


@dataclass(slots=True)
class Witnesses:
    """Everything to compare the ledger with.

    Attributes:
        anchors: hashes that records must have.
        notes: sentences about what could not be compared.
    """

    anchors: list[Anchor] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_heads(
        self, trees: Iterable[object], *, witness: str, trusted: Collection[str], is_outside: bool
    ) -> None:
        """Adds signed heads, as JSON that anyone may have written.

        Args:
            trees: the heads.
            witness: who holds them.
            trusted: the hub's public keys, of which one must have signed a head; empty: any key,
                because an operator has named the witness.
            is_outside: as in `Anchor`.
        """
        unreadable = unsigned = 0
        foreign = set[str]()
        for tree in trees:
            head = head_of(tree)
            if head is None:
                unreadable += 1
            elif not is_signed(head):
                unsigned += 1
            elif trusted and head.key not in trusted:
                foreign.add(key_id_of(head.key))
            else:
                self.anchors.append(
                    Anchor(head.seq, head.hash, witness, head.at, is_outside, head.previous)
                )
        if unreadable:
            self.notes.append(f"{unreadable} heads of {witness} cannot be read, and count nothing")
        if unsigned:
            self.notes.append(
                f"{unsigned} heads of {witness} have no valid signature, and count nothing"
            )
        if foreign:
            self.notes.append(
                f"heads of {witness} are signed by {', '.join(sorted(foreign))}, which is no key of"
                " this hub; they were not compared"
            )

    def add_decision(self, workload: str, record_id: str, digest: str, at: str) -> None:
        """Adds the decision that a workload's status names."""
        seq = record_id.rpartition("-")[2]
        if digest and seq.isdecimal() and 0 < len(seq) < 18:  # noqa: PLR2004 - as in an anchor
            witness = f"the status of {workload}"
            self.anchors.append(Anchor(int(seq), digest, witness, at, is_outside=False))


def parse_anchor(text: str) -> Anchor:
    """Reads `SEQ:sha256:…`, as `kapok ledger anchor` prints it.

    Raises:
        ValueError: the text has another form.
    """
    match = _ANCHOR.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            f"{text!r} is not an anchor; write SEQ:sha256:… as `kapok ledger anchor` prints it"
        )
    return Anchor(int(match[1]), match[2])


def read_exported_heads(text: str) -> tuple[str, Sequence[object]]:
    """Reads what `kapok-agent --print-heads` printed.

    Returns:
        The name of the witness, and the heads, unchecked.

    Raises:
        ValueError: the text has another form.
    """
    try:
        tree = json.loads(text)
    except RecursionError as error:
        raise ValueError("not the heads of an agent: nested too deeply") from error
    heads = tree.get("heads") if isinstance(tree, Mapping) else None
    if not isinstance(tree, Mapping) or not isinstance(heads, list) or len(heads) > _MAX_HEADS:
        raise ValueError("not the heads of an agent; write them with `kapok-agent --print-heads`")
    return f"site {str(tree.get('site', 'unknown'))[:253]}", heads
