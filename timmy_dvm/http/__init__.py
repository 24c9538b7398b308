"""The HTTP door: health, and for developers a way to pay with the simulated wallet. No rules live here."""
