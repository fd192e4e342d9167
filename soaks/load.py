"""`weakspot serve` under 1, 3 and 10 times what it can do, NUMBER seconds each, beside its model alone in one thread.

Only a status other than 201 and 503 or an answer that is lost fails it; targets are compared and told.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from soaks.open_loop import Client, Reply, journal
from soaks.processes import compared, in_ms, memory_mb
from soaks.trained import SIZE, pngs, train_shortly
from tests.service.ledger import check
from tests.service.server import Server
from weakspot.inspection.loaded import LoadedDetector
from weakspot.settings import Size

FACTORS = (1, 3, 10)
QUEUE = 16  # of `weakspot serve`, its default
AT_ONCE = 8  # clients that measure what it can do: enough to keep it at work, too few to be refused
ALLOWED = {"201", "503"}


def run(number: int, size: Size = SIZE) -> dict[str, Any]:
    """Measure the model alone, then the service calm, busy and overloaded; then hold what was answered against it."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        train_shortly(place / "short.weakspot", size)
        detector, pictures = LoadedDetector.load(place / "short.weakspot", "onnxruntime", 1, "fp32"), pngs(8, size)
        bare = [bare_rates(detector, pictures, number / 6)]
        server = Server(place / "data", "--queue", str(QUEUE), "--precision", "fp32", model=place / "short.weakspot")
        measured, replies = asyncio.run(loaded(server, pictures, number))
        ended = server.stop()
        bare.append(bare_rates(detector, pictures, number / 6))
        found = check(journal(replies, pictures), place / "data", f"sqlite:///{place / 'data' / 'store.sqlite'}")
    alone = {name: round(float(np.mean([each[name] for each in bare])), 2) for name in bare[0]}
    record = {
        "seconds": number, "size": size, "threads": 1, "queue": QUEUE, "alone_per_second": alone,
        "alone_before_and_after": [round(each["model"], 2) for each in bare], **measured,
    }  # fmt: skip
    return record | {"exit_status": ended, **found, "targets": targets(record)}


def went_well(record: dict[str, Any]) -> bool:
    """Whether nothing of what may not happen did."""
    statuses = {status for phase in record["phases"] for status in phase["statuses"]}
    kinds = ("lost", "doubled", "altered", "phantom", "refused_but_stored", "picture", "outbox", "database")
    return statuses <= ALLOWED and not record["exit_status"] and not any(record[kind] for kind in kinds)


def bare_rates(detector: LoadedDetector, pictures: Sequence[bytes], seconds: float) -> dict[str, float]:
    """Pictures a second without HTTP and store: of the model alone, and of `inspect`, which decodes them first."""
    images = [detector.prepare(picture).image[None] for picture in pictures]
    works = {"model": (detector.runtime.run, images), "inspect": (detector.inspect, pictures)}
    rates = {}
    for name, (work, inputs) in works.items():
        work(inputs[0])
        began, done = time.monotonic(), 0
        while time.monotonic() - began < seconds:
            work(inputs[done % len(inputs)])
            done += 1
        rates[name] = done / (time.monotonic() - began)
    return rates


async def loaded(server: Server, pictures: Sequence[bytes], seconds: float) -> tuple[dict[str, Any], list[Reply]]:
    """One client, then AT_ONCE, then more than it can do → what was measured, and every reply."""
    calm = await Client(server.address, pictures).repeat(1, seconds / 6, "calm")
    normal = 2 * float(np.percentile([each.seconds for each in calm], 95))
    busy = await Client(server.address, pictures).repeat(AT_ONCE, seconds / 2, "busy")
    capacity = sum(each.status == 201 for each in busy) / max(each.at + each.seconds for each in busy)
    phases, replies = [told(busy, seconds / 2, server) | {"clients": AT_ONCE}], [*calm, *busy]
    for factor in FACTORS:
        client = Client(server.address, pictures)
        offering = client.offer(factor * capacity, seconds, f"times-{factor}")
        offered, (until_normal, probes) = await asyncio.gather(offering, recovery(client, seconds, normal, factor))
        phase = {"factor": factor, "offered_per_second": round(len(offered) / seconds, 1)}
        phases.append(phase | told(offered, seconds, server) | {"seconds_until_normal": until_normal})
        replies += [*offered, *probes]
    about = {
        "sent": len(replies),
        "answered": sum(each.status == 201 for each in replies),
        "capacity_per_second": round(capacity, 2),
        "calm_ms": in_ms([each.seconds for each in calm]),
        "normal_ms": round(1000 * normal, 1),
    }
    return about | {"phases": phases}, replies


async def recovery(client: Client, seconds: float, normal: float, factor: int) -> tuple[float, list[Reply]]:
    """From the end of an overload until a picture is answered within `normal` seconds; given up after a minute."""
    await asyncio.sleep(seconds)
    began, probes = time.monotonic(), list[Reply]()
    while time.monotonic() - began < 60:
        probes.append(await client.send(len(probes), f"probe-{factor}-{len(probes)}"))
        if probes[-1].status == 201 and probes[-1].seconds <= normal:
            return round(time.monotonic() - began, 2), probes
        await asyncio.sleep(0.02)
    return round(time.monotonic() - began, 2), probes


def told(replies: list[Reply], seconds: float, server: Server) -> dict[str, Any]:
    """One phase in figures."""
    taken = {status: in_ms([each.seconds for each in replies if each.status == status]) for status in (201, 503)}
    return {
        "sent": len(replies), "statuses": Counter(str(each.status) for each in replies),
        "answered_per_second": round(goodput(replies, seconds), 2), "answers_ms": taken[201], "refusals_ms": taken[503],
        "service_mb": round(memory_mb(server.process.pid, "VmHWM"), 1),
    }  # fmt: skip


def goodput(replies: Sequence[Reply], seconds: float) -> float:
    """Pictures a second that were answered within the phase."""
    return sum(each.status == 201 and each.at + each.seconds <= seconds for each in replies) / seconds


def targets(record: dict[str, Any]) -> list[dict[str, Any]]:
    """What was aimed at beside what was found; nothing found: nothing was refused."""
    capacity, over = record["capacity_per_second"], record["phases"][2:]
    waits = 1000 * (QUEUE + 1) / capacity + 10
    rows = [("capacity, share of the model alone", ">=", 0.9, capacity / record["alone_per_second"]["model"])]
    for phase in over:
        name = f"at {phase['factor']} ×: "
        rows += [
            (f"{name}answered, share of capacity", ">=", 0.95, phase["answered_per_second"] / capacity),
            (f"{name}p99 of answers, ms", "<=", waits, phase["answers_ms"].get("p99")),
            (f"{name}p99 of refusals, ms", "<=", 50, phase["refusals_ms"].get("p99")),
            (f"{name}seconds until normal", "<=", 2, phase["seconds_until_normal"]),
        ]
    return compared(rows)
