"""What misbehaviour costs a relay."""

from relay_client.happenings import DROP_AT_POINTS, POINTS, Misbehaviour, Score


def test_every_misbehaviour_has_its_price():
    assert POINTS.keys() == set(Misbehaviour)
    assert all(0 < points <= DROP_AT_POINTS for points in POINTS.values())


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
