"""Kind 5050, text generation: the input is the prompt, and what bounds it is its price."""

from typing import Final

from timmy_dvm.nostr.job_kind import JobKind

KIND: Final = JobKind(
    number=5050,
    trade="",
    topic="text-generation",
    prompt=lambda _: "",
    prompt_alone="Respond to the following text.",
    talks=True,
)
