"""What is loaded is looked through no more."""

import gc

from timmy_dvm.garbage import keep_what_is_loaded


def test_what_is_there_is_passed_over_and_what_comes_later_is_not():
    before = gc.get_freeze_count()
    try:
        keep_what_is_loaded()
        assert gc.get_freeze_count() > before
        later = {"a": []}
        later["a"].append(later)
        assert any(each is later for each in gc.get_objects())
    finally:
        gc.unfreeze()
