"""The wire protocol between agents and the hub, version 1: one module per message type.

Knows nothing else of ours; both programs import it, so a change here is a change to every site.
Start with `report.py`: what a site has; then `index.py` and `orders.py`: what it shall run.

Rules
-----
1. **Every message is state, not an event.** The newest wins; losing one costs one interval;
   duplicates and reordering change nothing. So every message up carries its sender (`agent`,
   `bootId`, `bootNumber`), a `sequence` that grows within one boot, and `observedSecondsAgo`, a
   duration: the age at the hub is that plus the time since arrival. Clocks of different machines
   are never compared.
2. **Down, retained:** `kapok/v1/SITE/desired` is the complete, signed index of what the site shall
   run, and only the index withdraws an order. `kapok/v1/SITE/orders/TOKEN` holds the content of one
   order, which the index names by digest. An empty payload is ignored. A broker may roll retained
   messages back after a crash, and MQTT does not say when all retained messages have arrived; hence
   the index, of which the agent keeps the highest (epoch, sequence) on disk and refuses lower ones.
   An agent that knows none yet waits for one that the hub publishes: a retained one has any age.
   Of a large one `desired` may hold a base, and `kapok/v1/SITE/desired/delta` what has changed
   since; the agent makes the complete index of both, and checks its digest (`index_delta.py`).
3. **Down, not retained:** `kapok/v1/SITE/hub` asks for a full report or a status now, or has a
   question about one order.
4. **Up, never retained, with message expiry:** `kapok/v1/SITE/report`, `/status`, the last will on
   `/offline`, which names its boot so that a late will is ignored, and on `/answer/TOKEN` the
   answer to a question. An answer alone is no state: without it the question times out.
5. **The broker is not trusted.** Every message is an envelope signed with Ed25519. The signature
   covers the topic, the encoding and the payload, so that a message cannot be replayed on another
   topic or at another site. Two keys may be valid at once. Nothing is unpacked before its signature
   is verified. The one other form is a heartbeat on the topic of reports, which says that nothing
   has changed since a signed report: a value of the hash chain that this report named
   (`heartbeat/chain.py`).
6. **Version 1 only gains optional fields.** Readers ignore fields that they do not know. Unknown is
   absent, never 0. Recorded payloads are added to the tests, never edited.
7. **Bad input is a `WireError`, whatever it is.** Its `reason` is a stable slug that metrics count.

The other modules: `topics`, `keys`, `envelope`, `codec`, `shapes` and `errors` (how bytes become
types), `delta` (what changed since a report), `status` (what became of the orders), `hub_requests`,
`diagnosis` (questions and answers), `heartbeat`.
"""
