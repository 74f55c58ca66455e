"""The event stream of the page: what each view shows, and what changed since the last event.

All readers of one view with the same rights share one document and its differences, which are made
once. Knows the snapshot, its texts and the rows of the API.
Start with `stream.py`; `fleet_index.py` is what is remembered between two looks at the state.
"""
