"""What the owner of a site lets orders do there, whatever the hub has signed.

Start with `site_rules.py`; `pod_demand.py` counts what an order asks for. Of ours it knows the
protocol and the trees of members. The rules come from the agent's own settings alone, so nobody at
the hub, and nobody who holds the hub's key, can widen them.
"""
