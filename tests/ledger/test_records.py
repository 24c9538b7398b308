import dataclasses
import inspect

import pytest

from ledger import records
from tests.ledger.books import fact, identity, invoice, new_job, refund

ROWS = [fact("f"), identity(), invoice(), new_job(), refund()]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: type(row).__name__)
def test_a_row_is_never_changed_in_place(row):
    field = dataclasses.fields(row)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(row, field, "other")
    assert not hasattr(row, "__dict__")


def test_a_record_has_every_field_of_the_new_one_it_was_but_the_texts():
    new, written = (
        {field.name for field in dataclasses.fields(kind)} for kind in (records.NewJob, records.JobRecord)
    )
    assert new - written == {"request", "origin", "follows"}


def test_every_record_says_what_it_is():
    classes = [c for _, c in inspect.getmembers(records, inspect.isclass) if c.__module__ == "ledger.records"]
    assert all(c.__doc__ and not c.__doc__.startswith(f"{c.__name__}(") for c in classes)


def test_a_change_of_nothing_is_empty():
    assert not any(dataclasses.asdict(records.NOTHING).values())
