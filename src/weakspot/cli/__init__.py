"""The command line, a module a room: each verb reads its arguments, calls one function, and shows what came of it.

Whatever takes time to import is imported inside the verb that needs it: `weakspot --help` and `weakspot inspect` start
without torch.
"""

from weakspot.cli import doctor, experimenting, inspecting, serving, training
from weakspot.cli.entry import app, main

__all__ = ["app", "main"]
VERBS = (  # in the order of --help; a verb that is missing here fails at once
    training.audit, training.train, training.evaluate, training.compare,
    inspecting.inspect, inspecting.watch,
    serving.serve, serving.backup, serving.restore, serving.export_verdicts,
    training.threshold, inspecting.verify, inspecting.export,
    experimenting.experiment, experimenting.crossval, training.demo, doctor.doctor,
)  # fmt: skip
app.registered_commands.sort(key=lambda command: [*VERBS].index(command.callback))  # type: ignore[arg-type]
