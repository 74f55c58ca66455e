"""The costs, one file each: what a replica pays for, and what a unit of that costs at each site.

Knows `cost` and `fleet`; the costs do not know each other. A new file is found by itself.
Start with `carbon.py`; `cost/site_costs.py` says what a cost is and adds them up.
"""
