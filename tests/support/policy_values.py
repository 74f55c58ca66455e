"""Two values of every field of the policies."""

from tests.support.sites import Raw

SELECTOR = (
    {
        "matchLabels": {"a": "1"},
        "matchExpressions": [{"key": "k", "operator": "In", "values": ["v"]}],
    },
    {
        "matchLabels": {"a": "2"},
        "matchExpressions": [{"key": "l", "operator": "NotIn", "values": ["w"]}],
    },
)
PLACEMENT: tuple[Raw, Raw] = (
    {
        "preset": "green-batch",
        "presetOptions": {"pairWithinMilliseconds": 3, "standbyRatio": 0.5},
        "strategy": "Balanced",
        "mode": "Steady",
        "identity": "Whole",
        "onViolation": "Report",
        "weights": [{"site": "m1", "weight": 1}],
        "gang": False,
        "siteSelector": SELECTOR[0],
        "siteTolerations": [
            {
                "key": "k",
                "operator": "Equal",
                "value": "v",
                "effect": "NoExecute",
                "tolerationSeconds": 5,
            }
        ],
        "siteGroups": [{"name": "g", "sites": ["m1"], "siteSelector": SELECTOR[0]}],
        "spread": [
            {"by": "city", "minGroups": 1, "maxGroups": 4, "maxPerGroup": 9, "required": True}
        ],
        "latency": [{"from": "m1", "withinMilliseconds": 5}],
        "affinity": [{"kind": "With", "selector": SELECTOR[0], "by": "site", "required": True}],
        "cpuVendors": ["hygon"],
        "prices": {
            "carbonCnyPerKg": 1,
            "latencyCnyPerMillisecondHour": 1,
            "valueCnyPerReplicaHour": 1,
            "waitingCnyPerHour": 1,
            "movingCnyPerGibibyte": 1,
        },
        "data": [{"at": "m1", "gibibytes": 1}],
    },
    {
        "preset": "edge-everywhere",
        "presetOptions": {"pairWithinMilliseconds": 4, "standbyRatio": 0.6},
        "strategy": "Weighted",
        "mode": "Fresh",
        "identity": "PerSite",
        "onViolation": "Move",
        "weights": [{"site": "m2", "weight": 2}],
        "gang": True,
        "siteSelector": SELECTOR[1],
        "siteTolerations": [
            {
                "key": "l",
                "operator": "Exists",
                "value": "w",
                "effect": "NoSchedule",
                "tolerationSeconds": 6,
            }
        ],
        "siteGroups": [{"name": "h", "sites": ["m2"], "siteSelector": SELECTOR[1]}],
        "spread": [
            {"by": "metro", "minGroups": 2, "maxGroups": 3, "maxPerGroup": 8, "required": False}
        ],
        "latency": [{"from": "m2", "withinMilliseconds": 6}],
        "affinity": [{"kind": "Apart", "selector": SELECTOR[1], "by": "city", "required": False}],
        "cpuVendors": ["kunpeng"],
        "prices": {
            "carbonCnyPerKg": 2,
            "latencyCnyPerMillisecondHour": 2,
            "valueCnyPerReplicaHour": 2,
            "waitingCnyPerHour": 2,
            "movingCnyPerGibibyte": 2,
        },
        "data": [{"at": "m2", "gibibytes": 2}],
    },
)
POLICY: tuple[Raw, Raw] = (
    {
        "placement": PLACEMENT[0],
        "schedule": {
            "earliest": "2026-11-24T08:00:00Z",
            "deadline": "2026-11-25T08:00:00Z",
            "durationSeconds": 60,
            "interruptible": False,
        },
        "failover": {
            "mode": "Manual",
            "afterSeconds": 5,
            "onReturn": "Keep",
            "unreadyAfterSeconds": 5,
        },
        "recovery": {"rtoSeconds": 60, "rpoSeconds": 5},
        "rebalance": {
            "mode": "Advise",
            "movesPerHour": 1,
            "maxMovesPerHour": 1,
            "minSavingCnyPerMove": 1,
            "minSavingGco2PerMove": 1,
        },
    },
    {
        "placement": PLACEMENT[1],
        "schedule": {
            "earliest": "2026-11-24T09:00:00Z",
            "deadline": "2026-11-25T09:00:00Z",
            "durationSeconds": 61,
            "interruptible": True,
        },
        "failover": {
            "mode": "Fenced",
            "afterSeconds": 6,
            "onReturn": "Return",
            "unreadyAfterSeconds": 6,
        },
        "recovery": {"rtoSeconds": 70, "rpoSeconds": 0},
        "rebalance": {
            "mode": "Auto",
            "movesPerHour": 2,
            "maxMovesPerHour": 2,
            "minSavingCnyPerMove": 2,
            "minSavingGco2PerMove": 2,
        },
    },
)


POLICY_VALUES: dict[str, tuple[Raw, Raw]] = {
    "PlacementPolicy": POLICY,
    "ClusterPlacementPolicy": (
        POLICY[0]
        | {
            "namespaces": ["ns"],
            "workloadSelector": {
                "matchLabels": {"app": "w"},
                "matchExpressions": [{"key": "app", "operator": "In", "values": ["w"]}],
            },
        },
        POLICY[1]
        | {
            "namespaces": ["other"],
            "workloadSelector": {
                "matchLabels": {"app": "x"},
                "matchExpressions": [{"key": "no", "operator": "NotIn", "values": ["x"]}],
            },
        },
    ),
}
