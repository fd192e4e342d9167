"""The models of a service: which are known, which one answers, and how another takes over without a gap."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from weakspot.errors import ModelFileError, shown
from weakspot.inspection.fastest import AskedPrecision, open_fastest
from weakspot.inspection.inspection import Thresholds
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.model_file import ModelFile, read_model_file
from weakspot.inspection.runtimes import Name
from weakspot.service import records
from weakspot.service.files import Files
from weakspot.service.problems import Problem, missing
from weakspot.service.store import Store
from weakspot.settings import ReadSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Computes:
    """On what detectors compute, as the verbs' flags have it."""

    runtime: Name = "auto"
    precision: AskedPrecision = "auto"
    threads: int | None = None


class Detectors:
    """Known models as files, and one of them open. Changes come one at a time; requests go on meanwhile."""

    def __init__(self, store: Store, files: Files, computes: Computes) -> None:
        self._store, self._files, self._computes = store, files, computes
        self._changing = threading.Lock()
        self._active: LoadedDetector | None = None
        self._settings: dict[str, ReadSettings] = {}  # of models that were read before

    @property
    def active(self) -> LoadedDetector:
        """Which one answers. Raises Problem where none does."""
        if self._active is None:
            raise Problem(503, "no-model", "no model is active; register one and make it active")
        return self._active

    @property
    def has_active(self) -> bool:
        """Whether any answers."""
        return self._active is not None

    def register(self, content: bytes, by: str) -> str:
        """Keep a model file → its SHA-256. Raises ModelFileError for what is none; it is then not kept."""
        with self._store.trusting_the_disk():
            digest = self._files.put(content)
        try:
            model = self._read(digest, "the model file")
        except ModelFileError:
            if not any(row.sha256 == digest for row in self._store.read(records.all_models)):
                self._files.remove(digest)
            raise
        limits = model.thresholds
        self._store.write(
            lambda c: records.add_model(c, digest, model.manifest.name, by, limits.bad_from, limits.good_below)
        )
        return digest

    def start(self, first: str | None) -> None:
        """Open the model that was active last, or else the first one given. Raises WeakspotError.

        So it does where the last one cannot be opened any more: its file is damaged, or it fails its self-test here.
        """
        rows = self._store.read(records.all_activations)
        if rows:
            try:
                self._active = self._opened(rows[0].model_sha256)
            except ModelFileError as error:
                return self._start_instead(first, rows[0].model_sha256, error)
            if first not in (None, rows[0].model_sha256):
                name = f"{self._active.info.name} {self._active.info.sha256[:6]}"
                log.warning("model %s answers, as it did last; the one given is known: make it active", shown(name))
        elif first is not None:
            self.activate(first, "weakspot serve", "the first one given")

    def _start_instead(self, first: str | None, last: str, error: ModelFileError) -> None:
        if first in (None, last):
            raise ModelFileError(f"{error}; it answered last: start with another model file, or restore a backup")
        log.error("%s; it answered last, and the model given answers instead", error)
        self.activate(first, "weakspot serve", "the one before cannot be opened")

    def activate(self, sha256: str, by: str, reason: str) -> None:
        """Let another model answer, once it has passed its self-test. Raises WeakspotError; the old one then stays."""
        with self._changing:
            self._activate(sha256, by, reason)

    def _activate(self, sha256: str, by: str, reason: str) -> None:
        opened = self._opened(sha256)
        self._store.write(lambda c: records.add_activation(c, sha256, by, reason))
        self._active = opened

    def roll_back(self, by: str, reason: str) -> str:
        """Let the model answer that did before the active one → its SHA-256. Raises Problem where there was none.

        Again it goes one further back: a model that was left that way is not come back to.
        """
        with self._changing:
            rows = self._store.read(records.all_activations)
            line = _line_of([row.model_sha256 for row in reversed(rows)])
            if len(line) < 2:
                raise Problem(409, "nothing-before", "no other model was active before; make one active by its SHA-256")
            self._activate(line[-2], by, reason)
        return line[-2]

    def set_thresholds(self, sha256: str, bad_from: float, good_below: float, by: str, reason: str) -> None:
        """Change at which raw scores a model's decision changes. Raises SettingsError for what cannot be."""
        with self._changing:
            self._row(sha256)
            Thresholds(bad_from=bad_from, good_below=good_below, rule="by hand", chosen_on=reason)
            write: Callable[[], None] = lambda: self._store.write(  # noqa: E731
                lambda c: records.add_thresholds(c, sha256, bad_from, good_below, by, reason)
            )
            if self._active is None or self._active.model.sha256 != sha256:
                return write()
            opened = self._opened(sha256, (bad_from, good_below))
            write()
            self._active = opened

    def read_settings(self, sha256: str) -> ReadSettings:
        """How pictures were read for a model's answers, whichever one is active now. Raises ModelFileError."""
        if sha256 not in self._settings:
            self._settings[sha256] = self._read(sha256, f"model {sha256[:12]}").manifest.read
        return self._settings[sha256]

    def path(self, sha256: str) -> Path:
        """Where a model's file lies. Raises Problem for one that is not known."""
        self._row(sha256)
        return self._files.path(sha256)

    def _row(self, sha256: str) -> None:
        if not any(row.sha256 == sha256 for row in self._store.read(records.all_models)):
            raise missing("model")

    def _read(self, sha256: str, called: str) -> ModelFile:
        """A model's file. Raises ModelFileError, which goes to clients and so does not say where the file lies."""
        path = self._files.path(sha256)
        try:
            return read_model_file(path)
        except ModelFileError as error:
            raise ModelFileError(str(error).replace(shown(path), called)) from error

    def _opened(self, sha256: str, limits: tuple[float, float] | None = None) -> LoadedDetector:
        """A detector that passed its self-test, with the thresholds in force or those given."""
        self._row(sha256)
        model = self._read(sha256, f"model {sha256[:12]}")
        if limits is None:
            row = self._store.read(lambda c: records.thresholds_of(c, sha256))[0]
            limits = row.bad_from, row.good_below
        model, how = with_limits(model, *limits), self._computes
        detector = LoadedDetector(model, open_fastest(model, how.runtime, how.threads, how.precision))
        check_self_test(detector, how.threads)
        return detector


def _line_of(activated: Sequence[str]) -> list[str]:
    """The models that led to the active one, the last: who becomes active again is gone back to."""
    line: list[str] = []
    for each in activated:
        line = line[: line.index(each)] if each in line else line
        line.append(each)
    return line


def with_limits(model: ModelFile, bad_from: float, good_below: float) -> ModelFile:
    """The model with the thresholds that are in force in the service; its file stays as it is."""
    own = model.thresholds
    if (bad_from, good_below) == (own.bad_from, own.good_below):
        return model
    changed = replace(own, bad_from=bad_from, good_below=good_below)
    record = model.manifest.thresholds.changed_to(changed, "in the service")
    return replace(model, manifest=model.manifest.model_copy(update={"thresholds": record}))


def check_self_test(detector: LoadedDetector, threads: int | None) -> None:
    """Raise ModelFileError unless a detector answers as it did when its file was made."""
    for found in detector.verify((detector.runtime.name,), threads):
        if not found.ok:
            why = found.problem or f"its score differs by {found.difference:.2g}"
            raise ModelFileError(f"model {detector.info.name}: the self-test failed ({why}); the active one stays")
