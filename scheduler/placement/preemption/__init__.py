"""Which running replicas end, so that work that matters more finds room. Pure.

Start with `preempt.py`; `search.py` compares sets of victims, and `worst_room.py` counts what they
free.
"""
