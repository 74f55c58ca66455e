"""Whether the loss of sites can be survived: with a plan, proved that it cannot, or not known.

Nothing is moved, and nothing else ends: a loss is survived if all replicas that ran at the lost
sites have lawful places with room together, beside all that runs on. Start with `answer.py`.
"""
