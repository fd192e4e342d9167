"""What an inspection of very many pictures keeps of itself: its plan in pieces, which of them are done, and its end.

    model.weakspot            the detector, from where workers on other machines have it
    plan.jsonl                what is inspected by what, then a line a piece; never changed
    parts/part-00000.parquet  the results of piece 0, whole or not there
    done/00000.json           that the part is there: its rows, its SHA-256, its counts, what it took
    manifest.json             all parts of a finished inspection

Each piece has one name for its part, and whoever judges it writes the same bytes; so it may be judged twice.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from weakspot.durable import remove_leftovers
from weakspot.errors import OutputError, WeakspotError, shown
from weakspot.inspection import storage
from weakspot.inspection.inspection import Inspection, ModelInfo, NotInspected

PLAN, MODEL, MANIFEST, PARTS, DONE = "plan.jsonl", "model.weakspot", "manifest.json", "parts", "done"
FORMAT = 1
MOST_REFUSALS = 10  # that are kept beside a part, which names them all


@dataclass(frozen=True)
class Piece:
    """Some of the pictures: these paths or addresses, or rows of a group in a Parquet file, all where none is said."""

    number: int
    images: list[str] = field(default_factory=list)
    table: str = ""
    row_group: int = 0
    first_row: int = 0  # within its group
    end_row: int | None = None  # the first that is not meant

    @property
    def part(self) -> str:
        """Where its results go, in the output folder."""
        return f"{PARTS}/part-{self.number:05}.parquet"

    @property
    def record(self) -> str:
        """Where it is kept that they are there."""
        return f"{DONE}/{self.number:05}.json"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is inspected by what. time: when it was begun, which all its results have; sha256: of the whole plan."""

    model: ModelInfo
    inputs: list[str]
    runtime: str
    precision: str
    time: str
    pieces: list[Piece] = field(repr=False)
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Done:
    """A part that is there.

    seconds: that judging took; reading is among them; warnings: how many pictures each is of, by its beginning;
    refusals: why the first pictures were not inspected, at most MOST_REFUSALS.
    """

    piece: int
    file: str
    bytes: int
    sha256: str
    images: int
    decisions: dict[str, int]
    seconds: float
    warnings: dict[str, int] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)


@dataclass
class Told:
    """What is said of the pictures of a piece; as in Done."""

    decisions: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    refusals: list[str] = field(default_factory=list)

    def add(self, entry: Inspection | NotInspected) -> None:
        """Count one more picture."""
        self.decisions[entry.decision] += 1
        if isinstance(entry, Inspection):
            self.warnings.update(warning.partition(":")[0] for warning in entry.warnings)
        elif len(self.refusals) < MOST_REFUSALS:
            self.refusals.append(entry.reason.encode("utf-8", "backslashreplace").decode())


@dataclass
class Tally:
    """What came of all pieces. A refused picture counts as not inspected."""

    output: str
    decisions: Counter[str]
    pieces: int
    judged_now: int  # pieces; the others had been done before
    seconds: float
    fail_on_bad: bool = False
    warnings: Counter[str] = field(default_factory=Counter)  # how many pictures each is of, by its beginning
    refusals: list[str] = field(default_factory=list)  # why pictures were not inspected: the first of each piece

    @property
    def total(self) -> int:
        """How many pictures there were."""
        return self.decisions.total()

    @property
    def exit_status(self) -> int:
        """As a `Summary` has it: 3 for a bad part where that was asked for, 1 for a refused picture, else 0."""
        return 3 if self.fail_on_bad and self.decisions["bad"] else 1 if self.decisions["not inspected"] else 0


def begin(output: str, plan: Plan) -> Plan:
    """Write the plan into an empty or new folder; from then on it can be gone on with.

    Raises OutputError where something else lies there, or another process has begun there at the same moment.
    """
    if not storage.is_remote(output) and Path(output).is_dir() and any(_foreign(Path(output))):
        raise OutputError(f"{shown(output)}: holds other files; give an empty or a new folder")
    head = {key: value for key, value in asdict(plan).items() if key not in ("pieces", "sha256")}
    lines = [{"format": FORMAT, **head}, *({"piece": piece.number, **_spec(piece)} for piece in plan.pieces)]
    content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    if not storage.create(storage.joined(output, PLAN), content):
        raise _of_another(output)
    return replace(plan, sha256=hashlib.sha256(content).hexdigest())


def _of_another(output: str) -> OutputError:
    plan = stored_plan(output)
    begun = f"was begun by another process at {plan.time}" if plan else "was taken away by another process"
    return OutputError(f"{shown(output)}: {begun}; wait for that one, or give another folder")


def keep_model(output: str, model: bytes) -> None:
    """Put the model file where workers find it, if it is not there yet."""
    if not storage.is_file(storage.joined(output, MODEL)):
        storage.write(storage.joined(output, MODEL), model)


def _foreign(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.name != MODEL and not path.name.startswith("."))


def _spec(piece: Piece) -> dict[str, Any]:
    unused = ("number", "images") if piece.table else ("number", "table", "row_group", "first_row", "end_row")
    return {key: value for key, value in vars(piece).items() if key not in unused}


def stored_plan(output: str) -> Plan | None:
    """The plan of the inspection in a folder; None where none was begun. Raises OutputError where it is damaged."""
    place = storage.joined(output, PLAN)
    try:
        content = storage.read(place)
    except FileNotFoundError:
        return None
    try:
        head, *lines = map(json.loads, content.splitlines())
        if head.pop("format") != FORMAT:
            raise OutputError(f"{shown(place)}: of another version of weakspot; give another folder")
        pieces = [Piece(line.pop("piece"), **line) for line in lines]
        model = ModelInfo(**head.pop("model"))
        return Plan(model=model, pieces=pieces, sha256=hashlib.sha256(content).hexdigest(), **head)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise OutputError(f"{shown(place)}: damaged; begin anew in another folder") from None


def refuse_other(output: str, plan: Plan, model: ModelInfo, inputs: Sequence[str]) -> None:
    """Raise OutputError where another model or other inputs were begun with: their results would be mixed."""
    differing = "another model" if plan.model != model else "other inputs" if plan.inputs != list(inputs) else ""
    if differing:
        raise OutputError(f"{shown(output)}: was begun with {differing}; give the same, or another folder")


def done_pieces(output: str, plan: Plan) -> dict[int, Done]:
    """The records of the parts that are there whole, by piece; a record without its part does not count."""
    parts = storage.sizes(storage.joined(output, PARTS))
    found = {}
    for name in sorted(storage.sizes(storage.joined(output, DONE))):
        done = _done(storage.joined(output, f"{DONE}/{name}"), plan) if name.endswith(".json") else None
        if done and parts.get(done.file.rpartition("/")[2]) == done.bytes:
            found[done.piece] = done
    return found


def _done(place: str, plan: Plan) -> Done | None:
    try:
        record = json.loads(storage.read(place))
        return Done(**record) if record.pop("plan") == plan.sha256 else None
    except (ValueError, KeyError, TypeError, AttributeError, FileNotFoundError):
        return None  # a piece more is judged


def keep(output: str, plan: Plan, piece: Piece, content: bytes, told: Told, seconds: float) -> Done:
    """Write a part, then that it is there."""
    digest = hashlib.sha256(content).hexdigest()
    done = Done(
        piece=piece.number, file=piece.part, bytes=len(content), sha256=digest, images=told.decisions.total(),
        decisions=dict(told.decisions), seconds=round(seconds, 3), warnings=dict(told.warnings), refusals=told.refusals,
    )  # fmt: skip
    storage.write(storage.joined(output, piece.part), content)
    record = json.dumps({"plan": plan.sha256, **asdict(done)}, indent=1)
    storage.write(storage.joined(output, piece.record), record.encode())
    return done


def _is_there(output: str, plan: Plan) -> bool:
    """Whether the plan is still this one: storage that cannot refuse a second one may hold another."""
    try:
        return hashlib.sha256(storage.read(storage.joined(output, PLAN))).hexdigest() == plan.sha256
    except FileNotFoundError:
        return False


def finish(output: str, plan: Plan, done: dict[int, Done]) -> Counter[str]:
    """Write the manifest of all parts → how many pictures got which decision. What killed workers left is removed."""
    missing = [piece.number for piece in plan.pieces if piece.number not in done]
    if missing:
        raise WeakspotError(
            f"{shown(output)}: piece {missing[0]} and in all {len(missing)} are missing; {storage.GO_ON}"
        )
    decisions = Counter(good=0, review=0, bad=0)
    for each in done.values():
        decisions.update(each.decisions)
    parts = [asdict(done[piece.number]) for piece in plan.pieces]
    for part in parts:
        # nothing of how it came to be, so that a manifest is the same whenever it is written, and nothing that is long
        del part["seconds"], part["warnings"], part["refusals"]
    if not _is_there(output, plan):
        raise _of_another(output)
    manifest = {"plan": plan.sha256, "model": asdict(plan.model), "decisions": decisions, "parts": parts}
    storage.write(storage.joined(output, MANIFEST), json.dumps(manifest, indent=1).encode())
    if not storage.is_remote(output):
        for folder in ("", PARTS, DONE):
            remove_leftovers(Path(output, folder))  # nobody else writes: each piece is done
    return decisions
