"""What replaces replicas of lost sites and those that stay not ready, and who may hold it back.

Start with `gate.py`: whether evictions are allowed, and how many may start now.
"""
