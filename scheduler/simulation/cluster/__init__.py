"""The controllers of simulated member clusters, as one ordinary API client for many clusters.

Watch events fill a `Mirror`; every change puts keys into a `MemberWorkQueue`; for a key a pure
planner reads the mirror and returns a `ControllerPlan` (writes, and when to look again); a
`ClusterWriter` carries it out and updates the mirror with the answers. No key is processed by two
workers at once.

    watch -> mirror -> queue -> plan -> write -> mirror

It knows the hub's client and the model, not the placement code. Start with `member.py`.
"""
