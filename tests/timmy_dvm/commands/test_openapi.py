"""`timmy openapi`: the description itself, and whether a kept copy still is it."""

import json


def test_it_prints_the_description(timmy):
    done = timmy("openapi")
    assert done.code == 0
    assert "/api/jobs" in json.loads(done.out)["paths"]
    assert done.err == ""


def test_a_kept_copy_that_is_current_is_said_to_be(timmy, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "openapi.json").write_text(timmy("openapi").out)
    assert timmy("openapi", "--check").code == 0


def test_a_stale_copy_is_exit_code_1_and_the_way_to_mend_it(timmy, tmp_path):
    stale = json.loads(timmy("openapi").out)
    del stale["components"]["schemas"]["Job"]["properties"]["state"]
    (tmp_path / "old.json").write_text(json.dumps(stale))
    done = timmy("openapi", "--check", "old.json")
    assert (done.code, done.out) == (1, "")
    assert "timmy openapi > old.json" in done.err


def test_a_copy_that_is_not_there_is_one_line(timmy):
    done = timmy("openapi", "--check")
    assert done.code == 1
    assert "docs/openapi.json can't be read" in done.err
    assert "Traceback" not in done.err
