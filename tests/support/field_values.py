"""Two values of every field of every kind but Workload."""

from tests.support.policy_values import POLICY_VALUES, SELECTOR
from tests.support.sites import Raw

VALUES: dict[str, tuple[Raw, Raw]] = {
    **POLICY_VALUES,
    "DataClassScheme": (
        {
            "unlabelled": "general-1",
            "energyLimits": [
                {
                    "measure": "pue",
                    "limit": 1.5,
                    "tiers": ["edge"],
                    "from": "2026-01-01T00:00:00Z",
                    "until": "2027-01-01T00:00:00Z",
                    "document": "d",
                }
            ],
            "classes": [
                {
                    "name": "general-1",
                    "jurisdictions": ["CN"],
                    "protectionLevel": 1,
                    "allowListOnly": False,
                    "sameProvince": False,
                    "cpuVendors": ["hygon"],
                    "onViolation": "Report",
                }
            ],
        },
        {
            "unlabelled": "general-2",
            "energyLimits": [
                {
                    "measure": "wue",
                    "limit": 2.5,
                    "tiers": ["central"],
                    "from": "2025-01-01T00:00:00Z",
                    "until": "2028-01-01T00:00:00Z",
                    "document": "e",
                }
            ],
            "classes": [
                {
                    "name": "general-2",
                    "jurisdictions": ["HK"],
                    "protectionLevel": 3,
                    "allowListOnly": True,
                    "sameProvince": True,
                    "cpuVendors": ["kunpeng"],
                    "onViolation": "Stop",
                }
            ],
        },
    ),
    "Tenant": (
        {
            "namespaces": ["ns"],
            "classes": ["general-1"],
            "maxPriority": 100,
            "clusterKinds": ["v1/Namespace"],
            "extraNamespaces": ["shared"],
            "siteSelector": SELECTOR[0],
            "jurisdiction": "CN-GD",
            "weight": 1,
            "quota": {"cpu": "10"},
            "borrowing": False,
            "borrowingLimit": {"cpu": "1"},
            "borrowLimit": {"cpu": "1"},
            "lendLimit": {"cpu": "1"},
            "parent": "bureau",
            "cohort": "",
            "budget": {
                "cnyPerHour": 1,
                "kgco2ePerHour": 1,
                "cnyPerMonth": 1,
                "kgco2ePerMonth": 1,
            },
            "podSecurity": "privileged",
        },
        {
            "namespaces": ["others"],
            "classes": ["general-2"],
            "maxPriority": 1,
            "clusterKinds": ["v1/Node"],
            "extraNamespaces": ["unshared"],
            "siteSelector": SELECTOR[1],
            "jurisdiction": "CN-BJ",
            "weight": 2,
            "quota": {"cpu": "11"},
            "borrowing": True,
            "borrowingLimit": {"cpu": "2"},
            "borrowLimit": {"cpu": "2"},
            "lendLimit": {"cpu": "2"},
            "parent": "office",
            "cohort": "city",
            "budget": {
                "cnyPerHour": 2,
                "kgco2ePerHour": 2,
                "cnyPerMonth": 2,
                "kgco2ePerMonth": 2,
            },
            "podSecurity": "restricted",
        },
    ),
    "SiteGrant": (
        {
            "sites": ["m1"],
            "dataClass": "important",
            "protectionLevel": 4,
            "networkZones": ["public-network"],
            "jurisdiction": "CN-GD",
            "dedicatedPool": True,
            "cpuVendors": ["hygon"],
            "allowList": ["ns"],
            "authority": "bureau",
            "document": "1",
            "validFrom": "2026-01-01T00:00:00Z",
            "validUntil": "2027-01-01T00:00:00Z",
            "measurements": [
                {
                    "site": "m1",
                    "measure": "pue",
                    "value": 1.3,
                    "measuredBy": "inspector",
                    "observedAt": "2026-10-01T00:00:00Z",
                }
            ],
        },
        {
            "sites": ["m2"],
            "dataClass": "general-1",
            "protectionLevel": 1,
            "networkZones": ["dedicated-network"],
            "jurisdiction": "CN-BJ",
            "dedicatedPool": False,
            "cpuVendors": ["kunpeng"],
            "allowList": ["other"],
            "authority": "office",
            "document": "2",
            "validFrom": "2026-12-01T00:00:00Z",
            "validUntil": "2026-10-01T00:00:00Z",
            "measurements": [
                {
                    "site": "m2",
                    "measure": "wue",
                    "value": 2.1,
                    "measuredBy": "office",
                    "observedAt": "2026-10-02T00:00:00Z",
                }
            ],
        },
    ),
    "Site": (
        {
            "tier": "edge",
            "provider": "p",
            "location": {
                "province": "CN-GD",
                "city": "guangzhou",
                "metro": "guangzhou",
                "latitude": 1,
                "longitude": 1,
                "failureDomains": ["f"],
            },
            "energy": {
                "gridZone": "z",
                "pue": 1.2,
                "pueOrigin": "measured",
                "greenShare": 0.1,
                "greenEvidence": "e",
                "pvPeakWatts": 1,
                "wueLitresPerKwh": 1.5,
                "measurements": [
                    {
                        "measure": "pue",
                        "value": 1.3,
                        "measuredBy": "inspector",
                        "observedAt": "2026-11-01T00:00:00Z",
                    }
                ],
                "embodiedKilograms": 1000,
                "lifetimeYears": 5,
                "microarchitecture": "epyc-2",
                "powerCurve": [{"busyCores": 0, "watts": 100}],
                "forecast": {
                    "observedAt": "2026-11-23T07:00:00Z",
                    "origin": "modelled",
                    "stepSeconds": 14_400,
                    "steps": [{"at": "2026-11-23T10:00:00Z", "gco2PerKwh": 1}],
                },
            },
            "prices": {
                "energyCnyPerKwh": 1,
                "tariff": [{"fromHour": 14, "toHour": 22, "energyCnyPerKwh": 0.5}],
                "coreCnyPerHour": 1,
                "peakCnyPerKilowattMonth": 40,
            },
            "taints": [
                {
                    "key": "k",
                    "value": "v",
                    "effect": "NoSchedule",
                    "timeAdded": "2026-11-23T07:00:00Z",
                }
            ],
            "headroom": {"ratio": 0.0},
            "cordon": False,
            "imageRegistries": [{"from": "docker.io", "to": "mirror.local"}],
            "maintenance": [
                {"from": "2001-01-01T00:00:00Z", "until": "2001-01-02T00:00:00Z", "reason": "a"}
            ],
            "drain": {
                "by": "2001-01-01T00:00:00Z",
                "since": "2001-01-01T00:00:00Z",
                "requestedBy": "a",
                "force": False,
            },
            "delivery": {
                "mode": "Pull",
                "kubeconfigSecretRef": {"namespace": "n", "name": "s"},
                "clusterProfileRef": {"namespace": "n", "name": "s"},
                "agentKeys": ["ed25519:" + "A" * 43 + "="],
            },
        },
        {
            "tier": "central",
            "provider": "q",
            "location": {
                "province": "CN-BJ",
                "city": "beijing",
                "metro": "beijing",
                "latitude": 2,
                "longitude": 2,
                "failureDomains": ["g"],
            },
            "energy": {
                "gridZone": "y",
                "pue": 1.9,
                "pueOrigin": "assumed",
                "greenShare": 0.2,
                "greenEvidence": "f",
                "pvPeakWatts": 2,
                "wueLitresPerKwh": 2.5,
                "measurements": [
                    {
                        "measure": "wue",
                        "value": 2.3,
                        "measuredBy": "other",
                        "observedAt": "2026-11-02T00:00:00Z",
                    }
                ],
                "embodiedKilograms": 2000,
                "lifetimeYears": 6,
                "microarchitecture": "skylake",
                "powerCurve": [{"busyCores": 8, "watts": 200}],
                "forecast": {
                    "observedAt": "2026-11-23T06:00:00Z",
                    "origin": "unknown",
                    "stepSeconds": 3600,
                    "steps": [{"at": "2026-11-23T09:00:00Z", "gco2PerKwh": 2}],
                },
            },
            "prices": {
                "energyCnyPerKwh": 2,
                "tariff": [{"fromHour": 20, "toHour": 15, "energyCnyPerKwh": 0.7}],
                "coreCnyPerHour": 2,
                "peakCnyPerKilowattMonth": 50,
            },
            "taints": [
                {
                    "key": "l",
                    "value": "w",
                    "effect": "NoExecute",
                    "timeAdded": "2026-11-23T06:00:00Z",
                }
            ],
            "headroom": {"ratio": 0.9},
            "cordon": True,
            "imageRegistries": [{"from": "quay.io", "to": "other.local/quay"}],
            "maintenance": [
                {"from": "2002-01-01T00:00:00Z", "until": "2002-01-02T00:00:00Z", "reason": "b"}
            ],
            "drain": {
                "by": "2002-01-01T00:00:00Z",
                "since": "2002-01-01T00:00:00Z",
                "requestedBy": "b",
                "force": True,
            },
            "delivery": {
                "mode": "Push",
                "kubeconfigSecretRef": {"namespace": "o", "name": "t"},
                "clusterProfileRef": {"namespace": "o", "name": "t"},
                "agentKeys": [],
            },
        },
    ),
}
"""Two values of every field, by kind."""
