"""The relay door (NIP-90, NIP-17). Nothing outside this package knows a kind number.

In the order a job meets them: `cursors` (from when on a relay is asked), `port` (events in, facts out, and signed
events out again), `bucket` (how often), `nip90` (what a request says, with `inputs`, `wishes` and `operations`),
`privacy` (the two encryptions), `kinds` (what each asks for, a `job_kind` each), `desk`, `gathering` (what a
request only names), `as_facts` (for the core), `origin` (what is kept so that it can be answered), `speaker`
(decisions as events), `words` (as sentences), `answering` (as tags, signed, within what relays take), `targets`
(whom they are for), `publishing` (to which relays, with `relay_lists`, `dialling` and `pauses`). `streaming` tells
an answer while it is written.

`mentions` answers `notes` that speak of us. `customer` is the other side of all that.

A private message (NIP-17) takes its own way in and out: `letterbox` (gift wraps opened), `nip17` (what a message
asks), and, after the same desk and core, `letters` and `plain_words`. `relay_lists` knows where people read.
"""
