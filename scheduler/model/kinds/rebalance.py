"""`spec.rebalance` of a policy: running work moves to save cost, within a budget of moves."""

from typing import Annotated, Literal

from msgspec import Meta

from scheduler.model.kinds.fields import Count, Instant, NotNegative, Part

RebalanceMode = Literal["Off", "Advise", "Auto"]

DEFAULT_MOVES_PER_HOUR = 10


class RebalanceBudget(Part, frozen=True, kw_only=True):
    """Which moves of running replicas are worth it, and how many there may be."""

    mode: Annotated[
        RebalanceMode,
        Meta(
            description="Off (default): nothing moves to save cost. Advise: an event says what "
            "would move and save. Auto: it moves, the replacement first."
        ),
    ] = "Off"
    moves_per_hour: Annotated[
        Count | None,
        Meta(description="So many replicas of all workloads of the policy move in an hour: 10."),
    ] = None
    max_moves_per_hour: Annotated[
        Count | None, Meta(description="The former name of movesPerHour, which counts before it.")
    ] = None
    min_saving_cny_per_move: Annotated[
        NotNegative | None,
        Meta(description="Least saving of a moved replica in a day, less the cost of the move."),
    ] = None
    min_saving_gco2_per_move: Annotated[
        NotNegative | None,
        Meta(description="The same in gCO2e. If both are given, one that is met is enough."),
    ] = None

    @property
    def moves(self) -> int:
        """The most replicas that move in an hour."""
        known = (self.moves_per_hour, self.max_moves_per_hour)
        return next((one for one in known if one is not None), DEFAULT_MOVES_PER_HOUR)


class RebalanceStatus(Part, frozen=True, kw_only=True):
    """The last move of a workload that was made to save cost."""

    at: Annotated[Instant | None, Meta(description="When it was decided.")] = None
    replicas: Annotated[Count, Meta(description="So many replicas moved.")] = 0
    saved_cny: Annotated[
        float, Meta(description="What that saves in a day, less the cost of the move, in CNY.")
    ] = 0.0
    saved_gco2: Annotated[float, Meta(description="The same in gCO2e.")] = 0.0
