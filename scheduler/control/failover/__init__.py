"""What replaces the replicas of sites that are lost, and who may hold that back.

Start with `gate.py`: whether evictions are allowed, and how many may start now.
"""
