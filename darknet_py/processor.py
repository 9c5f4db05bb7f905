"""What the processor of this machine is, and which of its instructions matter."""

from __future__ import annotations

import pathlib
import platform

_CPUINFO = pathlib.Path("/proc/cpuinfo")
_X86 = ("x86_64", "amd64", "i386", "i686")
_VNNI = {"avx512_vnni", "avx_vnni"}


def describe_processor() -> str:
    """Return the model and the instruction sets of the processor, as far as the system tells them."""
    lines = _cpuinfo()
    if lines is None:
        return platform.processor()
    kinds = ("model name", "flags", "Features")
    return "\n".join(sorted({line for line in lines if line.startswith(kinds)}))


def has_vnni() -> bool | None:
    """Whether the processor has VNNI (AVX512-VNNI or AVX-VNNI), which adds up products of eight bits in 32 bits.

    Without it x86 processors add pairs of products in 16 bits, and saturate. Processors of other families have neither
    VNNI nor this limit. Linux tells its flags; elsewhere torch is asked.

    Returns:
        None where it is not known.
    """
    if not is_x86():
        return False
    lines = _cpuinfo()
    if lines is not None:
        flags = {flag for line in lines if line.startswith("flags") for flag in line.partition(":")[2].split()}
        return not _VNNI.isdisjoint(flags)
    import torch

    query = getattr(torch.cpu, "_is_vnni_supported", None)
    return bool(query()) if callable(query) else None


def is_x86() -> bool:
    """Whether the processor is of the x86 family."""
    return platform.machine().lower() in _X86


def describe_vnni() -> str:
    """Return ``with VNNI``, ``without VNNI`` or ``VNNI unknown``."""
    return {True: "with VNNI", False: "without VNNI", None: "VNNI unknown"}[has_vnni()]


def _cpuinfo() -> list[str] | None:
    try:
        return _CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
