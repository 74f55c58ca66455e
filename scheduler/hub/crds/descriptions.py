"""Descriptions of CRD fields, as `kubectl explain` prints them.

Keyed by (Struct, field name in YAML). Fields whose type carries a description of its own are not
listed. A test compares the keys with the fields of the types.
"""

_ORIGIN_TEXT = "The origin of the value: measured, estimated, modelled, yearly, assumed or unknown."
_OBSERVED_TEXT = "When the value was observed."
_CONDITIONS_TEXT = "The latest observations of the object's state."

FIELD_DESCRIPTIONS: dict[tuple[str, str], str] = {
    ("Site", "spec"): "The description of the site that operations maintain.",
    ("Site", "status"): "What the site's agent reported last. Written by the scheduler.",
    ("SiteSpec", "tier"): "edge (an equipment room), regional, or central (a core cloud).",
    ("SiteSpec", "provider"): (
        "The operator of the site, such as huawei-cloud-stack. Spread can count by it."
    ),
    ("SiteSpec", "location"): "Where the site is. Spread counts by province, city and metro.",
    ("SiteSpec", "energy"): "The power supply of the site. Absent means unknown, which ranks last.",
    ("SiteSpec", "prices"): "What the site charges. Absent means unknown, which ranks last.",
    ("SiteSpec", "taints"): (
        "Taints that repel workloads without a matching toleration in siteTolerations."
    ),
    ("SiteSpec", "headroom"): "The part of the free capacity that is left unused.",
    ("SiteSpec", "maintenance"): "Times in which nothing is to run at the site.",
    ("SiteSpec", "drain"): "Present while the site is to be emptied.",
    ("SiteSpec", "delivery"): "How orders reach the site, and the keys that its agent signs with.",
    ("Location", "province"): (
        "ISO 3166-2 code on the mainland, such as CN-GD; HK for Hong Kong, MO for Macao."
    ),
    ("Location", "city"): "The city, such as guangzhou or zhongwei.",
    ("Location", "metro"): "Places that count as one by latency, such as metro:guangzhou.",
    ("Location", "latitude"): "Degrees north (WGS 84).",
    ("Location", "longitude"): "Degrees east (WGS 84).",
    ("Location", "failureDomains"): (
        "What can fail as a whole, such as a substation or a fibre ring. Sites with the same name"
        " share it, wherever they are."
    ),
    ("SitePrices", "tariff"): (
        "The cheaper hours. All other hours cost energyCnyPerKwh, the highest price."
    ),
    ("TariffHours", "fromHour"): "The first hour of the tariff, 0 to 23.",
    ("TariffHours", "energyCnyPerKwh"): "The price during these hours, CNY per kWh.",
    ("SiteEnergy", "forecast"): (
        "The expected carbon intensity of the grid, used for workloads that can wait."
    ),
    ("ForecastStep", "at"): "The start of the step.",
    ("ForecastStep", "gco2PerKwh"): (
        "The expected carbon intensity, gCO2e per kWh, location-based average."
    ),
    ("SiteEnergy", "gridZone"): (
        "The grid zone that feeds the site; carbon intensity is known by zone."
    ),
    ("SiteEnergy", "pueOrigin"): _ORIGIN_TEXT,
    ("SiteEnergy", "greenShare"): (
        "The share of green power bought, 0 to 1. It counts only with greenEvidence."
    ),
    ("SiteEnergy", "greenEvidence"): (
        "The proof of green power, such as GEC or PPA. Empty: no green share."
    ),
    ("SiteEnergy", "pvPeakWatts"): "The peak power of the site's own photovoltaic system, W.",
    ("SiteEnergy", "wueLitresPerKwh"): (
        "The declared water usage effectiveness, litres per kWh of IT energy (ISO/IEC 30134-9)."
    ),
    ("SiteEnergy", "embodiedKilograms"): "What making the site's equipment emitted, kgCO2e.",
    ("SiteEnergy", "lifetimeYears"): "How long the equipment is used, years.",
    ("SiteEnergy", "microarchitecture"): (
        "The make of the processors, such as cascade-lake, for the model of power."
    ),
    ("InspectedFigure", "measure"): "pue, wue or renewable-share.",
    ("InspectedFigure", "value"): "The measured value: a ratio, or litres per kWh for wue.",
    ("EnergyMeasurement", "measure"): "pue, wue or renewable-share.",
    ("EnergyMeasurement", "value"): "The measured value: a ratio, or litres per kWh for wue.",
    ("CurvePoint", "busyCores"): "The busy cores of the whole site.",
    ("CurvePoint", "watts"): "The power of its equipment at this load, W, before PUE.",
    ("EnergyLimit", "measure"): "pue, wue or renewable-share.",
    ("SitePrices", "peakCnyPerKilowattMonth"): (
        "The price of the month's highest hourly power, CNY per kW. Reported, not decided on."
    ),
    ("SitePrices", "energyCnyPerKwh"): "The price of energy, CNY per kWh.",
    ("SitePrices", "coreCnyPerHour"): "The price of a CPU core, CNY per hour.",
    ("Taint", "key"): "The key that a toleration matches.",
    ("Taint", "value"): "The value that a toleration with operator Equal matches.",
    ("Taint", "effect"): "NoSchedule repels new workloads. NoExecute also evicts running ones.",
    ("Taint", "timeAdded"): (
        "When the taint was added; tolerationSeconds of NoExecute count from here."
    ),
    ("Headroom", "ratio"): "The ratio of the free capacity that is left unused, such as 0.1.",
    ("Delivery", "mode"): (
        "Pull: an agent at the site fetches orders. Push: an agent beside the hub applies them."
    ),
    ("Delivery", "kubeconfigSecretRef"): (
        "For Push: the Secret that holds the member cluster's kubeconfig."
    ),
    ("Delivery", "clusterProfileRef"): (
        "For Push: the ClusterProfile whose access providers say how to reach the cluster."
    ),
    ("SecretReference", "namespace"): "The namespace of the Secret.",
    ("SecretReference", "name"): "The name of the Secret.",
    ("SiteStatus", "observedAt"): "When the agent last observed the site.",
    ("SiteStatus", "conditions"): _CONDITIONS_TEXT,
    ("SiteStatus", "apiKinds"): "API kinds that the cluster serves, such as apps/v1/Deployment.",
    ("SiteStatus", "rtt"): "Measured round-trip times to peers.",
    ("SiteStatus", "intensity"): (
        "The average carbon intensity of the site's grid (location-based)."
    ),
    ("Power", "pvWatts"): (
        "The power that the site's own photovoltaic system produces, W; origin and date of watts."
    ),
    ("SiteStatus", "power"): "The power that the site draws.",
    ("SiteStatus", "nodeClasses"): "The nodes by class, and the free capacity of each class.",
    ("SiteStatus", "truncated"): "Whether the site has more nodes than nodeClasses can hold.",
    ("SiteStatus", "agentVersion"): "The version of the site's agent.",
    ("SiteStatus", "cpuVendors"): "The CPU vendors of the site's nodes.",
    ("Condition", "type"): "The type of the condition, such as Ready, Accepted or Placed.",
    ("Condition", "status"): "Whether the condition holds: True, False or Unknown.",
    ("Condition", "reason"): "The reason of the last transition, in one CamelCase word.",
    ("Condition", "message"): "The reason of the last transition, as text.",
    ("Condition", "lastTransitionTime"): "When the status of the condition last changed.",
    ("Condition", "observedGeneration"): "The generation of spec that the condition was set for.",
    ("Rtt", "to"): "The peer site.",
    ("Rtt", "milliseconds"): "The round-trip time, ms.",
    ("Rtt", "origin"): _ORIGIN_TEXT,
    ("Rtt", "observedAt"): _OBSERVED_TEXT,
    ("Intensity", "gco2PerKwh"): (
        "The carbon intensity, gCO2e per kWh. Absent means unknown, never 0."
    ),
    ("Intensity", "origin"): _ORIGIN_TEXT,
    ("Intensity", "observedAt"): _OBSERVED_TEXT,
    ("Power", "watts"): "The power drawn, W. Absent means unknown, never 0.",
    ("Power", "origin"): _ORIGIN_TEXT,
    ("Power", "observedAt"): _OBSERVED_TEXT,
    ("NodeClass", "labels"): "Labels that all nodes of this class have.",
    ("NodeClass", "taints"): "Taints that all nodes of this class have.",
    ("NodeClass", "architecture"): "The CPU architecture, such as amd64 or arm64.",
    ("NodeClass", "cpuVendor"): "The CPU vendor, such as kunpeng or hygon.",
    ("NodeClass", "gpuModel"): "The model of the accelerator cards. Empty: none.",
    ("NodeClass", "free"): "Free capacity. Equal nodes share a row, which counts them.",
    ("SiteGrant", "spec"): "What the sites may hold, who granted it, and for how long.",
    ("SiteGrantSpec", "sites"): "The sites that the grant covers.",
    ("SiteGrantSpec", "networkZones"): "Network zones that the sites offer.",
    ("SiteGrantSpec", "jurisdiction"): (
        "The law that applies at the sites, such as CN-GD, HK or MO."
    ),
    ("SiteGrantSpec", "dedicatedPool"): (
        "Whether the sites have dedicated nodes, which protection level 4 needs."
    ),
    ("SiteGrantSpec", "authority"): "The authority that issued the grant.",
    ("SiteGrantSpec", "document"): "The number of the document that records the grant.",
    ("SiteGrantSpec", "validFrom"): "The grant is not valid before this time.",
    ("SiteGrantSpec", "validUntil"): "The grant is not valid from this time on.",
    ("DataClassScheme", "spec"): "The table of data classes.",
    ("DataClassSchemeSpec", "classes"): "One rule for each data class.",
    ("DataClassRule", "name"): "The name of the data class.",
    ("DataClassRule", "protectionLevel"): "The protection level that a site needs (GB/T 22239).",
    ("DataClassRule", "allowListOnly"): (
        "Whether only sites whose grant lists the workload may hold the data."
    ),
    ("DataClassRule", "sameProvince"): "Whether the data must stay in the province of its tenant.",
    ("DataClassRule", "cpuVendors"): "CPU vendors that may process the data. Empty: any.",
    ("DataClassRule", "onViolation"): (
        "What happens to running workloads that a changed grant no longer allows."
    ),
    ("Tenant", "spec"): "What administrators allow the tenant.",
    ("Tenant", "status"): "What the tenant uses now.",
    ("TenantSpec", "namespaces"): "The tenant's namespaces. Two tenants cannot share a namespace.",
    ("TenantSpec", "maxPriority"): "The highest priority that workloads of the tenant may have.",
    ("TenantSpec", "extraNamespaces"): "Further namespaces that manifests of the tenant may name.",
    ("TenantSpec", "siteSelector"): "The sites that the tenant may use. Empty: all.",
    ("TenantSpec", "weight"): (
        "The tenant's share when capacity is short, relative to other tenants."
    ),
    ("TenantSpec", "quota"): "What the tenant may request in total. Empty: no limit.",
    ("TenantSpec", "borrowing"): (
        "Whether the tenant may use quota that other tenants of its cohort leave unused."
    ),
    ("TenantSpec", "borrowingLimit"): (
        "The most that the tenant may borrow, by resource; unlisted resources: all that is unused."
    ),
    ("TenantSpec", "cohort"): "Tenants with the same cohort lend each other unused quota.",
    ("TenantSpec", "budget"): "What placed workloads of the tenant may cost; more is not placed.",
    ("Budget", "cnyPerHour"): (
        "The limit in CNY per hour, as decisions estimate the cost. Absent: no limit."
    ),
    ("Budget", "kgco2ePerHour"): "The limit in kgCO2e per hour. Absent: no limit.",
    ("Budget", "cnyPerMonth"): (
        "The limit of a calendar month in CNY for energy that was used. Absent: no limit."
    ),
    ("Budget", "kgco2ePerMonth"): (
        "The limit of a calendar month in kgCO2e of the location ledger. Absent: no limit."
    ),
    ("TenantStatus", "used"): "What placed workloads of the tenant request.",
    ("TenantStatus", "conditions"): _CONDITIONS_TEXT,
    ("LabelSelector", "matchLabels"): "Labels that must be present with these values.",
    ("LabelSelector", "matchExpressions"): "Requirements on labels; all must be met.",
    ("Requirement", "key"): "The label key.",
    ("Requirement", "operator"): "In, NotIn, Exists or DoesNotExist.",
    ("Requirement", "values"): "The values for In and NotIn.",
    ("PlacementPolicy", "spec"): "Placement, schedule and failover under one name.",
    ("PlacementPolicy", "status"): "Whether the policy can be used.",
    ("ClusterPlacementPolicy", "spec"): "What the policy tightens, and for which workloads.",
    ("ClusterPlacementPolicy", "status"): "Whether the policy can be used.",
    ("ClusterPolicySpec", "workloadSelector"): (
        "The workloads that the policy applies to. Empty: all."
    ),
    ("PolicySpec", "placement"): "Where workloads may run and how their replicas are divided.",
    ("PolicySpec", "schedule"): "When workloads may run.",
    ("PolicySpec", "failover"): (
        "What happens when a site stops reporting, and when replicas stay not ready."
    ),
    ("PolicySpec", "recovery"): (
        "How soon work must run again after its site is lost; drills measure it."
    ),
    ("PolicySpec", "rebalance"): "Whether and how many running replicas move to save cost.",
    ("PolicyStatus", "conditions"): _CONDITIONS_TEXT,
    ("Placement", "preset"): "A named arrangement of common settings; other fields refine it.",
    ("Placement", "presetOptions"): "Parameters of the preset.",
    ("PresetOptions", "pairWithinMilliseconds"): (
        "The longest round-trip time between a pair of sites, ms."
    ),
    ("PresetOptions", "standbyRatio"): "The share of replicas that the standby site keeps running.",
    ("Placement", "strategy"): "How replicas are divided among sites. Default: CostOptimal.",
    ("Placement", "mode"): (
        "Steady (running replicas stay) or Fresh (divide from scratch). Default: Steady."
    ),
    ("Placement", "weights"): "The shares of sites, for strategy Weighted.",
    ("Placement", "gang"): "Whether either all replicas are placed or none.",
    ("Placement", "identity"): (
        "Work whose pods have numbers (StatefulSets, Indexed Jobs): Whole keeps it at one site, "
        "PerSite gives each site a set of its own, with the site in its name, Ranges gives each "
        "site a range of a StatefulSet's ordinals. Default: Whole."
    ),
    ("Placement", "siteSelector"): "The sites that may be used, by labels. Empty: all.",
    ("Placement", "siteTolerations"): "Taints of sites that the workload tolerates.",
    ("Placement", "siteGroups"): (
        "Groups in order of preference: the next is used when this one is full."
    ),
    ("Placement", "spread"): (
        "How replicas spread over places; minGroups 2 by city means two cities."
    ),
    ("Placement", "latency"): (
        "The longest round-trip times allowed; a site without a measurement is refused."
    ),
    ("Placement", "affinity"): (
        "Whether to run beside or apart from other workloads of the namespace."
    ),
    ("Placement", "cpuVendors"): "CPU vendors of nodes that may be used. Empty: any.",
    ("Placement", "prices"): "What the workload pays for effects that have no bill.",
    ("Placement", "data"): (
        "Data that the workload reads, and where it is; other sites must copy it."
    ),
    ("SiteWeight", "site"): "The name of the site.",
    ("SiteWeight", "weight"): "The share of the site, relative to the others.",
    ("Toleration", "key"): "The key of the taint. Empty with operator Exists: all taints.",
    ("Toleration", "operator"): "Equal compares the value, Exists does not.",
    ("Toleration", "value"): "The value of the taint, for operator Equal.",
    ("Toleration", "effect"): "The effect of the taint. Empty: all effects.",
    ("Toleration", "tolerationSeconds"): (
        "How long a NoExecute taint is tolerated, s. Absent: forever."
    ),
    ("SiteGroup", "name"): "The name of the group in messages and in the status.",
    ("SiteGroup", "sites"): "The sites by name.",
    ("SiteGroup", "siteSelector"): "The sites by labels.",
    ("Spread", "minGroups"): "The lowest number of places.",
    ("Spread", "maxGroups"): "The highest number of places.",
    ("Spread", "maxPerGroup"): "The highest number of replicas in one place.",
    ("Spread", "required"): (
        "false: a preference, which is given up rather than keeping replicas waiting."
    ),
    ("LatencyBound", "withinMilliseconds"): "The longest round-trip time, ms.",
    ("WorkloadAffinity", "kind"): (
        "With: in one place with the other workloads. Apart: in other places."
    ),
    ("WorkloadAffinity", "selector"): "The other workloads, by their labels.",
    ("WorkloadAffinity", "by"): "What counts as one place, as in spread.",
    ("WorkloadAffinity", "required"): "false: a preference.",
    ("PriceList", "carbonCnyPerKg"): "CNY per kgCO2e.",
    ("PriceList", "latencyCnyPerMillisecondHour"): (
        "CNY per ms of round-trip time, hour and replica."
    ),
    ("PriceList", "waitingCnyPerHour"): "CNY per replica and hour of waiting for its start.",
    ("Schedule", "earliest"): "The workload does not start before this time.",
    ("Schedule", "deadline"): "The workload must be finished by this time.",
    ("Schedule", "durationSeconds"): "How long the workload runs, s.",
    ("Schedule", "interruptible"): "Whether the workload may be stopped and continued later.",
    ("Failover", "mode"): (
        "Automatic, Manual (an operator decides), or Fenced (never at two sites at once; acts as "
        "Manual). Left out: Automatic, and Manual for StatefulSets and work with local data."
    ),
    ("Failover", "afterSeconds"): (
        "How long a site must be silent before its replicas are replaced, s. Left out: as the "
        "scheduler's settings say."
    ),
    ("Failover", "unreadyAfterSeconds"): (
        "How long replicas at a site that reports must be not ready before they are replaced "
        "where another site could do better, s. 0: never. Left out: as the scheduler's settings "
        "say."
    ),
    ("Recovery", "rtoSeconds"): (
        "The longest time from the loss of a site until its replicas are ready elsewhere, s (the "
        "recovery time objective). No decision depends on it; kapok drill says whether it is met."
    ),
    ("Recovery", "rpoSeconds"): (
        "The longest time before a loss of which data may be missing afterwards, s (the recovery "
        "point objective). Kapok copies no data, so a drill shows it and cannot measure it."
    ),
    ("UnreadyMove", "at"): "When it was decided.",
    ("UnreadyMove", "replicas"): "How many were replaced.",
    ("FailoverMove", "replicas"): "How many were replaced.",
    ("FailoverMove", "at"): "When their replacement was decided.",
    ("FailoverMove", "silentSince"): "Since when the site did not report then.",
    ("FailoverAnswer", "site"): "The site that was named.",
    ("FailoverAnswer", "id"): "The id of the operator's word.",
    ("FailoverAnswer", "by"): "The operator.",
    ("FailoverAnswer", "moved"): "Whether a replacement was ordered.",
    ("FailoverAnswer", "at"): "When it was answered.",
    ("WorkloadStatus", "failover"): "What failover has done.",
    ("Workload", "spec"): "What the tenant wants to run.",
    ("Workload", "status"): "The observed state. Written by the scheduler.",
    ("WorkloadSpec", "networkZones"): (
        "All network zones that the workload needs. classified is always refused."
    ),
    ("WorkloadSpec", "priority"): (
        "Higher is placed first. A value above 0 needs a permission of its own."
    ),
    ("WorkloadSpec", "demand"): "What the pods need, for manifests from which it cannot be read.",
    ("WorkloadSpec", "policyRef"): (
        "The PlacementPolicy of the namespace that the workload follows."
    ),
    ("WorkloadSpec", "placement"): "Where the workload may run; alternative to policyRef.",
    ("WorkloadSpec", "schedule"): "When the workload may run.",
    ("WorkloadSpec", "failover"): (
        "What happens when a site stops reporting, and when replicas stay not ready."
    ),
    ("WorkloadSpec", "recovery"): (
        "How soon it must run again after its site is lost, in place of what its policy says; "
        "drills measure it."
    ),
    ("NameReference", "name"): "The name of the object.",
    ("PodDemand", "replicas"): "The number of replicas.",
    ("PodDemand", "requests"): "What one replica requests, such as cpu, memory or nvidia.com/gpu.",
    ("PodDemand", "nodeSelector"): "Labels that a node must have.",
    ("PodDemand", "tolerations"): "Taints of nodes that the pods tolerate.",
    ("PodDemand", "gpuModels"): "Models of accelerator cards that may be used. Empty: any.",
    ("WorkloadStatus", "observedGeneration"): (
        "The generation of spec that the status was written for."
    ),
    ("WorkloadStatus", "epoch"): (
        "The epoch of the leader that wrote the status. It never decreases."
    ),
    ("WorkloadStatus", "incarnation"): (
        "Distinguishes the workload from an earlier one of the same name. The scheduler sets it"
        " with the first decision, and it never changes."
    ),
    ("WorkloadStatus", "phase"): "The phase of the workload, in one word.",
    ("WorkloadStatus", "reason"): "The reason of the phase, in one line.",
    ("WorkloadStatus", "placement"): "Where the workload is placed.",
    ("WorkloadStatus", "replicas"): "The number of placed replicas.",
    ("WorkloadStatus", "ready"): "The number of ready replicas at all sites.",
    ("WorkloadStatus", "selector"): "The label selector of the pods, for autoscalers.",
    ("WorkloadStatus", "exceptions"): "Sites where the workload is not in the expected state.",
    ("WorkloadStatus", "decision"): "The ledger record of the latest decision.",
    ("WorkloadStatus", "accepted"): (
        "The spec and the demand that were accepted last. While the present spec is not accepted, "
        "these stay in force, with any leader."
    ),
    ("WorkloadStatus", "conditions"): _CONDITIONS_TEXT,
    ("PlacementStatus", "generation"): (
        "The generation of the placement; it increases with each change."
    ),
    ("PlacementStatus", "groups"): "Groups of sites with equal shares.",
    (
        "PlacementStatus",
        "slices",
    ): "The number of further objects with the rest of a long list.",
    ("PlacementGroup", "sites"): "The sites of the group.",
    ("PlacementGroup", "replicas"): "The number of replicas at each site.",
    ("PlacementGroup", "generation"): "The placement generation that the sites are at.",
    ("PlacementGroup", "ordinals"): (
        "The range of ordinals of the one site of the group, with identity Ranges."
    ),
    ("PlacementGroup", "phase"): "Placing, Running or Withdrawing.",
    ("PlacementGroup", "replacedBy"): (
        "Sites that must be running before the replicas here are withdrawn."
    ),
    ("PlacementGroup", "violates"): (
        "The reason slug of the rule that the running replicas violate."
    ),
    ("PlacementGroup", "since"): "Since when these values have held.",
    ("StartPlan", "startAt"): "When the workload is planned to start.",
    ("StartPlan", "since"): "When it began to wait for a better start.",
    ("StartPlan", "cnyAtOnce"): "What the whole run would have cost, started then, in CNY.",
    ("StartPlan", "place"): "Replicas by site, whose room is kept for the run.",
    ("SiteRemains", "site"): "The name of the site.",
    ("SiteRemains", "since"): "When the workload left the site.",
    ("Endpoint", "site"): "The name of the site.",
    ("Endpoint", "port"): "The port.",
    ("SiteHealth", "site"): "The name of the site.",
    ("SiteHealth", "ready"): "The number of ready replicas at the site.",
    ("SiteHealth", "message"): "What is wrong at the site.",
    ("DecisionReference", "id"): "The record id for `kapok replay` and `kapok ledger show`.",
    ("DecisionReference", "hash"): "The hash of the record, which reveals a later edit.",
    ("DecisionReference", "line"): "The decision in one line.",
    ("DecisionReference", "decidedAt"): "When the decision was made.",
}
