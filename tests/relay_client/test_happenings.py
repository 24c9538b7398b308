"""What misbehaviour costs a relay."""

from relay_client.happenings import DROP_AT_POINTS, POINTS, Misbehaviour, Score


def test_every_misbehaviour_has_its_price():
    assert POINTS.keys() == set(Misbehaviour)
    assert all(0 <= points <= DROP_AT_POINTS for points in POINTS.values())
    assert [what for what, points in POINTS.items() if points == 0] == [Misbehaviour.UNANSWERED]


def test_one_slip_is_forgiven_and_many_at_once_are_not():
    score = Score()
    score.add(Misbehaviour.FORGED_EVENT, 10.0)
    assert not score.is_too_high(10.0)
    for _ in range(4):
        score.add(Misbehaviour.FORGED_EVENT, 10.0)
    assert score.is_too_high(10.0)


def test_points_fade_with_time_but_not_below_nothing():
    score = Score()
    score.add(Misbehaviour.OVERSIZED_FRAME, 100.0)
    assert score.points(105.0) == 15.0
    assert score.points(1_000.0) == 0.0
    score.add(Misbehaviour.NOTICE, 1_000.0)
    assert score.points(1_000.0) == 1.0


def test_a_clock_that_goes_back_forgives_nothing():
    score = Score()
    score.add(Misbehaviour.NOTICE, 100.0)
    assert score.points(50.0) == 1.0


def test_a_notice_a_second_is_no_flood():
    score = Score()
    for second in range(1_000):
        score.add(Misbehaviour.NOTICE, float(second))
        assert not score.is_too_high(float(second))


def test_a_relay_that_has_served_its_time_starts_afresh():
    score = Score()
    for _ in range(10):
        score.add(Misbehaviour.FORGED_EVENT, 0.0)
    score.clear()
    assert score.points(0.0) == 0.0


def test_what_was_done_is_counted_by_name_and_not_forgotten_when_the_points_are():
    score = Score()
    for _ in range(3):
        score.add(Misbehaviour.FORGED_EVENT, 0.0)
    score.add(Misbehaviour.UNANSWERED, 0.0)
    score.clear()
    assert score.faults == {"forged_event": 3, "unanswered": 1}


def test_a_notice_now_and_then_is_no_fault_and_a_flood_of_them_is():
    score = Score()
    for second in range(100):
        score.add(Misbehaviour.NOTICE, 60.0 * second)
    assert score.faults == {}
    for _ in range(50):
        score.add(Misbehaviour.NOTICE, 6_000.0)
    assert score.faults == {"notice": 40}
