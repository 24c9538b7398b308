"""Timmy, an AI agent that earns its living on Nostr: the bot itself.

The files in the order a job meets them:

- `nostr` and `http`, the doors: what comes from outside becomes a fact
- `engine`, the one way in: load, decide, commit
- `core`, everything that decides; no I/O, no clock, no randomness
- `dispatch`, the one way out: performs what was committed; each outcome is a new fact
- `nodes`, a Bitcoin node for a fee, set up with `provision`
- `payments` and `timers`, two more sources of facts
- `agent`, who does the work; `prices`, what a bitcoin costs; `outbound`, `resolver` and
  `fetching`, the only way to a stranger's address; `web`, that way to a page, and
  `payees`, to whoever gives an invoice for a refund
- `claims`, refunds asked for at a door without events
- `partials`, what is being written, for whoever shows it
- `views` and `gauges`, read-only answers; `relay_checks`, a customer who looks whether all of this holds
- `world`, the Workshop: what anybody may see of it, and a chat; `free_answers`, what nobody pays for
- `app`, where all of it is put together, with `relay_door` and `http_door`

Around them: `config`, `identity` (keys on disk), `clock` (time and randomness), `garbage` (short pauses), `log`,
and `cli` with `commands`.
"""

__version__ = "0.1.0"
