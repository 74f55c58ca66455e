"""`Workload`: what a tenant wants to run, and its status."""

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from scheduler.model.kinds.failover import FailoverStatus
from scheduler.model.kinds.fields import (
    API_VERSION,
    Conditions,
    Count,
    DataClass,
    ImagePlatform,
    Instant,
    Jurisdiction,
    LabelKey,
    Labels,
    Name,
    NameReference,
    NetworkZone,
    Part,
    Priority,
    ProtectionLevel,
    Resources,
    ShortText,
    Toleration,
)
from scheduler.model.kinds.metadata import Metadata
from scheduler.model.kinds.overrides import Overrides
from scheduler.model.kinds.policy import Failover, Identity, Placement, Recovery, Schedule
from scheduler.model.kinds.rebalance import RebalanceStatus
from scheduler.model.kinds.rollout import Rollout, RolloutStatus

Phase = Literal[
    "Pending", "Waiting", "Refused", "Placed", "Running", "Completed", "Degraded", "Deleting"
]
GroupPhase = Literal["Placing", "Running", "Withdrawing"]
OnWithdraw = Literal["Keep", "Delete"]
UpdateStrategy = Literal["Apply", "Recreate", "Refuse"]
OnDrift = Literal["Repair", "Report"]
PreemptionMode = Literal["Never", "LowerPriority"]

MAX_VICTIMS, MAX_PREEMPTED_SITES = 64, 64
"""A preemption ends replicas in at most so many entries, and places at so many sites."""
MAX_EXCEPTIONS = 64
MAX_ENDPOINTS = 64
"""A status lists at most this many sites where not all is ready."""

LAST_EPOCH = 2**30
"""No leader goes above it: half of what `Lease.spec.leaseTransitions` holds stays in reserve."""

MAX_KEPT_EPOCH = 2**20
"""A status gives its epoch up only above it, which no leader reaches by being elected."""

Manifest = Annotated[
    dict[str, Any],
    Meta(
        extra_json_schema={
            "x-kubernetes-preserve-unknown-fields": True,
            "x-kubernetes-embedded-resource": True,
        }
    ),
]


class PodDemand(Part, frozen=True, kw_only=True):
    """The requests of one replica, for custom resources whose pods Kapok cannot read.

    Pods that it can read count beside these.
    """

    replicas: Count = 1
    requests: Resources = msgspec.field(default_factory=dict)
    node_selector: Labels = msgspec.field(default_factory=dict)
    tolerations: Annotated[tuple[Toleration, ...], Meta(max_length=32)] = ()
    anti_affinity: Annotated[
        Literal["", "hostname"], Meta(description="hostname: at most one replica on a node.")
    ] = ""
    gpu_models: Annotated[tuple[ShortText, ...], Meta(max_length=16)] = ()
    pod_template_paths: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=256)], ...],
        Meta(
            max_length=16,
            description="Pod templates in manifests of kinds that Kapok does not know, as "
            "spec.workers[*].template; each counts `replicas` times, a number beside it.",
        ),
    ] = ()


class WorkloadSpec(Part, frozen=True, kw_only=True):
    """What a tenant wants to run."""

    data_class: (
        Annotated[
            DataClass,
            Meta(description="Class of its data (GB/T 43697-2024). Left out: as the scheme says."),
        ]
        | None
    ) = None
    protection_level: (
        Annotated[
            ProtectionLevel,
            Meta(description="Level that a site must be certified for. Left out: as its class."),
        ]
        | None
    ) = None
    network_zones: Annotated[tuple[NetworkZone, ...], Meta(max_length=4)] = ()
    jurisdictions: Annotated[
        tuple[Jurisdiction, ...],
        Meta(
            max_length=64,
            description="Where it may run: CN (mainland), CN-GD, HK, MO. Left out: as its class.",
        ),
    ] = ()
    image_platforms: Annotated[
        tuple[ImagePlatform, ...],
        Meta(max_length=16, description="Platforms of its images. Left out: linux/amd64 only."),
    ] = ()
    priority: Priority = 0
    replicas: (
        Annotated[
            Count,
            Meta(
                description="Number of replicas; overrides the scalable manifest and serves /scale."
            ),
        ]
        | None
    ) = None
    manifests: Annotated[
        tuple[Manifest, ...],
        Meta(max_length=64, description="Kubernetes objects, at most 1 MB in all."),
    ] = ()
    demand: PodDemand | None = None
    policy_ref: NameReference | None = None
    placement: Placement | None = None
    schedule: Schedule | None = None
    failover: Failover | None = None
    recovery: Recovery | None = None
    on_withdraw: Annotated[
        OnWithdraw,
        Meta(
            description="What happens to its claims at a site that it leaves. Keep: they stay, "
            "and status.remains lists them. Delete: they go, with the data. "
            "When the Workload is deleted, its claims go in either case. Claims of the hub that "
            "go along with it go by Delete alone, if all workloads that refer to them say so."
        ),
    ] = "Keep"
    update_strategy: Annotated[
        UpdateStrategy,
        Meta(
            description="What a site does when a field is to change that cannot be changed. "
            "Apply: it names the field, and changes all else. Recreate: it deletes the object and "
            "creates it again, which ends its pods at once; never claims, jobs, or what a "
            "PodDisruptionBudget protects. Refuse: it changes nothing of the workload."
        ),
    ] = "Apply"
    on_drift: Annotated[
        OnDrift,
        Meta(
            description="What a site does when another writer changes an object there. Repair: the "
            "change is set back. Report: it stays until the workload itself changes, and condition "
            "Drifted names the object and the field. What was deleted is made again in either "
            "case, and what another controller owns is left to it."
        ),
    ] = "Repair"
    paused: Annotated[
        bool, Meta(description="Running replicas stay, and no new ones are placed.")
    ] = False
    overrides: Overrides = ()
    preemption: Annotated[
        PreemptionMode,
        Meta(
            description="Whether running work of a lower priority may end when this finds no room. "
            "LowerPriority: the least harmful victims are chosen, at sites that report, and only "
            "if this really fits then; they go back to the queue with their age."
        ),
    ] = "Never"
    rollout: (
        Annotated[
            Rollout,
            Meta(description="Changes go out by groups of sites. Left out: to all at once."),
        ]
        | None
    ) = None


class SiteOrdinals(Part, frozen=True, kw_only=True):
    """The ordinals of a site's replicas, where each site has a range (`identity: Ranges`)."""

    first: Annotated[Count, Meta(description="The lowest ordinal of the site.")] = 0
    waiting_before: Annotated[
        Count,
        Meta(description="So many of the lowest start when no other site can run them any more."),
    ] = 0
    waiting_after: Annotated[
        Count,
        Meta(description="So many of the highest start when no other site can run them any more."),
    ] = 0
    releasing: Annotated[
        Count,
        Meta(description="Ordinals that were taken from the site and may still run there."),
    ] = 0


class NodePin(Part, frozen=True, kw_only=True):
    """What the pod templates of an order require of nodes, as the decision counted them."""

    platforms: Annotated[
        tuple[ShortText, ...],
        Meta(max_length=16, description="Platforms; those of Linux without linux/."),
    ] = ()
    cpu_vendors: Annotated[
        tuple[Annotated[str, Meta(max_length=63)], ...],
        Meta(max_length=64, description="CPU vendors that are permitted. Empty: any."),
    ] = ()
    labels: Annotated[
        tuple[LabelKey, ...],
        Meta(max_length=8, description="The node labels by which pods require them."),
    ] = ()


MAX_PLACED_SITES = 20_000
"""So many sites may one workload be placed on."""


class PlacementGroup(Part, frozen=True, kw_only=True):
    """Sites with the same number of replicas and the same state."""

    sites: Annotated[
        tuple[Name, ...],
        # An object holds no more than 500; the others stand in slices that are put in when read.
        Meta(max_length=MAX_PLACED_SITES, extra_json_schema={"maxItems": 1000}),
    ]
    replicas: Count
    generation: int = 0
    phase: GroupPhase | None = None
    replaced_by: Annotated[tuple[Name, ...], Meta(max_length=64)] = ()
    violates: ShortText = ""
    since: Instant | None = None
    completions: (
        Annotated[
            Count,
            Meta(description="The part of its Job's completions that each of these sites has."),
        ]
        | None
    ) = None
    ordinals: SiteOrdinals | None = None
    pin: (
        Annotated[
            NodePin,
            Meta(description="What its pods require of nodes. None: only what manifests say."),
        ]
        | None
    ) = None
    former: Annotated[
        bool, Meta(description="They have the content before the one that is being rolled out.")
    ] = False


MAX_ACCEPTED_CHARACTERS = 64 * 1024
"""What was accepted and is longer than this, packed, stands in a ControllerRevision."""


class AcceptedReference(Part, frozen=True, kw_only=True):
    """What was accepted last, from which the orders of every site can be made again."""

    generation: Annotated[
        int,
        Meta(ge=0, description="metadata.generation of the spec that was accepted. 0: not known."),
    ] = 0
    digest: Annotated[
        str,
        Meta(
            max_length=71,
            pattern=r"^(sha256:[0-9a-f]{64})?$",
            description="Digest of the content before it was packed.",
        ),
    ] = ""
    content: Annotated[
        str,
        Meta(
            max_length=MAX_ACCEPTED_CHARACTERS,
            description="Spec and demand: JSON, deflated, in base64. Empty: a ControllerRevision "
            "with this digest in its name has it.",
        ),
    ] = ""


ListedDigest = Annotated[
    str, Meta(max_length=80, pattern=r"^sha256:[0-9a-f]{64}(/[1-9][0-9]{0,3})?$")
]
"""The digest of a content, and after a slash the number of its parts if it has several."""


class PlacementStatus(Part, frozen=True, kw_only=True):
    """Where a workload is placed. Sites with equal values share an entry of the atomic list."""

    generation: int = 0
    groups: Annotated[
        tuple[PlacementGroup, ...],
        Meta(max_length=1000, extra_json_schema={"x-kubernetes-list-type": "atomic"}),
    ] = ()
    slices: Annotated[
        int,
        Meta(ge=0, le=1000, description="Above 500 sites: so many slices have groups and orders."),
    ] = 0
    slice_digests: Annotated[
        tuple[Annotated[str, Meta(max_length=71, pattern=r"^sha256:[0-9a-f]{64}$")], ...],
        Meta(
            max_length=64,
            description="Digests of the slices, ControllerRevisions that the workload owns.",
            extra_json_schema={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()
    identity: (
        Annotated[
            Identity,
            Meta(
                description="What applies to its numbered pods. Whole: a site starts them only "
                "when no other runs them. PerSite: its sets are named after their sites. "
                "Ranges: each site runs a range of the ordinals."
            ),
        ]
        | None
    ) = None
    completed: Annotated[
        Count,
        Meta(description="Completions of its Job at sites that finished their part and were left."),
    ] = 0
    orders: Annotated[
        dict[Name, ListedDigest],
        Meta(
            max_length=MAX_PLACED_SITES,
            description="The digest of each site's order, as the index of the site lists it.",
            extra_json_schema={"x-kubernetes-map-type": "atomic", "maxProperties": 1000},
        ),
    ] = msgspec.field(default_factory=dict)


class SiteRemains(Part, frozen=True, kw_only=True):
    """What is left of a workload at a site where it has no replicas any more."""

    site: Name
    claims: Annotated[
        tuple[Name, ...], Meta(max_length=64, description="Claims that are kept there.")
    ] = ()
    message: Annotated[
        str,
        Meta(max_length=1024, description="What is not gone yet. Empty: only the claims."),
    ] = ""
    since: Instant | None = None


class DecisionReference(Part, frozen=True, kw_only=True):
    """The ledger record of the decision."""

    id: ShortText = ""
    hash: ShortText = ""
    line: Annotated[str, Meta(max_length=1024)] = ""
    decided_at: Instant | None = None
    index: (
        Annotated[
            Count,
            Meta(description="Which decision of the record, where it holds several; else absent."),
        ]
        | None
    ) = None

    @property
    def name(self) -> str:
        """What commands take: the id of the record, with `#` and the index where there is one."""
        return self.id if self.index is None else f"{self.id}#{self.index}"


class SiteHealth(Part, frozen=True, kw_only=True):
    """A site where the workload is not fully ready."""

    site: Name
    ready: Count = 0
    silent: Annotated[
        bool, Meta(description="The site does not report, so `ready` is not known.")
    ] = False
    message: Annotated[str, Meta(max_length=1024)] = ""


class Endpoint(Part, frozen=True, kw_only=True):
    """Where a workload is reachable at one site, by a LoadBalancer Service or an Ingress."""

    site: Name
    address: Annotated[str, Meta(max_length=253, description="An IP address or a host name.")]
    port: Annotated[int, Meta(ge=1, le=65_535)]
    ready: Annotated[
        bool,
        Meta(description="The site reports, and has ready pods of it."),
    ] = False
    host: Annotated[
        str, Meta(max_length=253, description="The host name that an Ingress serves there.")
    ] = ""


MAX_PLANNED_SITES = 256
"""A planned start keeps room at so many sites; of more the first ones by name."""


class StartPlan(Part, frozen=True, kw_only=True):
    """The later start that a workload waits for, and what a start would have cost instead."""

    start_at: Instant
    since: Instant
    """When the workload began to wait for a better start."""
    cny_at_once: float | None = None
    """What the whole run would have cost, started then."""
    place: Annotated[
        dict[Name, Count],
        Meta(max_length=MAX_PLANNED_SITES, description="Replicas by site, whose room is kept."),
    ] = msgspec.field(default_factory=dict)


class PreemptingVictim(Part, frozen=True, kw_only=True):
    """Replicas of another workload that are to end, so that this one finds room."""

    workload: Annotated[str, Meta(max_length=317, description="NAMESPACE/NAME")]
    site: Annotated[Name, Meta(description="Where they run.")]
    replicas: Annotated[Count, Meta(description="So many of its replicas end there.")]
    keep: Annotated[Count, Meta(description="So many of its replicas stay there.")] = 0
    priority: Annotated[Priority, Meta(description="Of that workload.")] = 0
    reclaimed: Annotated[
        bool, Meta(description="It used quota that another tenant is guaranteed.")
    ] = False


class PreemptionStatus(Part, frozen=True, kw_only=True):
    """The room that a preemption frees, and since when; it is kept for this workload."""

    since: Annotated[Instant | None, Meta(description="When it was decided.")] = None
    generation: Annotated[int, Meta(ge=0, description="metadata.generation that it is for.")] = 0
    place: Annotated[
        dict[Name, Count],
        Meta(max_length=MAX_PREEMPTED_SITES, description="Replicas by site, when it has ended."),
    ] = msgspec.field(default_factory=dict)


class WorkloadStatus(Part, frozen=True, kw_only=True):
    """The state of a workload."""

    observed_generation: int = 0
    epoch: Annotated[int, Meta(ge=0)] = 0
    incarnation: Annotated[str, Meta(max_length=40, pattern=r"^[a-z0-9]*$")] = ""
    phase: Phase | None = None
    reason: Annotated[str, Meta(max_length=1024)] = ""
    placement: PlacementStatus = PlacementStatus()
    replicas: Count = 0
    ready: Count = 0
    readiness: Annotated[
        str,
        Meta(
            max_length=32,
            description="Ready of desired replicas, for people; `?/6` while a site is silent.",
        ),
    ] = ""
    sites: Annotated[str, Meta(max_length=256, description="Its sites, for people.")] = ""
    selector: Annotated[str, Meta(max_length=1024)] = ""
    exceptions: Annotated[tuple[SiteHealth, ...], Meta(max_length=MAX_EXCEPTIONS)] = ()
    endpoints: Annotated[
        tuple[Endpoint, ...],
        Meta(
            max_length=MAX_ENDPOINTS,
            description="Where it is reachable, by site; to be followed by DNS and load balancers.",
            extra_json_schema={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()
    endpoints_left_out: Annotated[
        int, Meta(ge=0, description="How many more endpoints it has than are listed.")
    ] = 0
    remains: Annotated[
        tuple[SiteRemains, ...],
        Meta(
            max_length=256,
            description="What is left at sites that it has left.",
            extra_json_schema={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()
    last_group: Annotated[
        str, Meta(max_length=128, description="The site group that was used last.")
    ] = ""
    plan: Annotated[StartPlan | None, Meta(description="The later start that it waits for.")] = None
    decision: DecisionReference | None = None
    failover: FailoverStatus | None = None
    accepted: AcceptedReference | None = None
    preempting: Annotated[
        tuple[PreemptingVictim, ...],
        Meta(
            max_length=MAX_VICTIMS,
            description="What ends for this workload, until it is placed.",
            extra_json_schema={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()
    preemption: Annotated[
        PreemptionStatus | None,
        Meta(description="The room that is kept while what is in preempting ends."),
    ] = None
    rollout: Annotated[
        RolloutStatus | None, Meta(description="How far the last change has gone out.")
    ] = None
    rebalance: Annotated[
        RebalanceStatus | None, Meta(description="Its last move that was made to save cost.")
    ] = None
    former_accepted: Annotated[
        AcceptedReference | None,
        Meta(description="The last good content, while a rollout has not replaced it everywhere."),
    ] = None
    conditions: Conditions = ()


class Workload(Part, frozen=True, kw_only=True):
    """What a tenant wants to run: workloads.kapok.dev; Kueue and Kubernetes have a Workload too."""

    KIND: ClassVar[str] = "Workload"

    api_version: str = API_VERSION
    kind: str = "Workload"
    metadata: Metadata = Metadata()
    spec: WorkloadSpec = WorkloadSpec()
    status: WorkloadStatus = WorkloadStatus()
