"""What the owner of a site lets orders do there, whatever the hub has signed.

Start with `site_rules.py`; `pod_demand.py` counts what an order asks for. Of ours it knows the
protocol and the trees of members. The rules come from the agent's own settings alone, so neither
a user of the hub nor the holder of its key can widen them.
"""
