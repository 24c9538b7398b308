"""What the operator asks, as frozen values without logic. The name says where a fact comes from."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusTold:
    """The operator asked how things stand, and ``body`` is what was found, as an object to be written as JSON."""

    event_id: str
    body: dict[str, object]
    origin: str
    at: int
    job_id: str | None = None

    @property
    def id(self) -> str:
        """One answer an event."""
        return f"request:{self.event_id}"
