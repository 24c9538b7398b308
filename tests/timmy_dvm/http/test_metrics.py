"""Numbers for Prometheus: the text format, and who may read it (threat 45)."""

import math
import re

import httpx

from timmy_dvm.config import Secret
from timmy_dvm.http.admins import Admins
from timmy_dvm.http.app import create_app
from timmy_dvm.http.metrics import MAX_SAMPLES, Family, Sample, routes, written

LINE = re.compile(
    r"# (HELP|TYPE) [a-z_]+ .+"
    r'|[a-z_]+(\{[a-z_]+="(?:[^"\\\n]|\\["\\n])*"(,[a-z_]+="(?:[^"\\\n]|\\["\\n])*")*\})? -?[0-9.e+-]+'
)


def test_a_family_is_its_meaning_its_kind_and_its_numbers():
    jobs = Family("jobs_total", "counter", "Jobs.", [Sample(3, (("door", "http"), ("state", "complete")))])
    level = Family("level", "gauge", "A level.", [Sample(-1.5)])
    assert written([jobs, level]).decode() == (
        "# HELP jobs_total Jobs.\n# TYPE jobs_total counter\n"
        'jobs_total{door="http",state="complete"} 3.0\n'
        "# HELP level A level.\n# TYPE level gauge\nlevel -1.5\n"
    )


def test_no_label_breaks_a_line():
    text = written([Family("m", "gauge", 'a\nb \\ "', [Sample(1, (("relay", 'a"b\\c\nd'),))])]).decode()
    assert text.splitlines()[-1] == 'm{relay="a\\"b\\\\c\\nd"} 1.0'
    assert all(LINE.fullmatch(line) for line in text.splitlines())


def test_a_family_is_bounded():
    many = [Sample(n, (("n", str(n)),)) for n in range(1_000)]
    assert len(written([Family("m", "gauge", "M.", many)]).splitlines()) == MAX_SAMPLES + 2


async def test_only_the_operator_reads_them():
    async def show():
        return [Family("m", "gauge", "M.", [Sample(math.pi)])]

    app = create_app([routes(show, Admins(Secret("t" * 16), is_public=True))], lambda: "0" * 32)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://timmy") as http:
        assert (await http.get("/metrics")).status_code == 403
        answer = await http.get("/metrics", headers={"Authorization": f"Bearer {'t' * 16}"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text.endswith(f"m {math.pi!r}\n")
