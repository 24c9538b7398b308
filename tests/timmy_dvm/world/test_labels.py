from timmy_dvm.world.labels import label_of

SALT = b"s" * 32


def test_a_job_keeps_its_name_and_another_salt_gives_another():
    ids = [f"{number:032x}" for number in range(200)]
    assert [label_of(one, SALT) for one in ids] == [label_of(one, SALT) for one in ids]
    assert [label_of(one, SALT) for one in ids] != [label_of(one, b"t" * 32) for one in ids]


def test_names_are_word_pairs_and_say_nothing_of_the_id():
    for number in range(500):
        job_id = f"{number:032x}"
        colour, _, thing = label_of(job_id, SALT).partition("-")
        assert colour.isalpha()
        assert thing.isalpha()
        assert job_id[-4:] not in colour + thing


def test_names_are_spread():
    assert len({label_of(f"{number:032x}", SALT) for number in range(2_000)}) > 700
