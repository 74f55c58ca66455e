"""`Workload.spec.rollout`: a changed content goes out by groups of sites, and what became of it."""

from typing import Annotated, Literal

from msgspec import Meta

from scheduler.model.kinds.fields import Count, Instant, LabelSelector, Part, Seconds, ShortText

RolloutPhase = Literal["Progressing", "Paused", "RolledBack", "Complete"]
OnFailure = Literal["Pause", "Rollback"]

MAX_ROLLOUT_GROUPS = 32
REST = "the rest"
"""The name of the last group: the sites that no group of the spec takes."""

Share = Annotated[float, Meta(gt=0, le=1)]


class RolloutGroup(Part, frozen=True, kw_only=True):
    """Sites that get a changed content together."""

    name: Annotated[
        ShortText, Meta(description="For people. Left out: its number, as in group 2.")
    ] = ""
    site_selector: (
        Annotated[
            LabelSelector,
            Meta(description="Its sites by their labels. Left out: of those no selector takes."),
        ]
        | None
    ) = None
    share: (
        Annotated[
            Share,
            Meta(description="The share of these sites, rounded up. Left out: all of them."),
        ]
        | None
    ) = None


class Rollout(Part, frozen=True, kw_only=True):
    """How a changed content goes out over the sites of a workload."""

    groups: Annotated[
        tuple[RolloutGroup, ...],
        Meta(
            max_length=MAX_ROLLOUT_GROUPS,
            description="In this order. Sites that no group takes are the last group.",
        ),
    ] = ()
    success_ready_ratio: Annotated[
        Share,
        Meta(description="Share of the replicas with the new content that must be ready."),
    ] = 1.0
    soak_seconds: Annotated[
        Seconds, Meta(description="For so long they must be ready before the next group.")
    ] = 0
    progress_deadline_seconds: Annotated[
        Seconds, Meta(description="A group that is not ready after so long has failed.")
    ] = 600
    on_failure: Annotated[
        OnFailure,
        Meta(
            description="When a group fails. Pause: later groups keep the former content, until "
            "someone resumes or undoes. Rollback: all sites get the former content back. A site "
            "that is silent proves nothing, and only ever pauses."
        ),
    ] = "Pause"


class RolloutStatus(Part, frozen=True, kw_only=True):
    """The state of a rollout."""

    phase: (
        Annotated[
            RolloutPhase,
            Meta(
                description="Progressing; Paused (it stays as it is); RolledBack (all sites have "
                "the former content); Complete."
            ),
        ]
        | None
    ) = None
    released: Annotated[Count, Meta(description="So many groups have the new content.")] = 0
    groups: Annotated[Count, Meta(description="So many groups there are.")] = 0
    group: Annotated[str, Meta(max_length=128, description="The group that got it last.")] = ""
    updated_sites: Annotated[Count, Meta(description="Sites with the new content.")] = 0
    total_sites: Annotated[Count, Meta(description="Sites in all.")] = 0
    since: Annotated[Instant | None, Meta(description="When the last group got it.")] = None
    ready_since: Annotated[
        Instant | None, Meta(description="Since when enough replicas of it are ready.")
    ] = None
    because: Annotated[str, Meta(max_length=1024, description="Why it is where it is.")] = ""
    waits_for: Annotated[str, Meta(max_length=1024, description="What it waits for.")] = ""
    generation: Annotated[
        int, Meta(ge=0, description="metadata.generation of the change that goes out.")
    ] = 0
    word: Annotated[
        str, Meta(max_length=64, description="The last word of kapok rollout that was followed.")
    ] = ""
