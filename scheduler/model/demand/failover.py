"""Which failover applies to a workload: its own, that of its policy, and those of cluster policies.

Cluster policies only tighten: a mode that asks for more caution counts, and so does a longer time.
Of the times after which replicas that are not ready are replaced, 0 (never) is the longest.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from scheduler.model.kinds.policy import Failover, FailoverMode, OnReturn

_CAUTION: Final[tuple[FailoverMode, ...]] = ("Automatic", "Manual", "Fenced")


class FailoverRules(NamedTuple):
    """What applies to one workload; a time that is None: as the settings say.

    `unready_after_seconds` 0: replicas that are not ready are never replaced.
    """

    mode: FailoverMode
    after_seconds: int | None
    on_return: OnReturn
    unready_after_seconds: int | None = None

    @property
    def is_automatic(self) -> bool:
        """Whether replicas are replaced without an operator's word; Fenced acts as Manual."""
        return self.mode == "Automatic"


def failover_rules(
    own: Failover | None, policy: Failover, shared: Iterable[Failover], *, has_state: bool
) -> FailoverRules:
    """The failover that applies to a workload.

    Args:
        own: of its spec, which replaces that of the policy whole; None: it says nothing.
        policy: of the policy that it names.
        shared: of the cluster policies that apply to it.
        has_state: it has a StatefulSet, claims or data on its nodes.
    """
    base, others = own or policy, tuple(shared)
    modes = [base.mode or ("Manual" if has_state else "Automatic")]
    modes += [one.mode for one in others if one.mode is not None]
    times = [one.after_seconds for one in (base, *others) if one.after_seconds is not None]
    unready = [one.unready_after_seconds for one in (base, *others)]
    waits = [seconds for seconds in unready if seconds is not None]
    returns = (one.on_return for one in (base, *others) if one.on_return is not None)
    return FailoverRules(
        mode=max(modes, key=_CAUTION.index),
        after_seconds=max(times) if times else None,
        on_return=next(returns, "Keep"),
        unready_after_seconds=(0 if 0 in waits else max(waits)) if waits else None,
    )
