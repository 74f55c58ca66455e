"""What other tools read: a `ClusterProfile` of each site, `PlacementDecision`s of each workload.

`cluster_profile.py` and `placement_decision.py` are pure: they say what the objects of
multicluster.x-k8s.io/v1alpha1 should be. The loop writes what differs, behind everything else and
only where these kinds are installed. Start with `placement_decision.py`.
"""
