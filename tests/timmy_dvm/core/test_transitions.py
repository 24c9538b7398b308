"""The four state tables are those of the design, and nothing follows but what they list."""

import pytest

from ledger.bootstrap import BootstrapState
from ledger.records import JobState, RefundState
from ledger.sessions import SessionState
from timmy_dvm.core import transitions
from timmy_dvm.core.transitions import (
    IllegalTransition,
    bootstrap_moves,
    job_moves,
    refund_moves,
    session_moves,
)

# design.md section 4 and money.md section 5, as they are printed there, and what wire.md section 1 asks for beside
# them: paid and not started, a request can be cancelled. And what money.md does not print: an operator may pay a
# refund with another wallet.
JOB_PAGE = """
awaiting_eval_payment → evaluating | expired | cancelled
evaluating → awaiting_work_payment | executing | rejected | failed | cancelled
awaiting_work_payment → executing | expired | cancelled
executing → complete | failed
"""
REFUND_PAGE = """
owed → sending | credited | held | paid_elsewhere
sending → sent | owed | held | in_doubt
in_doubt → sent | owed | held
held → sending | credited | paid_elsewhere
"""


SESSION_PAGE = """
awaiting_payment → active | expired
expired → active
active → closed
"""


# BOO-03, and beside it an order that nobody paid, and one for which too little came.
BOOTSTRAP_PAGE = """
awaiting_payment → provisioning | failed | expired
provisioning → ready | failed
"""


def pairs_of(page: str) -> set[tuple[str, str]]:
    lines = [line.split(" → ") for line in page.strip().splitlines()]
    return {(old, new) for old, onward in lines for new in onward.split(" | ")}


def pairs_in(table) -> set[tuple[str, str]]:
    return {(str(old), str(new)) for old, onward in table.items() for new in onward}


def test_the_job_table_is_the_page():
    assert pairs_in(transitions.JOB) == pairs_of(JOB_PAGE)


def test_the_refund_table_is_the_page():
    assert pairs_in(transitions.REFUND) == pairs_of(REFUND_PAGE)


def test_the_session_table_is_the_page():
    assert pairs_in(transitions.SESSION) == pairs_of(SESSION_PAGE)


def test_the_table_of_orders_is_the_page():
    assert pairs_in(transitions.BOOTSTRAP) == pairs_of(BOOTSTRAP_PAGE)


def test_every_state_has_its_row():
    assert set(transitions.BOOTSTRAP) == set(BootstrapState)
    assert set(transitions.SESSION) == set(SessionState)
    assert set(transitions.JOB) == set(JobState)
    assert set(transitions.REFUND) == set(RefundState)


@pytest.mark.parametrize("old", JobState)
@pytest.mark.parametrize("new", JobState)
def test_a_job_moves_where_the_page_says_and_nowhere_else(old, new):
    """JOB-07."""
    if (old, new) in pairs_of(JOB_PAGE):
        assert job_moves(old, new) is new
    else:
        with pytest.raises(IllegalTransition, match=f"a job in {old} can't become {new}"):
            job_moves(old, new)


@pytest.mark.parametrize("old", RefundState)
@pytest.mark.parametrize("new", RefundState)
def test_a_refund_moves_where_the_page_says_and_nowhere_else(old, new):
    if (old, new) in pairs_of(REFUND_PAGE):
        assert refund_moves(old, new) is new
    else:
        with pytest.raises(IllegalTransition, match=f"a refund that is {old} can't become {new}"):
            refund_moves(old, new)


@pytest.mark.parametrize("old", SessionState)
@pytest.mark.parametrize("new", SessionState)
def test_a_session_moves_where_the_page_says_and_nowhere_else(old, new):
    if (old, new) in pairs_of(SESSION_PAGE):
        assert session_moves(old, new) is new
    else:
        with pytest.raises(IllegalTransition, match=f"a session that is {old} can't become {new}"):
            session_moves(old, new)


@pytest.mark.parametrize("old", BootstrapState)
@pytest.mark.parametrize("new", BootstrapState)
def test_an_order_moves_where_the_page_says_and_nowhere_else(old, new):
    if (old, new) in pairs_of(BOOTSTRAP_PAGE):
        assert bootstrap_moves(old, new) is new
    else:
        with pytest.raises(IllegalTransition, match=f"an order of a node that is {old} can't become {new}"):
            bootstrap_moves(old, new)


def test_groups_of_states_cover_all_and_do_not_overlap():
    groups = (transitions.AWAITING, transitions.RUNNING, transitions.ENDED)
    assert frozenset().union(*groups) == frozenset(JobState)
    assert sum(len(group) for group in groups) == len(JobState)
    assert transitions.UNSERVED < transitions.ENDED


def test_a_job_is_born_before_its_first_run_or_in_it():
    assert {str(state) for state in transitions.BORN} == {"awaiting_eval_payment", "evaluating"}


def test_the_diagrams_draw_every_pair_once():
    for diagram in transitions.drawn().split("```mermaid"):
        drawn = [line for line in diagram.splitlines() if " --> " in line]
        assert len(drawn) == len(set(drawn))
    lines = [line.strip() for line in transitions.drawn().splitlines()]
    arrows = [tuple(line.split(" --> ")) for line in lines if " --> " in line]
    between = {pair for pair in arrows if "[*]" not in pair}
    pages = (JOB_PAGE, REFUND_PAGE, SESSION_PAGE, BOOTSTRAP_PAGE)
    assert between == set().union(*map(pairs_of, pages))
    assert {new for old, new in arrows if old == "[*]"} == {
        "awaiting_eval_payment", "evaluating", "owed", "held", "credited", "awaiting_payment",
    }  # fmt: skip
    final = {
        "complete",
        "rejected",
        "failed",
        "expired",
        "cancelled",
        "sent",
        "credited",
        "paid_elsewhere",
        "closed",
        "ready",
    }
    assert {old for old, new in arrows if new == "[*]"} == final
    assert lines.count("```mermaid") == lines.count("stateDiagram-v2") == 4
    assert lines.count("```") == 4
