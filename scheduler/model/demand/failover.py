"""Which failover and recovery apply to a workload: its own, its policy's, and those of the cluster.

Cluster policies only tighten: a mode that asks for more caution counts, and so does a longer time
of failover or a shorter time of recovery. Of the times after which replicas that are not ready are
replaced, 0 (never) is the longest.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from scheduler.model.kinds.policy import (
    ClusterPlacementPolicy,
    Failover,
    FailoverMode,
    OnReturn,
    PlacementPolicy,
    PolicySpec,
    Recovery,
)
from scheduler.model.kinds.workload import WorkloadSpec

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


def recovery_asked(own: Recovery | None, policy: Recovery, shared: Iterable[Recovery]) -> Recovery:
    """The recovery that is asked of a workload; a time that nothing states is None.

    Args:
        own: of its spec, which replaces that of the policy whole; None: it says nothing.
        policy: of the policy that it names.
        shared: of the cluster policies that apply to it.
    """
    every = (own or policy, *shared)
    return Recovery(
        rto_seconds=min((s for one in every if (s := one.rto_seconds) is not None), default=None),
        rpo_seconds=min((s for one in every if (s := one.rpo_seconds) is not None), default=None),
    )


def recovery_by(
    spec: WorkloadSpec, policies: Iterable[PlacementPolicy | ClusterPlacementPolicy]
) -> Recovery:
    """The recovery that is asked of a workload with this spec.

    Args:
        spec: its spec.
        policies: those that apply to it: the one that it names, and those of the cluster.
    """
    named, shared = PolicySpec(), list[Recovery]()
    for one in policies:
        if isinstance(one, PlacementPolicy):
            named = one.spec
        else:
            shared.append(one.spec.recovery)
    return recovery_asked(spec.recovery, named.recovery, shared)
