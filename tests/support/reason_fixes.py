"""What a reader can do about each reason, for the page of reasons; the cause is in the code."""

from scheduler.model.reasons import Reason

FIXES: dict[Reason, str] = {
    "data-class": (
        "Choose a site with a higher grant, or have the authority raise the grant; never "
        "lower the class to fit"
    ),
    "data-class-missing": (
        "Write `spec.dataClass`, or have the authority set `unlabelled` in the DataClassScheme"
    ),
    "protection-level": (
        "Have the site certified and its grant raised, or place the workload at another site"
    ),
    "jurisdiction": (
        "Check `spec.jurisdictions` and the class's own limits; a site in a permitted "
        "place must have a grant"
    ),
    "network-zone": (
        "Check `spec.networkZones`; the authority adds the zone to the grant if the site offers it"
    ),
    "dedicated-pool": (
        "The authority sets `dedicatedPool` in the grant of a site that has such a pool "
    ),
    "not-allowed": (
        "The authority adds the tenant or the workload to `allowList` of the site's grant, "
        "or writes a grant"
    ),
    "grant-expired": "The authority writes a grant with a later `validUntil`",
    "energy-limit": (
        "Improve the site's PUE, WUE or green share, or have the authority change the limit"
    ),
    "operating-system": (
        "Build the images for the system of the nodes, and name it in `spec.imagePlatforms`"
    ),
    "architecture": (
        "Build the images for the nodes' architecture, and name it in `spec.imagePlatforms`"
    ),
    "cpu-vendor": (
        "Label nodes of a permitted vendor with `kapok.dev/cpu-vendor`, or have the grant changed"
    ),
    "taint": "Add a toleration (`siteTolerations` for sites), or remove the taint",
    "selector": (
        "Check `siteSelector` and `nodeSelector` against `kapok kubectl get sites --show-labels`"
    ),
    "site-group": "Add the site to a group of `siteGroups`",
    "too-far": "Raise `withinMilliseconds`, or bring a site nearer into the fleet",
    "latency-unknown": (
        "Name the other site among `peers` in the agent's settings, so that it measures "
        "the round trip"
    ),
    "stale": "See why the agent's figures are old: `kapok-agent doctor` at the site",
    "silent": "See whether the machine and its link work: `kapok-agent doctor` at the site",
    "cordoned": "`kapok site uncordon NAME` when the work at the site is done",
    "no-executor": "Give the agent a cluster (`cluster.source` in its settings)",
    "api-kind": "Install the kind's definition at the site, or leave the kind out of the manifests",
    "full": "`kapok capacity` says where there is room and what to buy; or ask for less",
    "fragmented": "Ask for smaller pods, or have operations free a node",
    "spread": "Ask for fewer groups (`minGroups`), or more replicas in each (`maxPerGroup`)",
    "quota": "Ask for less, or have an administrator raise the quota or the budget of the Tenant",
    "deadline": "Wait for the planned start, or write a later `deadline`",
    "paused": "Set `spec.paused` to false",
    "pod-security": (
        "Drop what the pods ask for beyond the level, or have the Tenant's `podSecurity` changed"
    ),
    "invalid": "Read the sentence: it names the field and the value; correct it",
    "no-tenant": "An administrator lists the namespace in exactly one Tenant",
}
"""By reason; a test compares the keys with those of the code."""
