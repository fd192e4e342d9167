"""What people judged, as the data of a training: a snapshot in the run's folder, frozen, also for going on with it."""

import shutil
from pathlib import Path

from weakspot.errors import DataError, OutputError, shown
from weakspot.runs import Run, refuse_taken
from weakspot.service.export import TABLE, export_verdicts

FEWEST_GOOD = 2  # pictures; with one nothing can be held out


def judged_folder(data: Path, store: str | None, output: Path, resume: bool) -> Path:
    """The judged pictures of a service, written into a run's folder; with `resume` those that the run began with.

    verdicts.csv in it names the inspection and the verdict of each, and the time of the snapshot. Raises StoreError
    where there is no store, DataError for too few verdicts, OutputError for a folder that holds something else.
    """
    refuse_taken(output, resume)
    folder = Run(output).judged
    if resume:
        if not (folder / TABLE).is_file():
            raise OutputError(
                f"{shown(output)}: this run did not learn from verdicts; go on with the DATA it began with"
            )
        return folder
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed before it began
    found = export_verdicts(data, store, folder)
    if found.good < FEWEST_GOOD:
        shutil.rmtree(folder)
        has = f"{shown(data)}: {found.good} pictures were judged good and {found.bad} bad"
        raise DataError(f"{has}; needed are at least {FEWEST_GOOD} good ones, and far more to learn what varies")
    return folder
