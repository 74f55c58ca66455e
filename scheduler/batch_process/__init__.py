"""Batches are solved in a process of their own: `child.py` is that process, one for each batch.

The search takes seconds of a core and up to gigabytes; here it takes them from neither the event
loop nor the scheduler's memory, and it can be ended at any moment. The process reads the batch from
its standard input, one JSON value a line (`messages.py`), and writes one answer. Knows `model`,
`placement/batch` and `control/ports`. Start with `solver.py`.
"""
