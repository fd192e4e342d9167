"""Chains of blocks, which run fused while they learn, against the same layers one by one."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from weakspot.network.blocks import Chain, ConvBlock
from weakspot.network.memory import hand_back_freed_memory, keep_freed_memory


def layers() -> list[nn.Module]:
    torch.manual_seed(0)
    pool = nn.MaxPool2d(2, ceil_mode=True)
    return [
        ConvBlock(2, 6, 3),
        ConvBlock(6, 4, 5),
        pool,
        ConvBlock(4, 8, 3),
        pool,
        ConvBlock(8, 5, 7),
        nn.Conv2d(5, 1, 1),
        nn.BatchNorm2d(1),
    ]


def learn(chain: nn.Sequential, image: Tensor, dtype: torch.dtype | None = None) -> tuple[Tensor, list[Tensor]]:
    """The answer and all gradients, the image's first."""
    image = image.clone().requires_grad_()
    with torch.autocast("cpu", dtype, enabled=dtype is not None):
        answer = chain(image)
    weights = [image, *chain.parameters()]
    return answer.detach().float(), list(
        torch.autograd.grad((answer.float() * torch.linspace(-1, 2, answer.numel()).view_as(answer)).sum(), weights)
    )


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-6))


@pytest.mark.parametrize("size", [(40, 32), (41, 35), (64, 30)])
def test_a_learning_chain_answers_and_learns_as_its_layers_do(size):
    image = torch.randn(2, 2, *size)
    plain, fused = nn.Sequential(*layers()).double(), Chain(*layers()).double()
    for norm in (plain[0][1], fused[0][1]):
        norm.weight.data[0] = -0.7  # pooling and ReLU come after it, whatever its sign
    (expected, expected_gradients), (found, found_gradients) = (
        learn(plain, image.double()),
        learn(fused, image.double()),
    )
    assert relative(found, expected) < 1e-6
    assert all(relative(f, e) < 1e-6 for f, e in zip(found_gradients, expected_gradients))
    assert all(torch.allclose(f.double(), e.double()) for f, e in zip(fused.buffers(), plain.buffers()))


def test_in_bf16_it_is_as_exact_as_its_layers():
    image = torch.randn(2, 2, 64, 48)
    (exact, exact_gradients), (plain, plain_gradients), (fused, fused_gradients) = (
        learn(kind(*layers()), image, dtype)
        for kind, dtype in ((nn.Sequential, None), (nn.Sequential, torch.bfloat16), (Chain, torch.bfloat16))
    )
    assert relative(fused, exact) < 2 * relative(plain, exact) + 0.01
    for f, p, e in zip(fused_gradients, plain_gradients, exact_gradients):
        assert relative(f, e) < 2 * relative(p, e) + 0.05


def test_a_frozen_chain_and_maps_smaller_than_the_border_take_the_plain_way():
    chain = Chain(*layers())
    small = torch.randn(1, 2, 9, 12)
    assert chain(small).shape == (1, 1, 3, 3)
    statistics = [buffer.clone() for buffer in chain.buffers()]
    chain.eval()(torch.randn(2, 2, 40, 40))
    assert all(torch.equal(before, after) for before, after in zip(statistics, chain.buffers()))


def test_a_chain_is_saved_under_the_names_of_a_sequence():
    assert Chain(*layers()).state_dict().keys() == nn.Sequential(*layers()).state_dict().keys()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_freed_memory_is_kept_for_the_next_step():
    """In a process of its own, since it cannot be undone: pages touched again are not fetched again."""
    script = (
        "import resource, numpy as np\n"
        "from weakspot.network.memory import keep_freed_memory\n"
        "assert keep_freed_memory()\n"
        "np.ones(2**23)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(5): np.ones(2**23)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 1000  # five times 64 MB are 80,000 pages


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_what_a_training_kept_is_handed_back_when_it_is_over_and_no_more_is_kept():
    """At rest, then as it was before the training: what a small block on top of the heap no longer holds fast."""
    script = (
        "import numpy as np\n"
        "from weakspot.network.memory import hand_back_freed_memory, keep_freed_memory\n"
        "def resident():\n"
        "    lines = open('/proc/self/status')\n"
        "    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith('VmRSS'))\n"
        "def left_by_a_step():\n"
        "    before = resident()\n"
        "    pieces = [np.ones(2**23) for _ in range(4)]\n"
        "    last.append(np.ones(8))\n"
        "    del pieces\n"
        "    return resident() - before\n"
        "last = []\n"
        "untouched, before = left_by_a_step(), resident()\n"
        "assert keep_freed_memory()\n"
        "kept = left_by_a_step()\n"
        "assert hand_back_freed_memory()\n"
        "handed_back = resident() - before\n"
        "print(untouched, kept, handed_back, left_by_a_step())\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    untouched, kept, handed_back, afterwards = map(int, ran.stdout.split())
    assert kept > 200  # of 256 MB
    assert max(untouched, handed_back, afterwards) < 50


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_a_training_sets_nothing_that_cannot_be_taken_back():
    """Threads that allocate at once still get arenas of their own; M_ARENA_MAX would forbid that for good."""
    script = (
        "import ctypes, threading\n"
        "from weakspot.network.memory import hand_back_freed_memory, keep_freed_memory\n"
        "assert keep_freed_memory() and hand_back_freed_memory()\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]\n"
        "held, together = [], threading.Barrier(4)\n"
        "def allocate():\n"
        "    together.wait()\n"
        "    held.append(libc.malloc(1000))\n"
        "    together.wait()\n"
        "threads = [threading.Thread(target=allocate) for _ in range(4)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "libc.malloc_stats()\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "Arena 1" in ran.stderr


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr("weakspot.network.memory.platform.libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
    assert not hand_back_freed_memory()
