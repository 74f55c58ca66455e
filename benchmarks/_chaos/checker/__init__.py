"""The checker of the promises, which shares no code with the scheduler.

sight        what it is shown of a moment
memory       what it keeps from one moment to the next
placements   promises 1, 2, 3, 4 and 16
running      promises 8, 9, 12 and 15
drains       promises 1, 7 and 8 at drained sites
promises     the others, and all of them together
"""
