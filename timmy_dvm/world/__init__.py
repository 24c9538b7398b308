"""The Workshop: what Timmy is doing just now, as anybody may see it, and the chat with who looks on.

- `people` and `labels`: who works here, and what a job is called in public
- `frames`: what is said to a watcher and by one
- `scene`: the state of it all; pure
- `watchers`: who looks on, each with a bounded queue
- `diary`: what could be seen, for the ledger's bounded table
- `chat`: who speaks, who is answered, and in which order that is told
- `workshop`: where these are put together

What is shown is made for strangers: a job is a word pair that nobody can trace back, never its id, price or key,
and never a word of a request or a result. Of an encrypted job it is shown that there is one, and nothing else.
"""
