"""Whatever the description allows may be sent: no answer is a mistake of ours, and each is as described."""

from tests.timmy_dvm.http.fuzzed import a_shop, fuzz, once_each


def test_no_chain_of_described_requests_finds_a_mistake(tmp_path):
    """A bounded part of what `make test-long` sends."""
    with a_shop(tmp_path) as base:
        seen = once_each(base, times=2, is_fixed=True) + fuzz(base, chains=8, steps=8, is_fixed=True)
    assert any(what.startswith("POST /api/jobs ") for what in seen)
    assert any(what.startswith("GET /api/pool 200") for what in seen)
    assert not any(" 5" in what[-4:] for what in seen)
