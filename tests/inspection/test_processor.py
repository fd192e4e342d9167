"""How many threads are started: as many as the process may use, not as many as the machine has."""

import os

import pytest

from weakspot.inspection import processor
from weakspot.inspection.processor import usable_cores


@pytest.fixture
def sixteen_cores(monkeypatch):
    monkeypatch.setattr(processor.os, "sched_getaffinity", lambda _: range(16), raising=False)


def write(root, files):
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


V2, V1 = "0::/\n", "4:cpu,cpuacct:/docker/1f\n3:memory:/docker/1f\n0::/\n"


@pytest.mark.parametrize(("files", "cores"), [
    ({}, 16),
    ({"sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1),
    ({"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
    ({"sys/fs/cgroup/cpu.max": "10000 100000\n"}, 1),
    ({"sys/fs/cgroup/cpu.max": "max 100000\n", "proc/self/cgroup": V2}, 16),
    ({"sys/fs/cgroup/cpu.max": "6400000 100000\n", "proc/self/cgroup": V2}, 16),
    ({"sys/fs/cgroup/a/b/cpu.max": "max 100000", "sys/fs/cgroup/a/cpu.max": "300000 100000",
      "proc/self/cgroup": "0::/a/b\n"}, 3),
    ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
      "proc/self/cgroup": V1}, 2),
    ({"sys/fs/cgroup/cpu/docker/1f/cpu.cfs_quota_us": "400000",
      "sys/fs/cgroup/cpu/docker/1f/cpu.cfs_period_us": "100000", "proc/self/cgroup": V1}, 4),
    ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
      "proc/self/cgroup": V1}, 16),
    ({"sys/fs/cgroup/cpu.max": "garbage", "proc/self/cgroup": V2}, 16),
    ({"sys/fs/cgroup/cpu.max": "100000 0", "proc/self/cgroup": V2}, 16),
    ({"sys/fs/cgroup/cpu.max": "200000 100000", "proc/self/cgroup": "0::/../../of the host\n"}, 2),
])  # fmt: skip
def test_threads_follow_the_quota_of_the_container(sixteen_cores, tmp_path, files, cores):
    assert usable_cores(write(tmp_path, files)) == cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to a core")
def test_threads_follow_the_cores_that_the_process_is_bound_to():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
