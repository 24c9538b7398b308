"""The money is right, whatever customers, our wallet and our machine do, in any order.

`make test` takes the same hundred lives of fifty steps each time, `make test-long` a thousand that it never took.
"""

import os

from hypothesis import HealthCheck, settings

from tests.money.machine import Customers

LONG = bool(os.environ.get("TIMMY_LONG"))

Customers.TestCase.settings = settings(
    max_examples=1_000 if LONG else 100,
    stateful_step_count=50,
    deadline=None,
    derandomize=not LONG,
    suppress_health_check=list(HealthCheck),
)
TestCustomers = Customers.TestCase
