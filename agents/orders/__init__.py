"""Orders of the hub: accepted, kept on disk, applied to the member cluster, and reported back.

Knows `member`, `runtime` and `protocol`.
Start with `executor.py`: one pass from the index to the member cluster; then `intake.py`.

    intake     which signed index is the newest, which contents are missing
    journal    what survives a restart: index, contents, what was applied, which jobs have finished
    policy     what the agent refuses, even when the hub has signed it (pure)
    labels     the labels and annotations that mark an object as ours (pure)
    inventory  which of our objects the member has
    plan       what has to be applied and deleted, and the status of an order (pure)
    executor   makes a pass and keeps the status of every order
    applier    applies the objects of one order
    run_once   records in the member which jobs were started, so that none runs twice
    readiness  whether an object is ready or finished (pure)
    lease      only one agent of a site executes
"""
