"""What every page is sent with, whoever serves it: one list, so that no page forgets one."""

from typing import Final


def policy(*, connects: str = "'self'", forms: str = "'self'") -> str:
    """The Content-Security-Policy of a page with scripts: ours alone, and no text can become markup, even by a
    mistake in one of them (Trusted Types).
    """
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src {connects}; "
        f"form-action {forms}; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


SECURITY_HEADERS: Final = {
    "Content-Security-Policy": policy(),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # for browsers that don't know frame-ancestors
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=(), interest-cohort=()",
}
"""Of every page and asset; one with another policy names it anew."""
