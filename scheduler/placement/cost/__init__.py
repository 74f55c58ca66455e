"""Step 3, cost: what one replica costs per hour at each site, in CNY; less is better.

Knows `fleet` and `energy`. Every cost is one file in `terms/`.
Start with `site_costs.py`, which adds them up; `spend.py` compares a placement with budgets.
"""
