"""What somebody meets who sets a service up: where it listens, what is missing, who may change it, whose files are."""

import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.service.server import Server, png
from tests.service.test_http import problem
from weakspot.errors import OutputError, StoreError
from weakspot.service import backup
from weakspot.service.backup import back_up, restore
from weakspot.service.parts import Parts
from weakspot.service.problems import Problem
from weakspot.service.serve import Serving, _listening

Start = Callable[..., Server]


def test_an_address_that_is_none_of_this_machine_is_told_apart_from_a_taken_port(tmp_path: Path):
    for host in ("300.1.1.1", "203.0.113.7"):
        with pytest.raises(OutputError, match=f"{host} port 8000: .*; give an address of this machine as --host"):
            _listening(Serving(data=tmp_path, host=host)).__enter__()
    with _listening(Serving(data=tmp_path, port=0)) as first:
        first.listen()
        with pytest.raises(OutputError, match="take another --port"):
            _listening(Serving(data=tmp_path, port=first.getsockname()[1])).__enter__()


def test_a_service_without_a_model_says_how_it_gets_one(start: Start):
    server = start(model=None)
    assert "no model yet: send one on the page /models" in "".join(server.said)
    problem(server.send(png()), 503, "no-model")


def test_the_store_is_for_its_owners_eyes_as_the_first_token_is(start: Start, tmp_path: Path):
    server = start()
    server.send(png())
    back_up(server.data, None, tmp_path / "copy")
    stores = [*server.data.glob("store.sqlite*"), *(tmp_path / "copy").glob("store.sqlite*")]
    private = {path.name: stat.S_IMODE(path.stat().st_mode) for path in stores if not path.name.endswith(".lock")}
    assert private == dict.fromkeys(("store.sqlite", "store.sqlite-wal", "store.sqlite-shm"), 0o600)


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Server]:
    """A service that asks for tokens, asked by its administrator."""
    data = tmp_path_factory.mktemp("plant") / "data"
    server = Server(data, "--tokens", model=model)
    server.client.headers["authorization"] = f"Bearer {(data / 'admin.token').read_text().strip()}"
    yield server
    server.stop()


def test_a_name_is_that_of_one_token_or_person(plant: Server):
    wanted = {"name": "line 3", "scope": "inspect"}
    number = plant.client.post("/v1/tokens", json=wanted).json()["id"]
    person = {"name": "line 3", "password": "correct horse battery", "scope": "review"}
    for answer in (plant.client.post("/v1/tokens", json=wanted), plant.client.post("/v1/users", json=person)):
        problem(answer, 409, "taken")
    assert plant.client.delete(f"/v1/tokens/{number}").status_code == 204
    assert plant.client.post("/v1/users", json=person).status_code == 204
    problem(plant.client.post("/v1/tokens", json=wanted), 409, "taken")


def test_the_last_administrator_stays(plant: Server):
    (first,) = (each["id"] for each in plant.get("/v1/tokens") if each["scope"] == "admin")
    problem(plant.client.delete(f"/v1/tokens/{first}"), 409, "last")
    assert plant.client.get("/v1/tokens").status_code == 200
    person = {"name": "Grace", "password": "correct horse battery", "scope": "admin"}
    assert plant.client.post("/v1/users", json=person).status_code == 204
    second = plant.client.post("/v1/tokens", json={"name": "second", "scope": "admin"}).json()
    assert plant.client.delete(f"/v1/tokens/{first}").status_code == 204
    plant.client.headers["authorization"] = f"Bearer {second['token']}"
    assert plant.client.delete(f"/v1/tokens/{second['id']}").status_code == 204
    grace = plant.client.post("/v1/sessions", json={"name": "Grace", "password": person["password"]}).json()
    plant.client.headers["authorization"] = f"Bearer {grace['token']}"
    problem(plant.client.delete("/v1/users/Grace"), 409, "last")
    assert plant.client.get("/v1/users").status_code == 200, "still logged in"


def test_who_is_no_administrator_goes_though_there_is_none(parts: Parts):
    """As on loopback, where no token is asked for."""
    parts.accounts.revoke(parts.accounts.add_token("line", "inspect", "me")[0])
    with pytest.raises(Problem, match="make another administrator first"):
        parts.accounts.revoke(parts.accounts.add_token("only", "admin", "me")[0])


def test_a_restore_that_failed_can_be_tried_again_in_the_same_folder(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    server = start()
    server.send(png())
    back_up(server.data, None, tmp_path / "copy")

    def fails(*_: object) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(backup, "_add_rows", fails)
        with pytest.raises(StoreError, match="the disk is full"):
            restore(tmp_path / "copy", tmp_path / "again", None)
    assert [each.name for each in (tmp_path / "again").iterdir()] == [".lock"]
    assert restore(tmp_path / "copy", tmp_path / "again", None).pictures == 1
