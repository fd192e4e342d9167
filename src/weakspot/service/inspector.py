"""From a sent picture to an answer that is on disk, for a bounded number of pictures at a time.

The order is: picture on disk, decode in a child, judge, one commit, answer. What cannot be judged is kept and answered
as *not inspected*, never as good.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from time import perf_counter

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from weakspot.data.formats import ALLOW_MORE
from weakspot.errors import ImageError, StoreError
from weakspot.inspection.inspection import ImageInfo, Inspection, NotInspected
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.overlay import heat_map_png
from weakspot.service import records
from weakspot.service.decoding import Decoders
from weakspot.service.detectors import Detectors
from weakspot.service.files import Files
from weakspot.service.limits import Limits
from weakspot.service.metrics import Metrics
from weakspot.service.problems import Problem, full
from weakspot.service.records import Sent
from weakspot.service.store import Store

WORKERS = 4  # while one judges, another decodes and others wait for the disk
CHILDREN = 2
RECEIVING = 4  # times as many pictures may be on their way as may wait or be at work: who sends slowly blocks nobody


@dataclass(frozen=True)
class Answer:
    """What is answered: the result as JSON, its decision, and whether it was given before under the same key."""

    json: str
    decision: str
    repeated: bool = False


class Inspector:
    """The bounded queue and its workers."""

    def __init__(self, store: Store, files: Files, detectors: Detectors, limits: Limits, metrics: Metrics) -> None:
        self._store, self._files, self._detectors, self._limits = store, files, detectors, limits
        self.metrics = metrics
        self._decoders = Decoders(CHILDREN, limits.decode_seconds, limits.decode_gigabytes)
        self._decoders.start()
        import_module("scipy.ndimage")  # now, and not while the first picture waits for its regions
        self._pool = ThreadPoolExecutor(WORKERS, "inspect")
        self._judging, self._counting = threading.Lock(), threading.Lock()
        self._on_their_way = self._taken = 0
        self._keys: set[tuple[str, str]] = set()  # at work

    @property
    def is_full(self) -> bool:
        """Whether one more picture would be refused."""
        queue = self._limits.queue
        return self._taken >= queue or self._on_their_way >= RECEIVING * queue

    async def inspect(self, receive: Callable[[], Awaitable[Sent]]) -> Answer:
        """Receive a picture and answer it. Raises Problem where all places are taken."""
        with self._receiving():
            sent = await receive()
        self._take_place()
        try:
            work = self._pool.submit(self._inspect, sent)
        except BaseException:
            self._give_place_back()
            raise
        work.add_done_callback(lambda _: self._give_place_back())  # also where the client went away meanwhile
        return await asyncio.wrap_future(work)

    def close(self) -> None:
        """Finish what was accepted."""
        self._pool.shutdown()
        self._decoders.close()

    @contextmanager
    def _receiving(self) -> Iterator[None]:
        with self._counting:
            if self.is_full:
                raise full()
            self._on_their_way += 1
        try:
            yield
        finally:
            with self._counting:
                self._on_their_way -= 1

    def _take_place(self) -> None:
        with self._counting:
            if self._taken >= self._limits.queue:
                raise full()
            self._taken += 1
            self.metrics.queue.set(self._taken)

    def _give_place_back(self) -> None:
        with self._counting:
            self._taken -= 1
            self.metrics.queue.set(self._taken)

    def _inspect(self, sent: Sent) -> Answer:
        if sent.key is None:
            return self._kept(sent)
        place = (sent.station, sent.key)
        with self._counting:
            if place in self._keys:
                raise Problem(409, "at-work", "a request with this Idempotency-Key is at work; ask again in a second")
            self._keys.add(place)
        try:
            return self._repeated(sent) or self._kept(sent)
        finally:
            with self._counting:
                self._keys.discard(place)

    def _repeated(self, sent: Sent) -> Answer | None:
        """The answer that this key got before. Raises Problem where it was another request."""
        assert sent.key is not None
        key = sent.key
        row = self._store.read(lambda c: records.earlier(c, sent.station, key))
        if row is None:
            return None
        if row.request_sha256 != sent.sha256:
            raise Problem(
                422, "other-request", "this Idempotency-Key came with another picture or part; take a new key"
            )
        return Answer(row.answer, row.decision, repeated=True)

    def _kept(self, sent: Sent) -> Answer:
        with self._store.trusting_the_disk():
            return self._inspect_new(sent)

    def _inspect_new(self, sent: Sent) -> Answer:
        began = perf_counter()
        detector = self._detectors.active
        digest = self._files.put(sent.picture)
        try:
            answer = self._judged_and_kept(detector, sent, digest)
        except Exception:
            self._forget(digest)
            raise
        self.metrics.seconds.observe(perf_counter() - began)
        return answer

    def _forget(self, digest: str) -> None:
        """Remove a picture that no row names. In the writer's turn: one that was sent twice at once is put back."""

        def forget(connection: Connection) -> None:
            if not records.is_kept(connection, digest):
                self._files.remove(digest)

        with suppress(StoreError, OSError):  # the one that matters is told already
            self._store.write(forget)

    def _judged_and_kept(self, detector: LoadedDetector, sent: Sent, digest: str) -> Answer:
        entry = self._judged(detector, sent.picture, digest)
        heat_map = heat_map_png(entry.heat_map) if isinstance(entry, Inspection) else None

        def keep(connection: Connection) -> str:
            if not self._files.path(digest).exists():  # removed by retention, which is also the writer's work
                self._files.put(sent.picture)
            return records.add_inspection(connection, sent, digest, entry, heat_map)

        try:
            answer = self._store.write(keep)
        except IntegrityError:
            raise Problem(409, "at-work", "this Idempotency-Key was used at the same instant; ask again") from None
        self.metrics.inspections.labels(entry.decision, detector.info.sha256[:12]).inc()
        return Answer(answer, entry.decision)

    def _judged(self, detector: LoadedDetector, picture: bytes, digest: str) -> Inspection | NotInspected:
        try:
            image = self._decoders.decode(picture, self._limits.bounded(detector.manifest.read))
            prepared = detector.prepare(image)
            return detector.judge(prepared, self._judging)
        except ImageError as error:
            reason = str(error).replace(ALLOW_MORE, self._limits.allowing_more(detector.manifest.read))
            return NotInspected(ImageInfo(None, digest), detector.info, reason)
        except MemoryError:
            reason = "picture: not enough memory to judge it; close other programs"
            return NotInspected(ImageInfo(None, digest), detector.info, reason)
