"""A recorded list of pods, run through the placement code and through simpler ways to choose.

    reading -> grouping -> runner (events in time) -> report
                             |
               chooser: which site?   binder: which node and cards there?

The binder is the same for every chooser, so that what differs is the choice of the site alone.
"""
