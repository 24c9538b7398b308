"""What the operator is told goes to the operator's own question, as it is."""

from tests.timmy_dvm.core import builders as b
from timmy_dvm.core.case import Case
from timmy_dvm.core.decide import decide
from timmy_dvm.core.operator_facts import StatusTold


def test_the_status_of_the_node_is_told_and_nothing_else_happens():
    fact = StatusTold(event_id="e3" * 32, body={"issues": []}, origin=b.ORIGIN, at=b.NOW)
    decision = decide(Case(), fact, b.POLICY)
    (tell,) = decision.tells
    assert (tell.message.body, tell.origin) == ({"op": "node-status", "issues": []}, b.ORIGIN)
    assert (decision.actions, decision.entries, decision.new_job) == ((), (), None)
