"""The controllers of simulated member clusters, as one ordinary API client for many clusters.

Watch events fill a `Mirror`; every change puts keys into a `WorkQueue`; for a key a pure planner
reads the mirror and returns a `Plan` (writes, and when to look again); `effects` carries it out and
feeds the answers back into the mirror. One key is never in two hands at once.

    watch -> mirror -> queue -> plan -> write -> mirror
"""
