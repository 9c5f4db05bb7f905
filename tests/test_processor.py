"""The flags of the processor, as Linux writes them."""

from __future__ import annotations

import pathlib
import platform

import pytest
import torch

from darknet_py import processor


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", "fpu avx2 avx512f avx512_vnni", True),
        ("x86_64", "fpu avx2 avx_vnni", True),
        ("x86_64", "fpu avx2 avx512f avx_vnni_int8x", False),
        ("aarch64", "fp asimd asimddp", False),
    ],
)
def test_vnni_is_a_flag_of_linux(
    machine: str, flags: str, expected: bool, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(f"model name\t: A\nflags\t\t: {flags}\n\nmodel name\t: A\nflags\t\t: {flags}\n")
    monkeypatch.setattr(processor, "_CPUINFO", path)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert processor.has_vnni() is expected
    assert processor.describe_vnni() == ("with VNNI" if expected else "without VNNI")
    assert processor.describe_processor() == f"flags\t\t: {flags}\nmodel name\t: A"


def test_elsewhere_torch_is_asked(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "none")
    monkeypatch.setattr(platform, "machine", lambda: "AMD64")
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True)
    assert processor.has_vnni() is True
    monkeypatch.delattr(torch.cpu, "_is_vnni_supported")
    assert processor.has_vnni() is None
    assert processor.describe_vnni() == "VNNI unknown"
    assert processor.describe_processor() == platform.processor()


def test_the_flag_of_this_machine_is_what_torch_says() -> None:
    query = getattr(torch.cpu, "_is_vnni_supported", None)
    if query is None or not processor.is_x86():
        pytest.skip("this torch has no query, or the processor is not of the x86 family")
    assert processor.has_vnni() is bool(query())
