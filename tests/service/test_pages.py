"""The pages in a real browser: what people do there by mouse, keyboard and phone, and what the store then holds."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.server import Server, png
from tests.service.test_http import problem

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
    log_in(page, "Ada")
    page.wait_for_url("**/stream?station=a")
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
    found = page.get_by_label("What was found").inner_text()
    assert found.startswith("bad") and "good below 0.27 · bad from 0.73" in found
    heat = page.locator(".stage .heat")
    assert heat.evaluate("image => image.decode().then(() => image.naturalWidth)") == 12
    page.get_by_label("Heat").fill("0.3")
    page.reload()
    assert heat.evaluate("image => getComputedStyle(image).opacity") == "0.3", "as it was left"
    page.keyboard.down(" ")
    assert heat.evaluate("image => getComputedStyle(image).visibility") == "hidden"
    page.keyboard.up(" ")
    assert heat.evaluate("image => getComputedStyle(image).visibility") == "visible"


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


def test_a_verdict_that_was_not_kept_is_told_and_comes_back(service: Server, open_page: Open):
    service.send(png("review", 1))
    page = open_page(f"{service.address}/review")
    page.route("**/verdicts", lambda route: route.abort())
    page.keyboard.press("g")
    page.get_by_text("not kept: the service does not answer").wait_for()
    assert page.locator("#progress").inner_text().startswith("1 of ")


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


def test_words_of_clients_stay_words_on_every_page(service: Server, open_page: Open):
    word = "<img src=x onerror=document.title='caught'>"
    where = service.send(png("review", 80), part=word, station=word).headers["location"].removeprefix("/v1")
    for path in ("/stream", "/review", "/today", "/models", where):
        page = open_page(service.address + path)
        page.wait_for_load_state("networkidle")
        assert page.title() != "caught" and page.locator("img[src=x]").count() == 0
    assert page.get_by_role("heading", name=word).is_visible()


def test_today_says_what_the_verdicts_show_and_what_they_do_not(start: Open, open_page: Open):
    server = start()
    for decision, verdict, number in (("good", "good", 8), ("good", "bad", 1), ("good", None, 3), ("bad", None, 2)):
        for seed in range(number):
            where = server.send(png(decision, seed)).headers["location"]
            if verdict:
                server.client.post(f"{where}/verdicts", json={"verdict": verdict})
    page = open_page(f"{server.address}/today")
    assert [text.split()[0] for text in page.locator(".tally li").all_inner_texts()] == ["12", "0", "2", "0"]
    escapes, alarms = page.locator(".rate").all_inner_texts()
    assert "1 of 9 judged" in escapes and "95 % interval 0.2 to 49 %" in escapes.replace("\u00a0", " ")
    assert "9 of 12 passed parts were judged." in escapes
    assert "None of the 2 parts called bad is judged yet" in alarms
    assert page.locator(".row-name b").all_inner_texts() == ["13 not judged bad", "1 judged bad"]
    page.goto(f"{server.address}/today?day=2020-01-01")
    assert "Nothing was inspected on this day." in page.locator("main").inner_text()


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
