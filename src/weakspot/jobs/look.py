"""What a training would begin with: the audit of its pictures, and how long it would take on this machine."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

from weakspot.data.audit import Audit
from weakspot.data.audit import audit as audit_samples
from weakspot.data.layouts import read_layout
from weakspot.jobs.begin import split_of
from weakspot.jobs.pictures import pictures_of
from weakspot.jobs.plan import Plan, plan_training
from weakspot.settings import TrainSettings
from weakspot.training.machine import choose_machine, prepare, process_as_found


def look(
    data: Path, settings: TrainSettings, on_image: Callable[[int, int], None] = lambda *_: None
) -> tuple[Audit, Plan]:
    """Read every picture and time some steps. Raises DataError where there is too little to train on."""
    samples, done = read_layout(data), count(1)
    found = audit_samples(samples, settings.read, lambda _: on_image(next(done), len(samples)), masks=False)
    pictures = pictures_of(split_of(found, settings).train, found, settings)
    with process_as_found():
        machine = choose_machine(settings)
        prepare(machine)
        return found, plan_training(pictures, settings, machine)
