"""Preemption in the loops: what could end for a workload, what does, and the room that is kept.

Start with `decisions.py`. All that lasts stands in `Workload.status.preempting` of the workload for
which others end, so that a scheduler that is killed in between continues from there.
"""
