"""Memory that a training frees and takes again every step, kept instead of handed back to the system."""

import ctypes
import platform

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8


def keep_freed_memory() -> bool:
    """Have the C library keep what is freed, until this process ends; returns whether it could be told so (glibc, that is Linux, only).

    Large tensors otherwise come as fresh pages every time, which the system clears one by one: a sixth of a training step, half of a spectral layer.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**26, _ARENA_MAX: 1}
    return all(mallopt(parameter, value) == 1 for parameter, value in settings.items())
