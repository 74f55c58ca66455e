"""What stays known of a cluster that does not answer its agent any more."""

from dataclasses import replace

import msgspec

from scheduler.control.ports.agents import SiteReport
from scheduler.model.kinds.kinds import Site
from scheduler.runtime.clock import Clock


def with_last_figures(
    report: SiteReport, *, known: SiteReport | None, site: Site | None, clock: Clock
) -> SiteReport:
    """A report of an agent whose cluster does not answer, with what was known of the cluster.

    Without nodes and kinds every rule about them would refuse the site, as if it had none.

    Args:
        report: what the agent says.
        known: the last report of this process.
        site: its object, with what an earlier process wrote.
        clock: for the age of that.
    """
    if known is not None:
        return replace(
            known,
            sent_seconds=report.sent_seconds,
            interval_seconds=report.interval_seconds,
            is_new_boot=report.is_new_boot,
            is_cluster_reachable=False,
            cluster_problem=report.cluster_problem,
            missing=report.missing,
            sealing_key=report.sealing_key or known.sealing_key,
        )
    if site is None or site.status.observed_at is None:
        return report
    age = (clock.now() - site.status.observed_at).total_seconds()
    figures = msgspec.structs.replace(
        report.figures,
        node_classes=site.status.node_classes,
        api_kinds=site.status.api_kinds,
        cluster_kinds=site.status.cluster_kinds,
    )
    return replace(report, figures=figures, observed_seconds=clock.monotonic() - max(0.0, age))
