"""The costs, one file each: CNY per replica-hour, less is better; `site_costs.py` adds them."""
