"""Who was given access has it until it is taken away, and then never again."""

import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.server import Server
from tests.service.test_alone import ON_POSTGRESQL
from tests.service.test_http import problem
from weakspot.errors import OutputError
from weakspot.service.accounts import Accounts, Who
from weakspot.service.parts import Parts
from weakspot.service.problems import Problem
from weakspot.service.serve import Serving, opened
from weakspot.service.store import Store


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory, model: Path):
    """A service on every address, asked by its administrator."""
    data = tmp_path_factory.mktemp("plant") / "data"
    server = Server(data, "--host", "0.0.0.0", model=model)
    server.client.headers["authorization"] = f"Bearer {(data / 'admin.token').read_text().strip()}"
    yield server
    server.stop()


def as_person(server: Server, token: str) -> httpx.Response:
    """What a route for reviewers answers to that token."""
    return httpx.get(f"{server.address}/v1/models", headers={"authorization": f"Bearer {token}"})


def test_a_person_is_listed_gets_another_password_and_is_removed(plant: Server):
    name = "Ada / shift 2?"
    person = {"name": name, "password": "correct horse battery", "scope": "review"}
    assert plant.client.post("/v1/users", json=person).status_code == 204
    assert [(each["name"], each["scope"]) for each in plant.get("/v1/users")] == [(name, "review")]

    def log_in(password: str) -> httpx.Response:
        return httpx.post(f"{plant.address}/v1/sessions", json={"name": name, "password": password})

    first = log_in("correct horse battery").json()["token"]
    assert as_person(plant, first).status_code == 200
    assert "password" not in str(plant.get("/v1/users")) and first not in str(plant.get("/v1/tokens"))
    changed = {"name": name, "password": "another horse battery"}
    assert plant.client.post("/v1/passwords", json=changed).status_code == 204
    problem(as_person(plant, first), 401, "token")
    problem(log_in("correct horse battery"), 401, "wrong")
    second = log_in("another horse battery").json()["token"]
    path = "/v1/users/Ada%20%2F%20shift%202%3F"
    assert plant.client.delete(path).status_code == 204
    problem(as_person(plant, second), 401, "token")
    problem(log_in("another horse battery"), 401, "wrong")
    problem(plant.client.delete(path), 404, "missing")
    problem(plant.client.post("/v1/passwords", json=changed), 404, "missing")
    assert plant.get("/v1/users") == []


def test_tokens_are_listed_until_they_are_revoked(plant: Server):
    made = plant.client.post("/v1/tokens", json={"name": "line 3", "scope": "inspect", "hours": 1}).json()
    told = {each["id"]: each for each in plant.get("/v1/tokens")}
    assert (told[made["id"]]["name"], told[made["id"]]["by"]) == ("line 3", "first") and told[made["id"]]["expires"]
    assert made["token"] not in str(told)
    plant.client.delete(f"/v1/tokens/{made['id']}")
    assert made["id"] not in {each["id"] for each in plant.get("/v1/tokens")}


def test_a_revoked_token_does_not_come_back_with_what_another_read_before(parts: Parts, monkeypatch):
    accounts, read = Accounts(parts.store), parts.store.read
    number, token = accounts.add_token("gone", "review", "me")
    has_read, revoked = threading.Event(), threading.Event()

    def slow(self: Store, question: Any) -> Any:
        rows = read(question)
        if threading.current_thread() is not threading.main_thread() and not has_read.is_set():
            has_read.set()
            revoked.wait(2)  # where reading is serialised, the other waits for this one
        return rows

    monkeypatch.setattr(Store, "read", slow)
    other = threading.Thread(target=accounts.add_token, args=("new", "review", "me"))
    other.start()
    has_read.wait(60)
    accounts.revoke(number)
    revoked.set()
    other.join()
    assert accounts.who(token) is None


@pytest.fixture
def ada(parts: Parts) -> Accounts:
    """The accounts of a service that knows two people, so that one of them may go."""
    parts.accounts.add_user("Ada", "old password 12", "admin")
    parts.accounts.add_user("Grace", "other password 12", "admin")
    return parts.accounts


def while_logging_in(accounts: Accounts, monkeypatch, meanwhile: Callable[[], object]) -> list[object]:
    """Let Ada's password be right, then do something, then let the log-in go on → its token, or why not."""
    checked, done, found = threading.Event(), threading.Event(), []
    verify = accounts._hasher.verify

    class Slow:
        hash = accounts._hasher.hash

        def verify(self, *given: str) -> bool:
            right = verify(*given)
            checked.set()
            done.wait(60)
            return right

    def log_in() -> None:
        try:
            found.append(accounts.log_in("Ada", "old password 12"))
        except Problem as problem:
            found.append(problem)

    monkeypatch.setattr(accounts, "_hasher", Slow())
    thread = threading.Thread(target=log_in)
    thread.start()
    checked.wait(60)
    meanwhile()
    done.set()
    thread.join()
    return found


@pytest.mark.parametrize("what", ["another password", "nobody any more"])
def test_no_old_password_opens_anything_after_it_was_taken_away(ada: Accounts, monkeypatch, what: str):
    changes = {
        "another password": lambda: ada.set_password("Ada", "new password 12"),
        "nobody any more": lambda: ada.remove_user("Ada"),
    }
    (found,) = while_logging_in(ada, monkeypatch, changes[what])
    assert isinstance(found, Problem) and found.kind == "wrong"
    assert not [row for row in ada.tokens() if row.name == "Ada"]


def test_more_log_ins_at_once_than_are_checked_are_refused_and_count_as_no_try(ada: Accounts, monkeypatch):
    """Each check takes 64 MB and all of a core; strangers who try ever new names must not take them from the line."""
    refused: list[Problem] = []

    def meanwhile() -> None:
        for number in range(20):
            with pytest.raises(Problem) as problem:
                ada.log_in(f"stranger {number}" if number < 10 else "Ada", "x" * 12)
            refused.append(problem.value)

    monkeypatch.setattr(ada, "_checking", threading.BoundedSemaphore(1))
    (token,) = while_logging_in(ada, monkeypatch, meanwhile)
    assert {(each.status, each.kind) for each in refused} == {(503, "busy")}
    assert ada.who(token) and ada.log_in("Ada", "old password 12")


def test_logging_out_ends_what_logging_in_began_and_no_machines_token(ada: Accounts):
    _, machine = ada.add_token("line 3", "inspect", "Ada", hours=8760)
    session = ada.log_in("Ada", "old password 12")
    for token in (machine, session):
        ada.end_session(token)
    assert ada.who(machine) is not None and ada.who(session) is None


def test_a_name_may_hold_whatever_a_person_is_called(ada: Accounts):
    for name in ("Ann\u00a0Lee", "山田\u3000花子"):
        ada.add_user(name, "old password 12", "review")
        assert ada.who(ada.log_in(name, "old password 12")) == Who(name, "review")


@ON_POSTGRESQL
def test_a_name_that_no_database_holds_is_a_wrong_name(url: str):
    store = Store(url)
    with pytest.raises(Problem, match="wrong"):
        Accounts(store).log_in("a\0b", "x" * 12)
    store.close()


def test_the_first_token_is_on_disk_before_it_is_known(tmp_path: Path):
    """Where that fails the next start makes another; the other way round nobody could ever change anything."""
    (tmp_path / "data").mkdir()
    serving = Serving(data=tmp_path / "data", host="0.0.0.0")

    path = tmp_path / "data" / "admin.token"
    path.mkdir()
    with pytest.raises(OutputError), opened([], serving):
        pass
    path.rmdir()
    with opened([], serving) as parts:
        who = parts.accounts.who(path.read_text().strip())
        assert who is not None and who.scope == "admin" and stat.S_IMODE(path.stat().st_mode) == 0o600
