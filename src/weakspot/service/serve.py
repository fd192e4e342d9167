"""`weakspot serve` from end to end: opens the store, starts what answers, and ends when it is asked to."""

import errno
import ipaddress
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from weakspot.durable import make_folder, write_durably
from weakspot.errors import OutputError, StoreError, shown
from weakspot.runs import alone
from weakspot.service.accounts import Accounts
from weakspot.service.app import make_app
from weakspot.service.detectors import Computes, Detectors
from weakspot.service.files import Files
from weakspot.service.health import Health
from weakspot.service.inspector import Inspector
from weakspot.service.limits import Limits
from weakspot.service.metrics import Metrics
from weakspot.service.parts import Parts
from weakspot.service.protocol import deadlined
from weakspot.service.retention import start_retention
from weakspot.service.store import Store, sqlite_path, sqlite_url
from weakspot.service.tasks import Tasks
from weakspot.service.training import Trainings
from weakspot.service.viewing import Viewer
from weakspot.settings import TrainSettings
from weakspot.stopping import Stop, asked_to_stop

log = logging.getLogger(__name__)
STORE, PICTURES, MODELS, TASKS, ADMIN_TOKEN = "store.sqlite", "pictures", "models", "tasks", "admin.token"
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
SWITCH_SECONDS = 0.0005  # between threads: whoever judges waits that long for Python, not Python's own 5 ms
GRACE = 2.0  # seconds by which a route's own deadline comes first


@dataclass(frozen=True, kw_only=True)
class Serving:
    """Where a service keeps its things and where it listens."""

    data: Path
    store: str | None = None  # URL; None: SQLite in `data`
    host: str = "127.0.0.1"
    port: int = 8000  # 0: any that is free
    hosts: Sequence[str] = ()  # further names by which clients may call it
    tokens: bool = False  # asked for on loopback, too
    computes: Computes = field(default_factory=Computes)
    limits: Limits = field(default_factory=Limits)
    training_data: Sequence[Path] = ()  # folders whose labelled folders may be trained on
    training: TrainSettings = field(default_factory=TrainSettings)

    @property
    def needs_token(self) -> bool:
        """Whether whoever asks must have one; not where only this machine can reach it, unless that is wanted."""
        return self.tokens or not _is_local(self.host)


def serve(models: Sequence[Path], serving: Serving) -> int:
    """Answer until SIGTERM (0) or Ctrl-C (130) → the exit status. Raises WeakspotError, also when the store failed."""
    make_folder(serving.data)
    sys.setswitchinterval(SWITCH_SECONDS)
    with (
        alone(serving.data, "serves from there"),
        _alone_on_store(store_url(serving.data, serving.store)),
        asked_to_stop() as stop,
        _listening(serving) as listener,
        opened(models, serving) as parts,
    ):
        server = _server(parts, serving)
        ended = threading.Event()
        parts.health.start(ended)
        start_retention(parts, ended)
        threading.Thread(target=_end_when_failed, args=(parts.store, server, stop, ended), daemon=True).start()
        name, port = listener.getsockname()[:2]
        if not parts.detectors.has_active:
            log.warning("no model yet: send one on the page /models and make it active; until then pictures get 503")
        log.warning("listens on http://%s:%s", f"[{name}]" if ":" in name else name, port)
        server.run(sockets=[listener])
        ended.set()
        if parts.store.failed is not None:
            raise parts.store.failed
    return 130 if stop.by == signal.SIGINT else 0


def store_url(data: Path, given: str | None) -> str:
    """The store of a data folder: the one given, or SQLite in it."""
    return given or sqlite_url(data / STORE)


def _alone_on_store(url: str) -> AbstractContextManager[None]:
    """Hold the lock beside an SQLite file, which another data folder may name, too; PostgreSQL holds its own."""
    path = sqlite_path(url)
    if path is None:
        return nullcontext()
    path = Path(os.path.realpath(path))
    make_folder(path.parent)
    return alone(path.parent, f"serves {shown(path.name)}", f"{path.name}.lock")


@contextmanager
def opened(models: Sequence[Path], serving: Serving) -> Iterator[Parts]:
    """The parts of a service, ready to answer. Raises WeakspotError for a store or a model that cannot be used."""
    data, limits, metrics = serving.data, serving.limits, Metrics()
    url = store_url(data, serving.store)
    path = sqlite_path(url)
    is_gone = path is not None and not (path.exists() and path.stat().st_size)
    if is_gone and any(any((data / name).glob("*/*")) for name in (PICTURES, MODELS)):
        raise StoreError(f"{shown(path)}: is gone, its files are there; put it back, or restore a backup")
    store = Store(url)
    pictures = Files(data / PICTURES)
    detectors = Detectors(store, Files(data / MODELS, ".weakspot"), serving.computes)
    known = [detectors.register(_content(model), "weakspot serve") for model in models]
    detectors.start(known[0] if known else None)
    inspector = Inspector(store, pictures, detectors, limits, metrics)
    viewer, accounts = Viewer(limits), Accounts(store)
    if serving.needs_token and not accounts.has_admin:
        _write_admin_token(data / ADMIN_TOKEN, accounts)
    health = Health(data, store, detectors, inspector, limits)
    needs = serving.needs_token
    secret = {"data": str(data.absolute()), "store": serving.store, "gigabytes": limits.decode_gigabytes}
    tasks = Tasks(data / TASKS, secret)
    trainings = Trainings(tasks, serving.training_data, serving.training)
    asked = (inspector, viewer, accounts, health, limits, metrics, tasks, trainings)
    parts = Parts(data, store, pictures, detectors, *asked, needs)
    try:
        yield parts
    finally:
        parts.close()


def _server(parts: Parts, serving: Serving) -> uvicorn.Server:
    hosts, limits = {*LOCAL_NAMES, serving.host, *serving.hosts}, serving.limits
    config = uvicorn.Config(
        make_app(parts, hosts),
        http=deadlined(limits.receive_seconds + GRACE, {"/v1/models": limits.model_seconds + GRACE}),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=30,
        backlog=1024,
    )
    return uvicorn.Server(config)


@contextmanager
def _listening(serving: Serving) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in serving.host else socket.AF_INET
    # By its protocol asyncio knows that small answers must not wait for the last one's receipt, 40 ms (TCP_NODELAY).
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((serving.host, serving.port))
        except OSError as error:
            is_taken = error.errno in (errno.EADDRINUSE, errno.EACCES)
            way_out = "take another --port" if is_taken else "give an address of this machine as --host, or 0.0.0.0"
            where = f"{shown(serving.host)} port {serving.port}"
            raise OutputError(f"{where}: cannot be listened on ({error.strerror}); {way_out}") from None
        yield listener


def _end_when_failed(store: Store, server: uvicorn.Server, stop: Stop, ended: threading.Event) -> None:
    """A store that failed is not tried again: the process ends, and whoever started it starts it anew.

    So it does where it was asked to stop before the server heard of that itself.
    """
    while not ended.wait(0.2):
        if store.failed is not None or stop.is_set():
            server.should_exit = True
            return


def _write_admin_token(path: Path, accounts: Accounts) -> None:
    """For its owner's eyes, and on disk before it is known: one that nobody has could not be replaced."""
    tell = lambda token: write_durably(path, f"{token}\n".encode(), 0o600)  # noqa: E731
    accounts.add_token("first", "admin", "weakspot serve", tell=tell)
    log.warning("the first token, for an administrator, lies in %s; make others by POST /v1/tokens", shown(path))


def _content(model: Path) -> bytes:
    try:
        return model.read_bytes()
    except OSError as error:
        raise StoreError(
            f"{shown(model)}: cannot be read ({(error.strerror or '').lower()}); name a model file"
        ) from None


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
