"""What replicas of one hub must share: the key that signs orders, and the ledger.

The leader writes both into annotations of the Lease. A replica that has another key or another
ledger neither stands by nor takes over, and says which of the two it is: after a take-over with
another key all sites would refuse its orders, and with another ledger nothing of before could be
explained. A single scheduler that was killed finds its own Lease, which no client renews, and
waits until it expires.
"""

from dataclasses import dataclass, field

from scheduler.control.ports.hub import Object

KEY_ANNOTATION = "kapok.dev/hub-key"
"""Annotation of the Lease: the public key by which agents verify the leader's orders."""
LEDGER_ANNOTATION = "kapok.dev/ledger"
"""Annotation of the Lease: which shared ledger the leader has; empty: a file of its own."""


class StandbyRefused(Exception):
    """This scheduler cannot be a replica beside the one that leads; the message says why."""


@dataclass(slots=True, kw_only=True)
class ReplicaIdentity:
    """What this scheduler brings into a group of replicas.

    Attributes:
        key: its public signing key.
        ledger: which shared ledger it has; "": a file of its own.
    """

    key: str
    ledger: str = ""
    _seen: tuple[str, str] = field(default=("", ""), init=False)

    @property
    def annotations(self) -> dict[str, str]:
        """What a leader says about itself in the Lease."""
        return {KEY_ANNOTATION: self.key, LEDGER_ANNOTATION: self.ledger}

    def check_standby(self, lease: Object) -> None:
        """Checks that this scheduler may stand by while another one holds the Lease.

        Args:
            lease: the Lease, as it was read now.

        Raises:
            StandbyRefused: it may not.
        """
        self.check_key(lease)
        spec = lease.get("spec") or {}
        holder, renewed = str(spec.get("holderIdentity") or ""), str(spec.get("renewTime") or "")
        is_renewed = self._seen[0] == holder and self._seen[1] != renewed
        self._seen = (holder, renewed)
        if not is_renewed:
            return  # it may have ended, and the Lease expires
        leaders_ledger = _annotations_of(lease).get(LEDGER_ANNOTATION, "")
        if not self.ledger:
            raise StandbyRefused(
                f"{holder} leads, and this scheduler keeps its ledger in a file: more than one"
                " replica needs ledger.url, one PostgreSQL for all of them; name it in the settings"
                " of each, or stop one of the two"
            )
        if not leaders_ledger:
            raise StandbyRefused(
                f"{holder} leads and keeps its ledger in a file, and this scheduler has a database"
                " in ledger.url: stop it, bring its records over with `kapok ledger move`, and"
                " start it again with the same ledger.url"
            )
        if leaders_ledger != self.ledger:
            raise StandbyRefused(
                f"{holder} leads with the ledger {leaders_ledger}, and ledger.url of this scheduler"
                f" names the ledger {self.ledger}: name the same database in the settings of both"
            )

    def check_key(self, lease: Object) -> None:
        """Checks that agents would accept what this scheduler signs.

        Raises:
            StandbyRefused: the one that leads, or led last, signs with another key.
        """
        leaders_key = leaders_key_of(lease)
        if leaders_key and leaders_key != self.key:
            raise StandbyRefused(
                f"the hub's orders are signed by {leaders_key}, and this scheduler has the key"
                f" {self.key}: give all replicas one key, with hub.signing_key_secret or"
                " hub.signing_key_file; if agents are to trust this one from now on, run `kapok hub"
                " adopt --lost keys`"
            )


def leaders_key_of(lease: Object) -> str:
    """The public key of the one that leads, or led last; "" when the Lease does not say."""
    return _annotations_of(lease).get(KEY_ANNOTATION, "")


def _annotations_of(lease: Object) -> dict[str, str]:
    annotations = (lease.get("metadata") or {}).get("annotations") or {}
    return {str(key): str(value) for key, value in annotations.items()}
