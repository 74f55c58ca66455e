"""The vocabulary: kinds, manifests, demands, decisions and reasons, as values without effects.

Imports nothing else of ours. `kinds/` holds the kinds of `kapok.dev/v1alpha1`, `manifests/` reads
what Kubernetes objects request, `demand/` resolves the input of a decision; `reasons.py` lists
every reason for refusing a site. Start with `kinds/workload.py`, then `demand/demand.py` and
`decision.py`.
"""
