"""What is known of all sites, as arrays: nodes, labels, energy figures, what is in flight.

Knows `model` and the kernel only; no rule, no cost, no division.
Start with `fleet.py`: one slot per site, written by `upsert`, read by every step of a decision.
"""
