"""Whether replicas of silent sites may be replaced now, and at which rate.

The loop of failover asks a gate before it orders any replacement. A gate that is shut ends nothing
that began: what runs goes on, and the moves that wait are planned again when the gate opens.
"""

from typing import Protocol


class EvictionGate(Protocol):
    """Holds evictions back. All of it answers at once and awaits nothing.

    A replacement is what is ordered for one workload because of one site that it is evicted from,
    whatever the number of its replicas.
    """

    def why_not(self, site: str) -> str:
        """Why nothing is evicted from this site now, as a sentence; empty: it may be evicted."""
        ...

    def after_ratio(self, site: str) -> float:
        """How many times `afterSeconds` a site must be silent; 1, or more in a lost domain."""
        ...

    def take(self, most: int) -> int:
        """How many replacements may start now at the budgeted rate, at most `most`.

        What is answered counts as started. It is asked only for sites for which `why_not` is empty.
        """
        ...

    def next_seconds(self) -> float | None:
        """In how many seconds to ask again, when something was held back; None: on events only."""
        ...


class OpenGate:
    """A gate that holds nothing back."""

    def why_not(self, site: str) -> str:  # noqa: ARG002 - the protocol
        """Nothing is held back."""
        return ""

    def after_ratio(self, site: str) -> float:  # noqa: ARG002 - the protocol
        """No site has to be silent for longer."""
        return 1.0

    def take(self, most: int) -> int:
        """All may start."""
        return most

    def next_seconds(self) -> float | None:
        """There is nothing to wait for."""
        return None
