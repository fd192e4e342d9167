"""The page Today: what it counts, against plain counting, and what a browser shows of it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from tests.service.server import png
from tests.service.test_http import problem
from tests.service.toys import store_row
from weakspot.evaluation.charts import edges_of
from weakspot.inspection.inspection import Thresholds
from weakspot.service import records
from weakspot.service.pages import counts
from weakspot.service.pages.counts import Span
from weakspot.service.pages.day import Days, days_of
from weakspot.service.pages.drift import drift_of
from weakspot.service.parts import Parts
from weakspot.service.store import Store

Open = Callable[..., Any]
MODEL = "5" * 64
LIMITS = Thresholds(bad_from=1.0, good_below=-1.0, rule="best_f1", chosen_on="nothing")
TODAY = datetime.now(UTC).date()


@pytest.fixture
def store(url: str) -> Any:
    opened = Store(url)
    opened.write(lambda c: records.add_model(c, MODEL, "made", "me", 1.0, -1.0))
    yield opened
    opened.close()


def test_a_day_is_counted_in_the_database_as_plain_counting_has_it(store: Store):
    rng = np.random.default_rng(0)
    rows = []
    for number in range(120):
        score = float(rng.choice([-1.0, 1.0, *rng.normal(0, 3, 3)]))
        decision = "bad" if score >= 1 else "good" if score < -1 else "review"
        day, said = rng.choice(["2026-01-01", "2026-01-02"]), [str(word) for word in rng.choice(WORDS, rng.integers(3))]
        part = str(rng.integers(20)) if number % 2 else None
        row = {"score": score, "part": part, "time": f"{day}T00:00:00.000Z", "verdicts": said}
        store_row(store, decision, number, **row)
        rows.append((f"part {part}" if part else number, decision, score, day, said[-1] if said else ""))
    store_row(store, "not inspected", 999, time="2026-01-01T23:59:59.999Z")
    span = Span("2026-01-01T00:00:00.000Z", "2026-01-01T24:00:00.000Z")
    mine = [row for row in rows if row[3] == "2026-01-01"]
    answered = store.read(lambda c: counts.decisions(c, span))
    assert answered.pop("not inspected") == 1
    assert answered == {word: sum(row[1] == word for row in mine) for word in {row[1] for row in mine}}
    for decision, verdict in (("good", "bad"), ("bad", "good")):
        found = store.read(lambda c, of=(decision, verdict): counts.otherwise(c, span, *of))
        judged = [row for row in mine if row[1] == decision and row[4] in ("good", "bad")]
        wrong = {row[0] for row in judged if row[4] == verdict}
        assert (found.k, found.n, found.pictures) == (len(wrong), len({row[0] for row in judged}), len(judged))
    scores = np.array([row[2] for row in mine])
    told = store.read(lambda c: counts.scores(c, MODEL, span))
    assert (told.n, told.low, told.high) == (len(mine), scores.min(), scores.max())
    edges = [*map(float, edges_of([*scores], LIMITS))]
    for only, of in ((False, scores), (True, np.array([row[2] for row in mine if row[4] == "bad"]))):
        found = store.read(lambda c, bad=only: counts.binned(c, MODEL, span, edges, bad))
        assert found == np.histogram(of, edges)[0].tolist()
    tried = store.read(lambda c: counts.at_thresholds(c, MODEL, span.until, -0.5, 2.0))
    for row in tried:
        judged = [each for each in mine if each[4] == row.verdict]
        parts = lambda is_so, of=judged: len({each[0] for each in of if is_so(each[2])})  # noqa: E731
        assert (row.n, row.pictures) == (parts(lambda _: True), len(judged))
        assert row.passed == parts(lambda raw: raw < -0.5) and row.called_bad == parts(lambda raw: raw >= 2)
        assert row.left == parts(lambda raw: -0.5 <= raw < 2)


WORDS = ["good", "bad", "unsure", "withdrawn"]


def days(parts: Parts, number: int = 1) -> Days:
    return days_of(parts, None, number, None)


def test_thirty_pictures_of_one_part_are_one_part(parts: Parts):
    for number in range(30):
        store_row(parts.store, "good", number, part="4711", verdicts=["good"])
    escapes = days(parts).rates[0]
    assert (escapes.k, escapes.n, escapes.counted, escapes.judged, escapes.of) == (0, 1, "parts", 30, 30)


def test_scores_are_compared_with_the_week_before_or_the_training_and_it_is_said_with_which(parts: Parts):
    for number in range(40):
        store_row(parts.store, "bad", number, score=3 + number / 40)
        store_row(parts.store, "good", number, score=-3 - number / 40)
    few = days(parts).drift
    assert few is not None and (few.state, few.n, few.those) == (
        "not known", (80, 0), "of the 7 days before, by the same model"
    )  # fmt: skip
    for ago, number in ((8, 40), (7, 40), (1, 40)):
        day = TODAY - timedelta(days=ago)
        for n in range(number):
            store_row(parts.store, "good", n, score=-3 - n / 40, time=f"{day}T12:00:00.000Z")
    moved = days(parts).drift
    assert moved is not None and (moved.state, moved.n) == ("changed", (80, 80)), "the eighth day is not of that week"
    assert moved.distance == pytest.approx(0.5) and moved.means[0] == pytest.approx(0, abs=1e-9)
    same = days(parts, 2).drift
    assert same is not None and same.n == (120, 80)
    now = parts.store.read(lambda c: counts.scores(c, parts.detectors.active.info.sha256, Span("", "a")))
    edges, none = np.arange(5.0), np.zeros(4, int)
    mine = np.array([0, 20, 20, 0])
    nothing = parts.store.read(lambda c: counts.scores(c, MODEL, Span("", "a")))
    learned = drift_of(now, mine, nothing, none, [1.5] * 20 + [2.5] * 20, edges, none)
    assert learned.those.startswith("good training pictures") and (learned.state, learned.index) == ("not changed", 0)


def test_today_says_what_the_verdicts_show_and_what_they_do_not(start: Open, open_page: Open):
    server = start()
    for decision, verdict, number in (("good", "good", 8), ("good", "bad", 1), ("good", None, 3), ("bad", None, 2)):
        for seed in range(number):
            where = server.send(png(decision, seed), part=f"{decision}{verdict}{seed}").headers["location"]
            if verdict:
                server.client.post(f"{where}/verdicts", json={"verdict": verdict})
    page = open_page(f"{server.address}/today")
    assert [text.split()[0] for text in page.locator(".tally li").all_inner_texts()] == ["12", "0", "2", "0"]
    escapes, alarms = page.locator(".rate").all_inner_texts()
    assert "1 of 9 judged pictures" in escapes and "95 % interval 0.2 to 49 %" in escapes.replace("\u00a0", " ")
    assert "9 of the 12 passed pictures were judged." in escapes
    assert "None of the 2 pictures called bad is judged yet" in alarms
    assert page.locator(".row-name b").all_inner_texts() == ["13 not judged bad", "1 judged bad"]
    page.goto(f"{server.address}/today?day=2020-01-01")
    assert "Nothing was inspected on this day." in page.locator("main").inner_text()


def test_limits_are_set_kept_and_held_against_what_was_judged(start: Open, open_page: Open):
    server = start()
    for number in range(25):
        where = server.send(png("good", number)).headers["location"]
        server.client.post(f"{where}/verdicts", json={"verdict": "good"})
    for number in range(6):
        where = server.send(png("bad", number)).headers["location"]
        server.client.post(f"{where}/verdicts", json={"verdict": "good"})
    page = open_page(f"{server.address}/today")
    assert page.get_by_text("No limit is given.").count() == 2
    page.get_by_label("Escapes, at most").fill("12")
    page.get_by_label("False alarms, at most").fill("10")
    page.get_by_label("Why").fill("contract of June")
    page.get_by_role("button", name="Set").click()
    page.get_by_text("contract of June").wait_for()
    escapes, alarms = (text.replace("\u00a0", " ") for text in page.locator(".limit").all_inner_texts())
    assert escapes == "shown Limit: at most 12 %."
    assert alarms == "failed Limit: at most 10 %, the rate is above 60 %."
    page.get_by_label("Escapes, at most").fill("1")
    page.get_by_label("False alarms, at most").fill("")
    page.get_by_label("Why").fill("stricter")
    page.get_by_role("button", name="Set").click()
    page.get_by_text("stricter").wait_for()
    assert "needs 274 more judged pictures, none of them bad" in page.locator(".limit").inner_text()
    assert page.get_by_text("No limit is given.").count() == 1
    first, second = server.get("/v1/limits")
    assert (first["escapes"], first["false_alarms"], second["escapes"]) == (0.01, None, 0.12)
    for wrong in (0, 1, -0.1, "a"):
        problem(server.client.post("/v1/limits", json={"escapes": wrong, "reason": "x"}), 422, "unfit")


def test_what_other_thresholds_would_have_done_is_an_address(start: Open, open_page: Open):
    server = start()
    for decision, verdict, number in (
        ("good", "good", 4),
        ("review", "good", 3),
        ("review", "bad", 2),
        ("bad", "bad", 5),
    ):
        for seed in range(number):
            where = server.send(png(decision, seed), part=f"{verdict}{decision}{seed // 2}").headers["location"]
            server.client.post(f"{where}/verdicts", json={"verdict": verdict})
    page = open_page(f"{server.address}/today")
    cells = lambda: page.locator("#tried tbody tr").last.locator("td").all_inner_texts()  # noqa: E731
    counted = lambda: [text.split("\n")[0] for text in cells()]  # noqa: E731
    assert counted() == ["0 of 4 parts", "0 of 4 parts", "3 of 8 parts"]
    page.get_by_label("Bad from").fill("-2")
    page.get_by_label("Good below").fill("-2")
    page.get_by_role("button", name="What would they do?").click()
    page.wait_for_url("**bad_from=-2#tried")
    assert counted() == ["0 of 4 parts", "2 of 4 parts", "0 of 8 parts"]
    page = open_page(page.url)
    assert counted() == ["0 of 4 parts", "2 of 4 parts", "0 of 8 parts"], "for whom it is sent to"
    page.get_by_role("link", name="take them to the page Models").click()
    assert page.get_by_label("Bad from").input_value() == "-2.0"
    assert "until you change them" in page.locator("main").inner_text()
    page.goto(f"{server.address}/today?good_below=2&bad_from=1")
    assert "good below 2 is above bad from 1" in page.get_by_role("alert").inner_text()
