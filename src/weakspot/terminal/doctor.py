"""What the verb doctor says."""

from typing import Any

from weakspot.errors import amount
from weakspot.terminal.lines import print_json, say, table


def show_doctor(found: dict[str, Any], as_json: bool) -> None:
    """What is installed, what would inspect, and how fast this machine is."""
    if as_json:
        print_json(found)
        return
    machine, runtimes = found["machine"], found["runtimes"]
    packages: list[tuple[object, ...]] = [(name, version or "missing") for name, version in found["packages"].items()]
    for extra, members in found["extras"].items():
        missing = f"missing: pip install 'weakspot[{extra}]'"
        packages += [(f"{name} ({extra})", version or missing) for name, version in members.items()]
    say(table(f"Python {found['python']}", ("package", "version"), packages))
    used = f"inspect uses the fastest, evaluate {runtimes['first'] or 'none'}"
    say("", f"runtimes     {', '.join(runtimes['present']) or 'none'}; {used}")
    say(
        *(f"broken       {name}: installed, but cannot be imported ({why})" for name, why in runtimes["broken"].items())
    )
    say(*(f"measured     {_timing(timing)}" for timing in runtimes["timings"]))
    cores, memory = amount(machine["cores"], "core"), f"{machine['memory_gib']} GiB"
    say(f"machine      {machine['processor']}, {cores} to use, {memory}, {machine['system']}")
    say(f"instructions {', '.join(machine['instructions']) or 'unknown'}")
    say(f"graphics     {machine['gpu'] or 'none that torch can use'}", "")
    say(table("Speed", ("measured", "", "unit"), [_speed(name, value) for name, value in found["speed"].items()]))


def _timing(timing: dict[str, Any]) -> str:
    height, width = timing["size"]
    of = f"{height} × {width}, {amount(timing['threads'], 'thread')}"
    of += f", third kernel {timing['third_kernel']}" if timing["third_kernel"] else ""
    times = [f"{name}, {milliseconds:.3g} ms" for name, milliseconds in timing["milliseconds"].items()]
    return f"at {of}: {'; '.join(times) or 'no runtime answers as the model file says; see weakspot verify'}"


def _speed(name: str, value: float) -> tuple[object, ...]:
    if name == "copy_gb_per_s":
        return "copying memory", value, "GB/s, read and written"
    library, precision, _ = name.split("_")
    return f"matrix product, {library} {precision}", value, "GFLOP/s"
