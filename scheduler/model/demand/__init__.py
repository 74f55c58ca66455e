"""What a decision is asked: a Workload with its policy, tenant and scheme, resolved into a Demand.

Knows kinds and manifests. What cannot be accepted becomes a refusal that says what to write.
Start with `accept.py` (`demand_of`); `facts.py` is what a decision knows of one site.
"""
