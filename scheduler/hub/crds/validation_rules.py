"""The parts of the CRDs that types cannot express: CEL rules, list types, columns, scale paths.

The rules use core CEL only (no `quantity()`, `isURL()`, `format`), so that they run in the embedded
hub and in a real API server alike. Each message says what to write instead. A rule cannot see
other objects (a missing policy, a spread that no fleet can meet), and some refusals have a reason
slug of their own (the classified zone, core data, no class). These are no schema errors: the hub
accepts the object, and condition `Accepted` or phase `Refused` explains why it is not placed.
"""

from typing import Any

from scheduler.model.jurisdictions import PROVINCES, REFUSED_BY_SCHEMA, REPLACEMENT_CODES
from scheduler.model.kinds.site import RESERVED_NAMES
from scheduler.model.kinds.workload import MAX_KEPT_EPOCH

# apimachinery's resource.Quantity without a minus: requests and free capacity are not negative.
_NUMBER_PATTERN = r"([0-9]+(\.[0-9]*)?|\.[0-9]+)"
QUANTITY_PATTERN = rf"^\+?{_NUMBER_PATTERN}([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?$"
"""Matches a Kubernetes quantity that is not negative."""

_VALIDATIONS = "x-kubernetes-validations"
# Hong Kong and Macao pass here: their own rules say what to write.
_PROVINCE_PATTERN = f"^({'|'.join((*PROVINCES, *REFUSED_BY_SCHEMA))})$"


def _rule(rule: str, message: str) -> dict[str, str]:
    return {"rule": rule, "message": message}


def _rules(*rules: dict[str, str]) -> dict[str, Any]:
    return {_VALIDATIONS: list(rules)}


def _mainland_only_rules(field: str, condition: str = "") -> list[dict[str, str]]:
    """A rule for each place with a code of its own, and one for codes that no province has."""
    return [
        _rule(
            f"{condition}{field} != '{code}'",
            f"write {REPLACEMENT_CODES[code]}: {place} is a jurisdiction of its own,"
            " CN means the mainland",
        )
        for code, place in REFUSED_BY_SCHEMA.items()
    ] + [
        _rule(
            f"{condition}(!{field}.startsWith('CN-') || {field}.matches('{_PROVINCE_PATTERN}'))",
            "no province has this code: write CN, or CN-GD and the like (ISO 3166-2:CN)",
        )
    ]


_MAINLAND_ONLY_ITEM = _rules(*_mainland_only_rules("self"))

_MEASURED = _rules(
    _rule(
        "self.measure != 'pue' || self.value >= 1.0",
        "a PUE is total over IT power, so it is not below 1: check what was measured",
    ),
    _rule(
        "self.measure != 'renewable-share' || self.value <= 1.0",
        "renewable-share is a share of 0 to 1: write 0.3 for 30 percent",
    ),
)

_RECOVERED_IN_TIME = _rule(
    "!has(self.recovery) || !has(self.recovery.rtoSeconds) || !has(self.failover)"
    " || !has(self.failover.afterSeconds)"
    " || self.failover.afterSeconds < self.recovery.rtoSeconds",
    "failover.afterSeconds must be shorter than recovery.rtoSeconds: nothing is replaced before it"
    " is over",
)

STRUCT_RULES: dict[str, dict[str, Any]] = {
    "PolicySpec": _rules(_RECOVERED_IN_TIME),
    "ClusterPolicySpec": _rules(_RECOVERED_IN_TIME),
    "WorkloadSpec": _rules(
        _RECOVERED_IN_TIME,
        _rule(
            "!(has(self.policyRef) && has(self.placement))",
            "set either policyRef or placement: write the placement into the policy, or remove"
            " policyRef",
        ),
    ),
    "Schedule": _rules(
        _rule(
            "!has(self.earliest) || !has(self.deadline) || self.earliest < self.deadline",
            "deadline must be later than earliest",
        ),
    ),
    "SitePrices": _rules(
        _rule(
            "!has(self.tariff) || size(self.tariff) == 0 || (has(self.energyCnyPerKwh)"
            " && self.tariff.all(each, each.energyCnyPerKwh <= self.energyCnyPerKwh))",
            "energyCnyPerKwh must be the highest price; list only cheaper hours in tariff",
        ),
    ),
    "EnergyLimit": _rules(
        _rule(
            "!has(self.from) || !has(self.until) || self.from < self.until",
            "until must be later than from",
        ),
        _rule(
            "self.measure != 'pue' || self.limit >= 1.0",
            "a PUE is total over IT power, so a limit below 1 can never be met",
        ),
        _rule(
            "self.measure != 'renewable-share' || self.limit <= 1.0",
            "renewable-share is a share of 0 to 1: write 0.3 for 30 percent",
        ),
    ),
    "EnergyMeasurement": _MEASURED,
    "InspectedFigure": _MEASURED,
    "MaintenanceWindow": _rules(
        _rule("self.from < self.until", "until must be later than from"),
    ),
    "TariffHours": _rules(
        _rule("self.fromHour != self.toHour", "toHour must differ from fromHour"),
    ),
    "Spread": _rules(
        _rule(
            "!has(self.maxGroups) || !has(self.minGroups) || self.minGroups <= self.maxGroups",
            "minGroups must not exceed maxGroups: lower minGroups or remove maxGroups",
        ),
    ),
    "SiteGroup": _rules(
        _rule(
            "has(self.siteSelector) || (has(self.sites) && size(self.sites) > 0)",
            "set sites or siteSelector ({} matches every site)",
        ),
    ),
    "Requirement": _rules(
        _rule(
            "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0"
            " : !has(self.values) || size(self.values) == 0",
            "operators In and NotIn need values; Exists and DoesNotExist must have none",
        ),
    ),
    "Toleration": _rules(
        _rule(
            "!has(self.operator) || self.operator != 'Exists' || !has(self.value)"
            " || self.value == ''",
            "operator Exists must have no value: remove value, or write operator: Equal",
        ),
        _rule(
            "(has(self.key) && self.key != '')"
            " || (has(self.operator) && self.operator == 'Exists')",
            "a toleration without a key needs operator: Exists",
        ),
    ),
    "Delivery": _rules(
        _rule(
            "has(self.mode) && self.mode == 'Push'"
            " ? has(self.kubeconfigSecretRef) != has(self.clusterProfileRef)"
            " : !has(self.kubeconfigSecretRef) && !has(self.clusterProfileRef)",
            "mode Push needs exactly one of kubeconfigSecretRef and clusterProfileRef; mode Pull"
            " needs neither",
        ),
    ),
    "SiteGrantSpec": _rules(
        _rule(
            "!has(self.validFrom) || !has(self.validUntil) || self.validFrom < self.validUntil",
            "validUntil must be later than validFrom",
        ),
        _rule(
            "!has(self.networkZones) || !('classified' in self.networkZones)",
            "remove classified: a site of Kapok must not be on a classified network",
        ),
        *_mainland_only_rules("self.jurisdiction", condition="!has(self.jurisdiction) || "),
    ),
    "TenantSpec": _rules(
        *_mainland_only_rules("self.jurisdiction", condition="!has(self.jurisdiction) || "),
    ),
    "LabelSelector": {"x-kubernetes-map-type": "atomic"},
}
"""Rules on a Struct, by its name, in every place where it is used."""

ROOT_RULES: dict[str, dict[str, Any]] = {
    "Site": _rules(
        *(
            _rule(
                f"self.metadata.name != '{name}'",
                f"choose another name: {name} is the scheduler's own user name at the broker",
            )
            for name in sorted(RESERVED_NAMES)
        )
    ),
    "Workload": _rules(
        _rule(
            "!has(oldSelf.status) || !has(oldSelf.status.epoch)"
            " || (has(self.status) && has(self.status.epoch)"
            " ? self.status.epoch >= oldSelf.status.epoch"
            f" : oldSelf.status.epoch > {MAX_KEPT_EPOCH})",
            "status.epoch must not decrease: a newer leader has written this status; read the"
            " object again and stop writing as the older leader",
        ),
        _rule(
            "!has(oldSelf.status) || !has(oldSelf.status.incarnation)"
            " || oldSelf.status.incarnation == ''"
            " || (has(self.status) && has(self.status.incarnation)"
            " && self.status.incarnation == oldSelf.status.incarnation)",
            "status.incarnation must not change: the sites know the workload's orders by it; leave"
            " it as it is, or delete the workload and create it again",
        ),
    ),
}
"""Rules on a whole object, by kind. The hub refuses the write of a former leader by them.

No leader writes a status without an epoch. `kapok hub adopt --epoch` does, and then sets a lower
one, to repair a status at the end of the epochs; so only one that high may be removed.
"""

_AGENT_KEY = _rules(
    _rule(
        r"self.matches('^(ed25519|sm2):[A-Za-z0-9+/]{42,88}={0,2}$')",
        "write ed25519: and the base64 of the 32 raw bytes, as `kapok get sites --pending` shows",
    ),
)

ITEM_RULES: dict[tuple[str, str], dict[str, Any]] = {
    ("WorkloadSpec", "jurisdictions"): _MAINLAND_ONLY_ITEM,
    ("DataClassRule", "jurisdictions"): _MAINLAND_ONLY_ITEM,
    ("Delivery", "agentKeys"): _AGENT_KEY,
}
"""Rules on each item of a list, by (Struct, field name in YAML)."""

_SET_LIST = {"x-kubernetes-list-type": "set"}


def _map_list_by(key: str) -> dict[str, Any]:
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


LIST_TYPES: dict[tuple[str, str], dict[str, Any]] = {
    ("WorkloadSpec", "networkZones"): _SET_LIST,
    ("WorkloadSpec", "jurisdictions"): _SET_LIST,
    ("WorkloadSpec", "imagePlatforms"): _SET_LIST,
    ("Delivery", "agentKeys"): _SET_LIST,
    ("SiteGrantSpec", "sites"): _SET_LIST,
    ("SiteGrantSpec", "networkZones"): _SET_LIST,
    ("SiteGrantSpec", "cpuVendors"): _SET_LIST,
    ("SiteGrantSpec", "allowList"): _SET_LIST,
    ("DataClassRule", "jurisdictions"): _SET_LIST,
    ("DataClassSchemeSpec", "classes"): _map_list_by("name"),
    ("TenantSpec", "namespaces"): _SET_LIST,
    ("TenantSpec", "classes"): _SET_LIST,
    ("TenantSpec", "clusterKinds"): _SET_LIST,
    ("TenantSpec", "extraNamespaces"): _SET_LIST,
    ("Placement", "weights"): _map_list_by("site"),
    ("Placement", "siteGroups"): _map_list_by("name"),
    ("WorkloadStatus", "conditions"): _map_list_by("type"),
    ("SiteStatus", "conditions"): _map_list_by("type"),
    ("TenantStatus", "conditions"): _map_list_by("type"),
    ("PolicyStatus", "conditions"): _map_list_by("type"),
}
"""Lists that are merged by item, by (Struct, field name in YAML); all other lists are atomic."""

PRINTER_COLUMNS: dict[str, list[dict[str, Any]]] = {
    "Workload": [
        {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
        {"name": "Class", "type": "string", "jsonPath": ".spec.dataClass"},
        {"name": "Sites", "type": "string", "jsonPath": ".status.sites"},
        {"name": "Ready", "type": "string", "jsonPath": ".status.readiness"},
        {"name": "Reason", "type": "string", "jsonPath": ".status.reason"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {
            "name": "Decision",
            "type": "string",
            "jsonPath": ".status.decision.id",
            "priority": 1,
        },
    ],
    "Site": [
        {
            "name": "Ready",
            "type": "string",
            "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
        },
        {"name": "Tier", "type": "string", "jsonPath": ".spec.tier"},
        {"name": "Province", "type": "string", "jsonPath": ".spec.location.province"},
        {"name": "Free-CPU", "type": "string", "jsonPath": ".status.freeCpu"},
        {
            "name": "Intensity",
            "type": "string",
            "description": "gCO2e per kWh; ?: not known",
            "jsonPath": ".status.currentIntensity",
        },
        {"name": "Report-Age", "type": "date", "jsonPath": ".status.observedAt"},
        {
            "name": "Operations",
            "type": "string",
            "description": "Why it takes no new work; empty: it does",
            "jsonPath": '.status.conditions[?(@.type=="Schedulable")].reason',
            "priority": 1,
        },
        {
            "name": "Health",
            "type": "string",
            "description": "Reporting, Late, Silent, Lost or ClusterUnreachable",
            "jsonPath": '.status.conditions[?(@.type=="Ready")].reason',
            "priority": 1,
        },
        {
            "name": "Freshness",
            "type": "string",
            "description": "NoNonce: an agent cannot prove that its reports are fresh",
            "jsonPath": '.status.conditions[?(@.type=="FreshnessProven")].reason',
            "priority": 1,
        },
    ],
    "SiteGrant": [
        {"name": "Class", "type": "string", "jsonPath": ".spec.dataClass"},
        {"name": "Level", "type": "integer", "jsonPath": ".spec.protectionLevel"},
        {"name": "Jurisdiction", "type": "string", "jsonPath": ".spec.jurisdiction"},
        {"name": "Until", "type": "string", "jsonPath": ".spec.validUntil"},
        {"name": "Authority", "type": "string", "jsonPath": ".spec.authority", "priority": 1},
    ],
    "DataClassScheme": [
        {"name": "Unlabelled", "type": "string", "jsonPath": ".spec.unlabelled"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ],
    "Tenant": [
        {"name": "Namespaces", "type": "string", "jsonPath": ".spec.namespaces"},
        {"name": "Weight", "type": "number", "jsonPath": ".spec.weight"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ],
    "PlacementPolicy": [
        {"name": "Strategy", "type": "string", "jsonPath": ".spec.placement.strategy"},
        {"name": "Preset", "type": "string", "jsonPath": ".spec.placement.preset"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ],
    "ClusterPlacementPolicy": [
        {"name": "Strategy", "type": "string", "jsonPath": ".spec.placement.strategy"},
        {"name": "Preset", "type": "string", "jsonPath": ".spec.placement.preset"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ],
}
"""The columns that `kubectl get` prints, by kind."""

SCALE_SUBRESOURCES: dict[str, dict[str, str]] = {
    "Workload": {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    },
}
"""The scale subresources, for `kubectl scale` and autoscalers, by kind."""
