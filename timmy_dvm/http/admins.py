"""The operator's side of the port: open to this machine, and to whoever holds the admin token."""

from typing import Final

from fastapi import Request

from timmy_dvm.config import Secret, is_loopback
from timmy_dvm.http.dev_pay import FORWARDED
from timmy_dvm.http.faults import Fault

_FROM_ELSEWHERE: Final = (*FORWARDED, "origin")
"""Of a proxy, or of another web page in a browser on this machine."""


class Admins:
    """Tells whether the operator asks.

    Args:
        token: what opens it from anywhere, as `Authorization: Bearer …`; None: only this machine does.
        is_public: whether the configuration names an address that others reach: then "from this machine" may be
            a proxy's, and counts for nothing (D17).
    """

    def __init__(self, token: Secret | None, *, is_public: bool) -> None:
        self._token = token
        self._is_public = is_public

    def check(self, request: Request) -> None:
        """Let the operator pass.

        Raises:
            Fault: 403, it is somebody else; one sentence for whatever reason.
        """
        told = request.headers.getlist("authorization")
        if self._holds_token(told) if told else self._is_local(request):
            return
        sentence = (
            "This is for the operator: ask on this machine, or with Authorization: Bearer <http.admin_token>."
        )
        raise Fault(403, "not_operator", sentence)

    def _holds_token(self, told: list[str]) -> bool:
        scheme, _, credential = told[0].partition(" ")
        if self._token is None or scheme.lower() != "bearer" or len(told) > 1:
            return False
        return Secret(credential.strip()) == self._token  # a Secret compares in constant time

    def _is_local(self, request: Request) -> bool:
        if self._is_public or request.client is None or not is_loopback(request.client.host):
            return False
        # The name it was called by: a page elsewhere can have its own name lead to this machine.
        host = request.headers.get("host", "localhost")
        name = host.rpartition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
        return is_loopback(name) and not any(header in request.headers for header in _FROM_ELSEWHERE)
