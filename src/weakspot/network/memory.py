"""Memory that a training frees and takes again every step, kept meanwhile instead of handed back to the system."""

import ctypes
import platform

# Parameters of glibc's mallopt(3), what a training sets them to, and what they come to by themselves in a process that
# takes and frees large blocks. M_ARENA_MAX stays as it is: it cannot be taken back.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4
_KEEPS = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**26}
_HANDS_BACK = {_MMAP_MAX: 2**16, _MMAP_THRESHOLD: 2**25, _TRIM_THRESHOLD: 2**26, _TOP_PAD: 2**17}


def keep_freed_memory() -> bool:
    """Have the C library keep what is freed from now on; returns whether it did so (glibc, that is Linux, only).

    Large tensors otherwise come as fresh pages every time, which the system clears one by one.
    """
    return _set(_KEEPS)


def hand_back_freed_memory() -> bool:
    """Have it hand back what is free now and what is freed from now on; returns whether it did so.

    What a training leaves free is in pieces that a runtime's large tensors don't fit into: kept, it would add to
    theirs.
    """
    if not _set(_HANDS_BACK):
        return False
    ctypes.CDLL(None).malloc_trim(0)
    return True


def _set(parameters: dict[int, int]) -> bool:
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(parameter, value) == 1 for parameter, value in parameters.items())
