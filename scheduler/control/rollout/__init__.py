"""Carries rollouts out: what is asked of a decision, what a status says of it, operators' words.

Start with `decisions.py`.
"""
