"""What the hub ordered: taken in, kept on disk, applied to the member, and reported back.

Knows `member`, `runtime` and `protocol`. Start with `intake.py` and `executor.py`.

    intake    which signed index is the newest, which content is still missing
    journal   what survives a restart: index, contents, what was applied, what has finished
    policy    what the agent refuses, whoever signed it
    labels    the labels and annotations that make an object ours
    plan      pure: from desired, observed and journal to what must be done
    executor  does it, object by object, and keeps each order's status
    readiness pure: whether an object is applied, ready, finished
    lease     one agent per site executes
"""
