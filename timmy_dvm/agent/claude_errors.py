"""What the Anthropic API's failures mean: who must act, and whether another try can help.

Sorted by status and error type, not by exception class: an error event inside a stream has status 200,
and a cut or stalled stream arrives as an error of the transport, not of the SDK.
"""

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from timmy_dvm.agent.runner import AgentError, BudgetExceeded, Misconfigured, TooLong, Unavailable

if TYPE_CHECKING:
    from anthropic import APIStatusError

_OK, _TIMEOUT, _CONFLICT, _RATE_LIMIT, _SERVER_ERROR = 200, 408, 409, 429, 500
_PAYMENT_REQUIRED, _TOO_LARGE = 402, 413
_PERMANENT_TYPES = {
    "authentication_error",
    "invalid_request_error",
    "not_found_error",
    "permission_error",
}

# The SDK assembles a stream without checking it, so a malformed one surfaces as any of these.
_MALFORMED = (ValueError, TypeError, AttributeError, LookupError, AssertionError, RuntimeError)

_TYPE = re.compile(r"[a-z_]{1,60}")
_REQUEST_ID = re.compile(r"req_[A-Za-z0-9]{1,60}")


@dataclass(frozen=True, slots=True)
class Failure:
    """How one try ended without an answer.

    Attributes:
        kind: the error to raise when it was the last try.
        detail: for the operator; made of statuses and names alone.
        again: another try can help.
        status: HTTP status, 0 when there was none.
        retry_after_s: how long the API asked us to wait.
        maybe_paid: the request went out and what became of it is unknown, so it counts as an execution.
    """

    kind: type[AgentError]
    detail: str
    again: bool
    status: int = 0
    retry_after_s: float | None = None
    maybe_paid: bool = False


def incoherent(detail: str) -> Failure:
    """The API answered with something that is no answer."""
    return Failure(Unavailable, detail, again=True, maybe_paid=True)


def failure_of(error: Exception) -> Failure:
    """Judge what the SDK raised.

    Raises:
        Exception: ``error`` itself, when it is none that the SDK or its transport is known to raise.
    """
    import anthropic  # late, and already loaded when there is an error to judge
    import httpx2

    name = type(error).__name__
    if isinstance(error, anthropic.APIStatusError):
        return _by_status(error)
    if isinstance(error, anthropic.APIConnectionError):
        # Where no connection was made, nothing can have been paid.
        unsent = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
        cause = error.__cause__
        return Failure(
            Unavailable,
            f"{name} {type(cause).__name__}",
            again=True,
            maybe_paid=not isinstance(cause, unsent),
        )
    if isinstance(error, (anthropic.AnthropicError, httpx2.HTTPError, httpx2.StreamError, *_MALFORMED)):
        return incoherent(name)
    raise error


def _by_status(error: "APIStatusError") -> Failure:
    status = error.status_code
    kind, code = _name(error.type), _name(error.error_code)
    detail = " ".join(filter(None, (f"HTTP {status}", kind, code, _request_id(error.request_id))))
    limits = "spend_limit" in code or "spend_limit" in kind
    if limits or status == _PAYMENT_REQUIRED or kind == "billing_error":
        return Failure(BudgetExceeded, detail, again=False, status=status)
    if status == _TOO_LARGE or kind == "request_too_large":
        return Failure(TooLong, detail, again=False, status=status)
    transient = status in (_TIMEOUT, _CONFLICT, _RATE_LIMIT) or status >= _SERVER_ERROR
    if transient or (status == _OK and kind not in _PERMANENT_TYPES):
        after = _retry_after(error.response.headers.get("retry-after"))
        return Failure(Unavailable, detail, again=True, status=status, retry_after_s=after)
    return Failure(Misconfigured, detail, again=False, status=status)


def _retry_after(header: str | None) -> float | None:
    """Seconds to wait. A date, or anything else that is no number, is left to our own pace."""
    try:
        seconds = float(header) if header else math.nan
    except ValueError:
        return None
    return seconds if seconds >= 0 else None


def _name(value: object) -> str:
    """An error's name from outside, where it looks like one: it goes into a log line."""
    return value if isinstance(value, str) and _TYPE.fullmatch(value) else ""


def _request_id(value: str | None) -> str:
    return value if value and _REQUEST_ID.fullmatch(value) else ""
