"""Kind 5002, translation: whatever the input is, the answer is the same in `param language`, else in English."""

from typing import Final

from timmy_dvm.nostr.job_kind import JobKind, Params, one_line


def _prompt(params: Params) -> str:
    return f"Translate the following text into {one_line(params, 'language') or 'English'}."


KIND: Final = JobKind(number=5002, trade="translations", topic="translation", prompt=_prompt, params=("language",))
