"""The vocabulary: kinds, manifests, demands, decisions and reasons as values without effects.

Imports nothing else of ours. `kinds/` holds the kinds of `kapok.dev/v1alpha1`, `manifests/` what
Kubernetes objects ask for, `demand/` what a decision is asked; `reasons.py` lists every "no".
Start with `kinds/workload.py`, then `demand/demand.py` and `decision.py`.
"""
