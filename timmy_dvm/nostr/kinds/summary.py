"""Kind 5001, summarisation: whatever the input is, the answer is its summary, as long as `param length` says."""

from typing import Final

from timmy_dvm.nostr.job_kind import JobKind, Params, one_line


def _prompt(params: Params) -> str:
    length = one_line(params, "length")
    return f"Summarize the following text{f' in {length}' if length else ''}."


KIND: Final = JobKind(number=5001, trade="summaries", topic="summarization", prompt=_prompt, params=("length",))
