"""Simulations of what Kapok does not own: member clusters, and months of real pods.

`cluster` simulates the controllers, scheduler and kubelets of member clusters as an ordinary API
client, so that tests and the demo run on any Kubernetes API. `trace` replays a recorded list of
pods through the placement code, and through simpler ways to choose a site. Nothing else in the
scheduler may import this package, except commands. Start with `cluster/member.py` or
`trace/simulate.py`.
"""
