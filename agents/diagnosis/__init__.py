"""Answers questions of the hub about one order: how its pods are, and what they have logged.

Start with `answerer.py`: which questions are answered.
"""
