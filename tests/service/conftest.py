"""Services and stores for the tests: SQLite always, PostgreSQL where this machine has one."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the service's packages are not installed: pip install 'weakspot[serve]'")
from tests.inspection.conftest import made_model
from tests.service.server import Server
from weakspot.inspection.inspection import Thresholds
from weakspot.inspection.manifest import ThresholdRecord
from weakspot.inspection.model_file import write_model_file
from weakspot.service.detectors import Computes
from weakspot.service.parts import Parts
from weakspot.service.serve import Serving, opened


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "made.weakspot"
    write_model_file(path, made_model())
    return path


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another file: what the first one calls bad, this one leaves to a person."""
    path = tmp_path_factory.mktemp("model") / "other.weakspot"
    thresholds = Thresholds(bad_from=9.0, good_below=-1.0, rule="best_f1", chosen_on="nothing")
    write_model_file(path, made_model(name="other", thresholds=ThresholdRecord.of(thresholds)))
    return path


@pytest.fixture
def start(tmp_path: Path, model: Path) -> Iterator[Callable[..., Server]]:
    """Start a service on this test's folder; it is ended with the test."""
    started: list[Server] = []

    def go(*words: str, **how: Any) -> Server:
        server = Server(how.pop("data", tmp_path / "data"), *words, **{"model": model} | how)
        started.append(server)
        return server

    yield go
    for server in started:
        server.stop()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Server]:
    """One service for the tests of a module that do not mind each other."""
    server = Server(tmp_path_factory.mktemp("service") / "data", model=model)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL server of the tests' own, without a database's name."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        pytest.skip("no PostgreSQL here: apt-get install postgresql")
    pytest.importorskip("psycopg")
    bin = Path(found[-1] if found else str(on_path)).parent
    place = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())  # short: a socket's path has a limit
    as_nobody: list[str] = []
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        if shutil.which("setpriv") is None:
            pytest.skip("PostgreSQL does not run as root, and there is no setpriv to be somebody else")
        as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        os.chown(place, 65534, 65534)
    data = ["-D", str(place / "data")]
    initdb = [bin / "initdb", *data, "-U", "weakspot", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    subprocess.run([*as_nobody, *initdb], check=True, capture_output=True, cwd=place)
    options = ["-o", f"-k {place} -c listen_addresses=''", "-l", str(place / "log"), "-w"]
    subprocess.run([*as_nobody, bin / "pg_ctl", *data, *options, "start"], check=True, capture_output=True, cwd=place)
    yield f"postgresql://weakspot@/{{}}?host={place}"
    subprocess.run([*as_nobody, bin / "pg_ctl", *data, "-m", "immediate", "stop"], capture_output=True, cwd=place)
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.sqlite'}"
    import psycopg

    server, name = request.getfixturevalue("postgresql"), f"t{abs(hash(str(tmp_path)))}"
    with psycopg.connect(server.format("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return str(server.format(name))


@pytest.fixture
def parts(tmp_path: Path, model: Path) -> Iterator[Parts]:
    """The parts of a service in this process, on this test's folder."""
    (tmp_path / "data").mkdir()
    with opened([model], Serving(data=tmp_path / "data", computes=Computes("onnxruntime", "fp32", 1))) as made:
        yield made


@pytest.fixture(scope="module")  # its event loop runs in this thread as long as it is there
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="no browser to drive: pip install playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open an address in a browser of its own; a script's error or a refused file fails the test."""
    contexts, errors = [], []

    def go(address: str, **how: Any) -> Any:
        contexts.append(browser.new_context(**how))
        page = contexts[-1].new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if "Content Security" in said.text else None)
        page.goto(address)
        return page

    yield go
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def violations() -> Callable[[Any], list[tuple[str, str]]]:
    """What axe finds on a page: the rule and the first element that breaks it."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")

    def run(page: Any) -> list[tuple[str, str]]:
        found = axe.Axe().run(page).response["violations"]
        return [(each["id"], each["nodes"][0]["html"]) for each in found]

    return run
