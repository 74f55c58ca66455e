"""The costs, one file each: CNY per replica-hour, less is better; `price.py` adds them."""
