"""A simulated day of a hub, its sites and its schedulers, in one process and by one seed.

- `clock`, `hub`, `broker`, `ledger`: what a scheduler stands on, in memory, with faults on order;
- `site`: a site at the level of messages; `cluster`: its nodes and pods; `reports`: what it says;
- `world`: all of them together, and the schedulers that are started and killed;
- `story`: the events of a seed, as plain data; `happenings`: what they do;
- `view`: what of a moment is shown to `checker`, which shares no code with the scheduler and reads
  only what is exported: objects, writes, reports, orders, records;
- `figures`, `least`: what a story measures;
- `shrink`: the shortest story that still shows a violation.
"""
