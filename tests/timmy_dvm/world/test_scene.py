"""The scene alone: it follows so many jobs and no more, and its counts always add up."""

import dataclasses

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ledger.records import Applied, Change, Door, JobState
from tests.ledger import books
from tests.timmy_dvm.core.builders import made_job
from tests.timmy_dvm.world.shop import CLEAR, SEALED
from timmy_dvm.core.transitions import ENDED, JOB
from timmy_dvm.world.frames import Counts
from timmy_dvm.world.scene import MAX_JOBS, MAX_ON_BENCHES, Scene

AT = 1_700_000_000


def arrival(new):
    return Applied(None, change=Change(new_job=new))


class Jobs(RuleBasedStateMachine):
    """Jobs come, go on as their table allows, and end, in any order."""

    def __init__(self):
        super().__init__()
        self.scene, self.jobs, self.count = Scene(b"salt"), {}, 0

    @rule(
        origin=st.sampled_from([CLEAR, SEALED, ""]), state=st.sampled_from(["awaiting_eval_payment", "evaluating"])
    )
    def comes(self, origin, state):
        self.count += 1
        new = new_job(f"{self.count:032x}", JobState(state), origin)
        self.scene.committed(arrival(new), AT)
        self.jobs[new.id] = (made_job(new), origin != CLEAR)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def goes_on(self, data):
        job_id = data.draw(st.sampled_from(sorted(self.jobs)))
        job, sealed = self.jobs[job_id]
        onward = data.draw(st.sampled_from(sorted(JOB[job.state])))
        job = dataclasses.replace(job, state=onward)
        frames = self.scene.committed(Applied(job), AT)
        if sealed:
            assert {type(frame) for frame in frames} <= {Counts}
        if onward in ENDED:
            del self.jobs[job_id]
        else:
            self.jobs[job_id] = (job, sealed)

    @rule()
    def strangers_are_passed_over(self):
        assert self.scene.committed(Applied(None), AT) == []

    @invariant()
    def counts_add_up(self):
        shown = self.scene.snapshot(AT)
        sealed = sum(sealed for _, sealed in self.jobs.values())
        assert shown.sealed == sealed
        assert len(shown.parcels) + shown.more == len(self.jobs) - sealed
        assert len(shown.parcels) <= MAX_ON_BENCHES
        assert len({parcel.label for parcel in shown.parcels}) == len(shown.parcels)
        at_work = any(job.state in ("evaluating", "executing") for job, sealed in self.jobs.values() if not sealed)
        assert (shown.agents[2].state == "working") is at_work


def new_job(job_id, state=JobState.AWAITING_EVAL_PAYMENT, origin=CLEAR):
    return books.new_job(job_id, state=state, origin=origin, door=Door.NOSTR)


TestJobs = Jobs.TestCase
TestJobs.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_no_more_jobs_are_followed_than_there_is_room_for():
    scene = Scene(b"salt")
    for number in range(MAX_JOBS + 50):
        scene.committed(arrival(new_job(f"{number:032x}")), AT)
    shown = scene.snapshot(AT)
    assert len(shown.parcels) + shown.more == MAX_JOBS
    assert shown.agents[1].doing == f"waits for {MAX_JOBS} payments"
