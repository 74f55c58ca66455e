"""Plans over time, from forecasts and rooms alone: which work runs where, and when. Pure.

A plan is a value that loops and experiments carry out. Knows only NumPy.
Start with `rare_moves.py`, which says where services go. `reserved_time.py` gives work that can
wait a place and a start, and `grid_event.py` says what can be shed when a grid asks for it.
"""
