"""The vocabulary: what a site, a grant, a workload and a decision are. Pure values, no effects.

Read `kinds.py` for the kinds of `kapok.dev/v1alpha1`, `reasons.py` for every "no" that Kapok can
say, `quantities.py` for Kubernetes quantities, `demand.py` for what a decision is asked and
`facts.py` for what it knows of a site.
"""
