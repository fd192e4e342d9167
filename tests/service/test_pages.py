"""The pages in a real browser: what people do there by mouse, keyboard and phone, and what the store then holds."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.server import Server, png
from tests.service.test_http import problem
from tests.service.toys import store_row
from weakspot.service import records
from weakspot.service.pages.queue import to_review
from weakspot.service.parts import Parts

Open = Callable[..., Any]
PAGES = {"/inspect": "inspect", "/stream": "review", "/review": "review", "/today": "review", "/models": "review"}
PAGES["/train"] = "admin"
SCOPES = ("inspect", "review", "admin")
PASSWORD = "correct horse battery"


def until(page, expression: str) -> None:
    """Wait until it is so; asked from outside, since the page's own policy lets no text become code."""
    for _ in range(200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never came true: {expression}")


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Server]:
    """A service on every address, with people of two scopes."""
    data = tmp_path_factory.mktemp("plant") / "data"
    server = Server(data, "--host", "0.0.0.0", model=model)
    server.client.headers["authorization"] = f"Bearer {(data / 'admin.token').read_text().strip()}"
    for name, scope in (("Ina", "inspect"), ("Ada", "review")):
        person = {"name": name, "password": PASSWORD, "scope": scope}
        assert server.client.post("/v1/users", json=person).status_code == 204
    yield server
    server.stop()


def log_in(page: Any, name: str, password: str = PASSWORD) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in", exact=True).click()


def test_each_page_needs_what_its_answers_need_and_leads_to_the_log_in(plant: Server):
    tokens = {
        scope: plant.client.post("/v1/tokens", json={"name": scope, "scope": scope}).json()["token"] for scope in SCOPES
    }
    for path, needed in PAGES.items():
        html = {"accept": "text/html"}
        nobody = httpx.get(f"{plant.address}{path}?a=b", headers=html)
        assert (nobody.status_code, nobody.headers["location"]) == (
            303,
            f"/log-in?next={path.replace('/', '%2F')}%3Fa%3Db",
        )
        for scope, token in tokens.items():
            answer = httpx.get(f"{plant.address}{path}", headers=html, cookies={"weakspot": token})
            enough = SCOPES.index(scope) >= SCOPES.index(needed)
            assert answer.status_code == (200 if enough else 403), (path, scope)
            assert (f"needed is {needed}" in answer.text) == (not enough)


def test_a_person_logs_in_where_they_wanted_to_go_and_out_again(plant: Server, open_page: Open):
    page = open_page(f"{plant.address}/stream?station=a")
    log_in(page, "Ada", "wrong password")
    assert "name or password is wrong" in page.get_by_role("alert").inner_text()
    assert page.get_by_label("Name").input_value() == "Ada"
    assert page.evaluate("document.activeElement.name") == "password"
    log_in(page, "Ada")
    page.wait_for_url("**/stream?station=a")
    page.goto(f"{plant.address}/train")
    page.get_by_text("your account is for review; needed is admin").wait_for()
    (cookie,) = page.context.cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
    where = plant.send(png()).headers["location"]
    as_ada = {"cookies": {"weakspot": cookie["value"]}, "json": {"verdict": "bad"}}
    problem(httpx.post(f"{plant.address}{where}/verdicts", **as_ada), 403, "csrf")
    page.goto(f"{plant.address}/inspections/{where.rsplit('/', 1)[1]}")
    page.keyboard.press("b")
    page.get_by_text("by Ada").wait_for()
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/log-in")
    problem(httpx.get(f"{plant.address}/v1/models", cookies=as_ada["cookies"]), 401, "token")


@pytest.mark.parametrize("next", ["https://evil.example", "//evil.example", "/\\evil.example", "/\t/evil.example"])
def test_logging_in_never_leads_to_another_site(plant: Server, next: str):
    token = plant.client.headers["authorization"].removeprefix("Bearer ")
    answer = httpx.post(f"{plant.address}/log-in", data={"token": token, "next": next})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_dropped_pictures_are_answered_and_space_shows_them_bare(service: Server, open_page: Open):
    page = open_page(f"{service.address}/")
    assert "Drop a picture" in page.locator("main").inner_text()
    pictures = [("a.png", png("bad", 70)), ("b.png", png("good", 71)), ("c.png", b"no picture")]
    files = [{"name": name, "mimeType": "image/png", "buffer": content} for name, content in pictures]
    page.get_by_label("Pictures to inspect").set_input_files(files)
    page.wait_for_url("**/inspect?id=*")
    assert "1 not inspected" in page.get_by_role("heading", name="3 pictures").inner_text()
    assert page.locator(".cards .name").all_inner_texts() == ["a.png", "b.png", "c.png"], "as they were dropped"
    assert page.locator(".look .name").inner_text() == "a.png"
    assert all(text.endswith(" UTC") for text in page.locator(".cards .truth").all_inner_texts())
    found = page.get_by_label("What was found").inner_text()
    assert "\nbad\n" in found and "good below 0.27 · bad from 0.73" in found
    heat = page.locator(".stage .heat")
    assert heat.evaluate("image => image.decode().then(() => image.naturalWidth)") == 12
    page.get_by_label("Heat").fill("0.3")
    page.reload()
    assert heat.evaluate("image => getComputedStyle(image).opacity") == "0.3", "as it was left"
    page.keyboard.down(" ")
    assert heat.evaluate("image => getComputedStyle(image).visibility") == "hidden"
    page.keyboard.up(" ")
    assert heat.evaluate("image => getComputedStyle(image).visibility") == "visible"


def test_what_was_answered_is_shown_though_another_picture_was_refused(service: Server, open_page: Open):
    page = open_page(f"{service.address}/inspect")
    page.route("**/v1/inspections", refuse_the_second())
    files = [
        {"name": f"{name}.png", "mimeType": "image/png", "buffer": png("bad", seed)} for seed, name in enumerate("abc")
    ]
    page.get_by_label("Pictures to inspect").set_input_files(files)
    page.wait_for_url("**/inspect?id=*")
    assert page.get_by_role("heading", name="2 pictures: 2 bad").is_visible()
    page.get_by_text("b.png: larger than allowed").wait_for()
    page.reload()
    assert page.locator("#said").inner_text() == "", "once"


def refuse_the_second() -> Callable[[Any], None]:
    seen: list[Any] = []

    def answer(route: Any) -> None:
        seen.append(route)
        refused = {"type": "urn:weakspot:too-large", "detail": "larger than allowed"}
        route.fulfill(status=413, json=refused) if len(seen) == 2 else route.continue_()

    return answer


def test_thresholds_are_tried_by_keys_and_by_hand_and_set_by_nobody_but_an_admin(start: Open, open_page: Open):
    server = start()
    ids = [server.send(png(word, 5)).json()["id"] for word in ("review", "bad", "good")]
    page = open_page(f"{server.address}/inspect?{'&'.join(f'id={each}' for each in ids)}")
    good, bad = page.get_by_label("Good below: try"), page.get_by_label("Bad from: try")
    would = page.locator(".would")
    assert not would.is_visible()
    bad.focus()
    for _ in range(30):
        page.keyboard.press("ArrowLeft")
    assert would.inner_text() == "It would be bad; of the 3 here 1 good, 0 review, 2 bad"
    assert bad.get_attribute("aria-valuetext") == page.locator("[data-told=bad_from]").inner_text() == "0.43"
    page.get_by_role("button", name="As they are").click()
    assert not would.is_visible() and page.locator("[data-told=bad_from]").inner_text() == "0.73"
    box = page.locator("[data-try]").bounding_box()
    at = lambda share: (box["x"] + share * box["width"], box["y"] + box["height"] / 2)  # noqa: E731
    page.mouse.move(*at(0.269))
    page.mouse.down()
    page.mouse.move(*at(0.6), steps=4)
    page.mouse.up()
    assert good.evaluate("input => input.valueAsNumber") == pytest.approx(0.6, abs=0.02), (
        "the mark is where it is drawn"
    )
    assert would.inner_text().startswith("It would be good")
    page.mouse.move(*at(0.6))
    page.mouse.down()
    page.mouse.move(*at(0.9), steps=4)
    page.mouse.up()
    assert good.input_value() == bad.input_value(), "neither passes the other"
    page.get_by_role("link", name="Take them to the page Models").click()
    assert float(page.get_by_label("Bad from").input_value()) == pytest.approx(2.2, abs=0.4)
    page.get_by_text("until you change them").wait_for()
    (active,) = server.get("/v1/models")["models"]
    assert (active["good_below"], active["bad_from"]) == (-1.0, 1.0), "nothing was changed"


def test_a_verdict_is_withdrawn_and_other_answers_to_the_same_picture_are_shown(
    start: Open, open_page: Open, other_model: Path
):
    server = start()
    first = server.send(png("bad", 7)).json()["id"]
    sha256 = server.client.post(
        "/v1/models", content=other_model.read_bytes(), headers={"content-type": "application/octet-stream"}
    ).json()["sha256"]
    server.client.post(f"/v1/models/{sha256}/activate", json={"reason": "a test"})
    server.send(png("bad", 7))
    page = open_page(f"{server.address}/inspections/{first}")
    assert "review" in page.get_by_role("link", name="other").locator("xpath=..").inner_text()
    assert page.get_by_role("button", name="Withdraw").count() == 0
    page.keyboard.press("b")
    page.get_by_role("button", name="Withdraw").wait_for()
    server.client.post(f"/v1/inspections/{first}/verdicts", json={"verdict": "good"})
    page.keyboard.press("w")
    page.get_by_text("local said good, which stays").wait_for()
    page.reload()
    page.keyboard.press("w")
    page.get_by_text("withdrawn by local").wait_for()
    assert page.get_by_role("button", name="Withdraw").count() == 0
    assert server.get(f"/v1/inspections/{first}")["verdict"] == "withdrawn"


def test_a_picture_is_zoomed_and_moved_by_keys_and_fits_again(service: Server, open_page: Open):
    page = open_page(
        service.address + service.send(png("bad", 72), part="zoomed").headers["location"].removeprefix("/v1")
    )
    width = lambda: page.locator(".stage .pic").bounding_box()["width"]  # noqa: E731
    left = lambda: page.locator(".stage .pic").bounding_box()["x"]  # noqa: E731
    whole, at = width(), left()
    page.locator(".stage").focus()
    page.keyboard.press("+")
    assert width() == pytest.approx(1.5 * whole, rel=0.01)
    before = left()
    page.keyboard.press("ArrowRight")
    assert left() == pytest.approx(before - 60, abs=1)
    page.keyboard.press("0")
    assert (width(), left()) == (whole, at)


def test_ten_are_reviewed_by_keyboard_and_the_store_holds_what_was_pressed(start: Open, open_page: Open):
    server = start()
    sent = [server.send(png("review", seed)).json()["id"] for seed in range(9)] + [server.send(png("bad")).json()["id"]]
    order = [*sent[8::-1], sent[9]]  # undecided ones first, the newest of each kind first
    page = open_page(f"{server.address}/review")
    assert page.locator(".queue li").evaluate_all("items => items.map(item => item.dataset.id)") == order
    assert "1.00" not in page.locator("main").inner_text(), "a score leads nobody"
    for key in "gbugsnbbggbg":
        page.keyboard.press(key)
    page.get_by_text("You judged").wait_for()
    assert "You judged 5 good, 3 bad and 1 not sure, and skipped 1." in page.locator("#summary").inner_text()
    page.keyboard.press("u")
    page.keyboard.press("b")
    until(page, "document.querySelector('#summary').textContent.includes('4 bad')")
    page.wait_for_load_state("networkidle")
    judged = [server.get(f"/v1/inspections/{each}")["verdict"] for each in order]
    assert judged == ["good", "good", None, "unsure", "bad", "bad", "good", "good", "bad", "bad"]
    again = [each["verdict"] for each in server.get(f"/v1/inspections/{order[1]}")["verdicts"]]
    assert again == ["bad", "withdrawn", "good"]
    page.reload()
    assert page.locator(".queue li").count() == 1, "what was skipped comes again"


def test_a_passed_part_in_sixteen_is_reviewed_too_and_no_other(service: Server):
    sent = [service.send(png("good", seed)).json()["id"] for seed in range(30)]
    shown = service.client.get("/review").text
    assert [each for each in sent if each in shown] == [each for each in sent if each.startswith("0")]


def in_force(server: Server, ids: list[str]) -> list[str | None]:
    return [server.get(f"/v1/inspections/{each}")["verdict"] for each in ids]


def settled(page: Any) -> None:
    """Wait until what a page asked for is answered."""
    until(page, "pending === 0")


@pytest.fixture
def undecided(service: Server) -> Callable[[int], tuple[Server, list[str]]]:
    """So many parts, and no other, in the order in which they are reviewed."""

    def go(number: int) -> tuple[Server, list[str]]:
        for each in re.findall(r'data-id="([^"]+)"', service.client.get("/review").text):
            service.client.post(f"/v1/inspections/{each}/verdicts", json={"verdict": "unsure"})
        sent = [service.send(png("review", seed), part=str(seed)).json()["id"] for seed in range(number)]
        return service, sent[::-1]

    return go


def test_verdicts_are_kept_though_the_page_is_left_at_once(undecided: Open, open_page: Open):
    server, ids = undecided(8)
    page = open_page(f"{server.address}/review")
    for _ in range(7):
        page.keyboard.press("g")
    page.goto(f"{server.address}/stream")
    deadline = time.monotonic() + 20
    while (said := in_force(server, ids)) != ["good"] * 7 + [None] and time.monotonic() < deadline:
        time.sleep(0.1)
    assert said == ["good"] * 7 + [None]


def test_who_leaves_while_a_verdict_is_on_its_way_is_asked_first(undecided: Open, open_page: Open):
    server, (number,) = undecided(1)
    page = open_page(f"{server.address}/review")
    held: list[Any] = []
    page.route("**/verdicts", lambda route: held.append(route))
    page.keyboard.press("g")
    until(page, "pending === 1")
    with page.expect_event("dialog") as asked:
        page.close(run_before_unload=True)
    assert asked.value.type == "beforeunload"
    asked.value.dismiss()
    held[0].continue_()
    until(page, "pending === 0")
    assert in_force(server, [number]) == ["good"]


def test_nobody_takes_back_what_somebody_else_said(undecided: Open, open_page: Open):
    server, (number,) = undecided(1)
    one = open_page(f"{server.address}/review")
    one.keyboard.press("g")
    settled(one)
    server.client.post(f"/v1/inspections/{number}/verdicts", json={"verdict": "bad"})
    one.keyboard.press("u")
    one.get_by_text("0: not taken back: local said bad").wait_for()
    assert "You judged 1 good" in one.locator("#summary").inner_text()
    assert in_force(server, [number]) == ["bad"]
    where = f"/v1/inspections/{number}"
    last = server.get(where)["verdicts"][-1]["number"]
    for after in (0, last - 1, last + 1):
        said = {"verdict": "withdrawn", "after": after}
        problem(server.client.post(f"{where}/verdicts", json=said), 409, "judged-meanwhile")
    answer = server.client.post(f"{where}/verdicts", json={"verdict": "good", "after": last})
    assert answer.status_code == 201 and answer.json()["number"] > last


def test_two_who_begin_with_one_list_do_not_overwrite_each_other(undecided: Open, open_page: Open):
    server, ids = undecided(4)
    server.client.post(f"/v1/inspections/{ids[3]}/verdicts", json={"verdict": "bad"})
    server.client.post(f"/v1/inspections/{ids[3]}/verdicts", json={"verdict": "withdrawn"})
    one, other = open_page(f"{server.address}/review"), open_page(f"{server.address}/review")
    one.keyboard.press("g")
    one.keyboard.press("b")
    settled(one)
    other.keyboard.press("b")
    other.get_by_text("part 3: judged meanwhile by local as good: yours is not kept").wait_for()
    one.keyboard.press("n")
    settled(one)
    other.get_by_text("1 judged meanwhile by others").wait_for()
    assert other.locator("#progress").inner_text() == "1 of 2: part 2", "not from under the hand"
    other.keyboard.press("g")
    other.get_by_text("part 2: judged meanwhile by local as bad").wait_for()
    other.keyboard.press("g")
    settled(other)
    assert in_force(server, ids) == ["good", "bad", "unsure", "good"], "also where one was taken back before"


def test_a_picture_is_reviewed_bare_until_its_heat_is_asked_for(undecided: Open, open_page: Open):
    server, _ = undecided(2)
    page = open_page(f"{server.address}/review")
    opacity = lambda: page.locator(".stage .heat").evaluate("image => getComputedStyle(image).opacity")  # noqa: E731
    assert opacity() == "0", "heat leads as a score would"
    page.keyboard.down(" ")
    assert opacity() == "0.7"
    page.keyboard.up(" ")
    page.get_by_label("Heat", exact=True).fill("0.4")
    assert opacity() == "0.4"
    page.keyboard.press("n")
    assert opacity() == "0", "each one anew"


def test_it_is_said_how_many_wait_beyond_those_of_the_page(start: Open):
    server = start()
    for seed in range(62):
        server.send(png("review", seed))
    assert "62 wait in all" in server.client.get("/review").text


def test_a_verdict_that_was_not_kept_is_told_and_its_picture_alone_comes_again(undecided: Open, open_page: Open):
    server, ids = undecided(4)
    page = open_page(f"{server.address}/review")
    held: list[Any] = []
    page.route(f"**/{ids[0]}/verdicts", lambda route: held.append(route))
    page.keyboard.press("g")
    page.keyboard.press("b")
    until(page, f"document.querySelector('#whole').href.endsWith('{ids[2]}')")
    held[0].abort()
    page.get_by_text("part 3: not kept, and comes again: the service does not answer").wait_for()
    shown = lambda: page.locator("#whole").get_attribute("href").rsplit("/", 1)[1]  # noqa: E731
    assert (shown(), page.locator("#progress").inner_text()) == (ids[2], "2 of 4: part 1"), "not under the hand"
    page.unroute(f"**/{ids[0]}/verdicts")
    page.keyboard.press("n")
    assert shown() == ids[0]
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.get_by_text("You judged 1 good, 1 bad and 1 not sure, and skipped 1.").wait_for()
    settled(page)
    assert in_force(server, ids) == ["good", "bad", "unsure", None]


def test_an_undo_that_fails_changes_nothing_and_keys_pressed_meanwhile_judge_no_other(undecided: Open, open_page: Open):
    server, ids = undecided(3)
    page = open_page(f"{server.address}/review")
    page.keyboard.press("g")
    page.keyboard.press("b")
    settled(page)
    held: list[Any] = []
    page.route("**/verdicts", lambda route: held.append(route))
    page.keyboard.press("u")
    page.keyboard.press("g")
    until(page, "pending === 2")
    held[0].abort()
    page.get_by_text("part 1: not taken back: the service does not answer").wait_for()
    assert page.locator("#progress").inner_text() == "3 of 3: part 0"
    page.unroute("**/verdicts")
    for key in "uugb":
        page.keyboard.press(key)
    until(page, "document.querySelector('#progress').textContent === '3 of 3: part 0'")
    settled(page)
    assert in_force(server, ids) == ["good", "bad", None]
    words = [[each["verdict"] for each in server.get(f"/v1/inspections/{i}")["verdicts"]] for i in ids[:2]]
    assert words == [["good", "withdrawn", "good"], ["bad", "withdrawn", "bad"]]


def test_why_is_chosen_by_a_number_or_written_and_sent_with_the_verdict(undecided: Open, open_page: Open):
    server, ids = undecided(3)
    server.client.post(f"/v1/inspections/{ids[2]}/verdicts", json={"verdict": "unsure", "reason": "burr"})
    page = open_page(f"{server.address}/review")
    assert page.locator("[data-reason]").first.inner_text().split() == ["1", "burr"], "what people say, first"
    page.keyboard.press("1")
    assert page.get_by_role("button", name="burr").get_attribute("aria-pressed") == "true"
    page.keyboard.press("b")
    assert page.locator("#reason").input_value() == ""
    page.keyboard.press("r")
    page.keyboard.type("grease")
    page.keyboard.press("Enter")
    page.keyboard.press("g")
    page.get_by_text("You judged").wait_for()
    settled(page)
    told = [server.get(f"/v1/inspections/{each}")["verdicts"][-1] for each in ids[:2]]
    assert [(each["verdict"], each["reason"]) for each in told] == [("bad", "burr"), ("good", "grease")]


def test_however_many_are_undecided_those_called_bad_and_some_passed_ones_are_reviewed(parts: Parts):
    add = lambda decision, number, **how: store_row(parts.store, decision, number, **how)  # noqa: E731
    with_ids = [add("good", n, audited=n % 16 == 0) for n in range(200)]
    bad = [add("bad", n) for n in range(30)]
    undecided = [add("review", n) for n in range(61)]
    found = [row.id for row in parts.store.read(to_review)]
    assert len(found) == len(set(found)) == 60
    assert found[:40] == undecided[:-41:-1], "the newest"
    assert sum(each in bad for each in found) == 12
    audited = [each for each in with_ids if each.startswith("0")]
    assert sum(each in audited for each in found) == 8 and not set(found) & set(with_ids) - set(audited)
    for each in undecided:
        parts.store.write(lambda c, each=each: records.add_verdict(c, each, "good", "me", ""))
    found = [row.id for row in parts.store.read(to_review)]
    assert sum(each in bad for each in found) == 30 and sum(each in audited for each in found) == 13, "no place is lost"


def test_what_is_far_from_the_verdicts_comes_before_what_is_plain(parts: Parts):
    for decision, score, verdict in (("bad", 4.0, "bad"), ("bad", 6.0, "bad"), ("good", -1.0, "good")):
        number = store_row(parts.store, decision, 0, score=score)
        parts.store.write(lambda c, said=verdict, id=number: records.add_verdict(c, id, said, "me", ""))
    scores = {"bad": (7.0, 1.5, 3.0), "good": (-3.0, -1.2)}  # people's limit is 2: halfway of −1 and 5
    sent = {
        score: store_row(parts.store, word, 0, score=score, audited=True)
        for word, all_ in scores.items()
        for score in all_
    }
    order = [row.raw_score for row in parts.store.read(to_review)]
    assert order == [1.5, 3.0, -1.2, 7.0, -3.0] or order == [1.5, 3.0, -1.2, -3.0, 7.0]
    assert len(sent) == 5


def test_the_stream_shows_newer_ones_and_does_not_move_under_the_hand(service: Server, open_page: Open):
    for seed in range(61):
        service.send(png("good", seed), station="s", part=f"p{seed}")
    page = open_page(f"{service.address}/stream?station=s", viewport={"width": 390, "height": 600})
    first = page.locator(".cards li .name").first
    service.send(png("bad", 99), station="s", part="newest")
    service.send(png("bad", 99), station="elsewhere")
    page.get_by_text("part newest").wait_for()
    assert first.text_content() == "part newest"
    page.mouse.wheel(0, 900)
    until(page, "scrollY > 500")
    service.send(png("bad", 98), station="s", part="newer still")
    page.get_by_role("button", name="Newer inspections").wait_for()
    assert first.text_content() == "part newest"
    page.get_by_role("button", name="Newer inspections").click()
    assert first.text_content() == "part newer still"
    page.reload()
    page.get_by_role("link", name="Older ones").click()
    assert page.locator(".cards .name").all_inner_texts() == ["part p2", "part p1", "part p0"]
    page.get_by_label("Decision").select_option("review")
    page.get_by_role("button", name="Show", exact=True).click()
    assert "No inspection is like that." in page.locator("main").inner_text()


def test_a_live_page_says_that_it_is_not_and_when_it_is_again_and_leads_to_the_log_in(plant: Server, open_page: Open):
    plant.send(png("bad"))
    asked = {"name": "wall", "scope": "review"}
    token = plant.client.post("/v1/tokens", json=asked).json()
    page = open_page(f"{plant.address}/log-in?next=/stream")
    page.get_by_text("With a token").click()
    page.locator("input[name=token]").fill(token["token"])
    page.get_by_role("button", name="Log in with it").click()
    page.wait_for_url("**/stream")
    page.route("**/stream", lambda route: route.abort())
    page.get_by_text("the service does not answer. It is tried again.").wait_for()
    assert "Not live since" in page.locator("#stale").inner_text()
    page.unroute("**/stream")
    page.get_by_text("Live again.").wait_for()
    assert not page.locator("#stale").is_visible()
    assert plant.client.delete(f"/v1/tokens/{token['id']}").status_code == 204
    page.wait_for_url("**/log-in?next=%2Fstream")


def test_the_stream_is_filtered_by_line_and_time_and_the_address_holds_them(service: Server, open_page: Open):
    for seed, line in enumerate(("l1", "l2")):
        service.send(png("good", 300 + seed), part=line, line=line)
    page = open_page(f"{service.address}/stream")
    page.get_by_label("Line").fill("l2")
    page.get_by_label("From, UTC").fill("2026-01-01T00:00")
    page.get_by_role("button", name="Show", exact=True).click()
    page.wait_for_url("**line=l2**since=2026-01-01T00%3A00**")
    assert page.locator(".cards .name").all_inner_texts() == ["part l2"]
    page.get_by_label("Until, UTC").fill("2026-01-01T00:01")
    page.get_by_role("button", name="Show", exact=True).click()
    page.get_by_text("No inspection is like that.").wait_for()
    assert page.get_by_label("From, UTC").input_value() == "2026-01-01T00:00"


def test_words_of_clients_stay_words_on_every_page(service: Server, open_page: Open):
    word = "<img src=x onerror=document.title='caught'>"
    where = service.send(png("review", 80), part=word, station=word).headers["location"].removeprefix("/v1")
    for path in ("/stream", "/review", "/today", "/models", where):
        page = open_page(service.address + path)
        page.wait_for_load_state("networkidle")
        assert page.title() != "caught" and page.locator("img[src=x]").count() == 0
    assert page.get_by_role("heading", name=word).is_visible()


def test_a_model_is_sent_made_active_and_rolled_back(start: Open, other_model: Path, open_page: Open):
    server = start()
    page = open_page(f"{server.address}/models")
    page.get_by_label("Model file").set_input_files(other_model)
    page.get_by_role("button", name="Send").click()
    other = page.get_by_role("row", name="other")
    other.get_by_label("Why").fill("fewer false alarms")
    other.get_by_role("button", name="Make active").click()
    page.get_by_text("fewer false alarms").wait_for()
    assert server.send(png("bad")).json()["model"]["name"] == "other"
    page.locator("[data-post$=roll-back]").get_by_label("Why").fill("a test")
    page.get_by_role("button", name="Roll back").click()
    page.get_by_text("a test").wait_for()
    assert server.send(png("bad")).json()["decision"] == "bad"
    page.get_by_label("Bad from").fill("-3")
    page.locator("[data-post$=thresholds]").get_by_label("Why").fill("crossed")
    page.get_by_role("button", name="Change").click()
    until(page, "document.querySelector('#said').textContent.includes('good_below')")
    page.get_by_label("Bad from").fill("2")
    page.locator("[data-post$=thresholds]").get_by_label("Why").fill("too many alarms")
    page.get_by_role("button", name="Change").click()
    page.get_by_text("good below −1.00, bad from 2.00 (before: −1.00 and 1.00), by local").wait_for()
    assert "too many alarms" in page.locator(".history li").first.inner_text(), "who changed what, the newest first"


def test_on_a_phone_every_page_is_in_sight_and_tables_stay_in_their_cards(plant: Server, open_page: Open):
    token = plant.client.headers["authorization"].removeprefix("Bearer ")
    assert httpx.get(f"{plant.address}/favicon.ico").headers["content-type"] == "image/svg+xml"
    phone = {"width": 390, "height": 800}
    cookies = [{"name": "weakspot", "value": token, "url": plant.address}]
    page = open_page(f"{plant.address}/log-in", viewport=phone)
    page.context.add_cookies(cookies)
    page.goto(f"{plant.address}/models")
    outside = "[...document.querySelectorAll('nav a')].filter(a => a.getBoundingClientRect().right > innerWidth).length"
    assert page.locator("nav a").count() == len(PAGES) and page.evaluate(outside) == 0
    assert page.get_by_label("Models", exact=True).evaluate("card => card.scrollWidth - card.clientWidth") == 0
    where = plant.client.post("/v1/inspections", files={"picture": b"none"}).json()["result"]["id"]
    page.set_viewport_size({"width": 1180, "height": 800})
    page.goto(f"{plant.address}/inspections/{where}")
    card = page.get_by_label("What was found").bounding_box()
    assert card["x"] < 100, "no empty half beside what was not inspected"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_every_page_is_accessible_and_fits_its_screen(
    service: Server, open_page: Open, violations: Open, scheme: str, width: int
):
    one = service.send(png("bad", 90), part="4711").headers["location"].removeprefix("/v1")
    for path in (*PAGES, one, f"/inspect?id={one.rsplit('/', 1)[1]}", "/log-in", f"/inspections/{'0' * 36}"):
        page = open_page(
            service.address + path, viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True
        )
        assert violations(page) == [], path
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
