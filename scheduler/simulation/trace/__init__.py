"""Replays a recorded list of pods through the placement code and through simpler choosers.

    reading -> grouping -> runner (events in time) -> report
                             |
               chooser: which site?   binder: which node and cards there?

The binder is the same for every chooser, so results differ only by the choice of the site. The
package knows the model and the placement code. Start with `simulate.py`.
"""
