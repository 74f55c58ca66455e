"""The input of a decision: a Workload with its policy, tenant and scheme, resolved into a Demand.

Knows kinds and manifests. A workload that cannot be accepted gets a refusal that says what to
write. Start with `accept.py` (`demand_of`); `facts.py` has the facts of one site.
"""
