"""What a decision knows of a rollout: its rules, how far it is, and how its sites are."""

from typing import Literal

from scheduler.model.kinds.fields import Instant, Part
from scheduler.model.kinds.rollout import Rollout, RolloutPhase

RolloutWord = Literal["", "pause", "resume", "undo"]
SiteProgress = Literal["placing", "ready", "failed", "silent"]


class RolloutSite(Part, frozen=True, kw_only=True):
    """A site that has replicas of a workload while its content is rolled out."""

    site: str
    replicas: int
    former: bool = False
    """It has the former content."""
    progress: SiteProgress = "placing"
    """Of the content that it is to have."""
    surge: int = 0
    """So many pods more than replicas run there while the content changes."""


class RolloutQuestion(Part, frozen=True, kw_only=True):
    """The inputs of a decision about a rollout."""

    rules: Rollout
    starts: bool = False
    """The content has changed: it goes out from the first group on."""
    is_back: bool = False
    """The content has become the former one again, so that nothing is left to try."""
    phase: RolloutPhase = "Progressing"
    released: int = 0
    since: Instant | None = None
    """When the last group got the new content."""
    ready_since: Instant | None = None
    """Since when enough of its replicas are ready."""
    sites: tuple[RolloutSite, ...] = ()
    """Where it runs, by name."""
    word: RolloutWord = ""
    """What `kapok rollout` asks for now."""
    former_is_complete: bool = True
    """The former content is known in full; without that, only sites that have it can keep it."""
