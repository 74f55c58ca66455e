"""The wire between a site's agent and the hub, version 1: the rules first, a file per message.

Both programs use these types and this codec; a change here is a change to every site of a city.

Rules
-----
1. **Every message is state, not event.** The newest wins; losing one costs one interval; doubling
   or reordering changes nothing. So every message up carries who (`agent`, `bootId`, `bootNumber`),
   a `sequence` that grows within one boot, and `observedSecondsAgo`: a *duration*, so that the age
   at the hub is that plus the time since arrival. No two clocks are ever compared.
2. **Down** (retained): `kapok/v1/SITE/desired` is the complete, signed index of what the site shall
   run. Only it withdraws. `kapok/v1/SITE/orders/TOKEN` holds the content of one order, bound by
   digest to the index. An empty payload means nothing. Brokers roll retained messages back after a
   crash and MQTT never says "that was all", hence the index; the agent keeps the highest (epoch,
   sequence) on disk and refuses lower ones.
3. **Down** (not retained): `kapok/v1/SITE/hub` asks for a full report or a status now.
4. **Up** (never retained, with message expiry): `kapok/v1/SITE/report`, `/status`, and the last
   will on `/offline`, tied to the boot id so that a late will is ignored.
5. **The broker is not trusted.** Every message is an envelope signed with Ed25519; the signature
   covers what the message is for, the site, the encoding and the payload, so that nothing can be
   replayed on another topic. Two keys may be valid at once. Nothing is unpacked before its
   signature is good.
6. **Version 1 only gains optional fields.** Readers ignore fields they do not know. Unknown is
   absent, never 0. Recorded payloads are added to the tests, never edited.
7. Bad input is never an exception of its own kind: whatever arrives, decoding gives a value or a
   `WireError` whose `reason` is a stable slug that a counter can use.

The files: `topics`, `errors`, `codec`, `envelope` (how bytes become types), `report` and `delta`
(what a site has), `index` and `orders` (what it shall run), `status` (what it did), `hub_requests`.
"""
