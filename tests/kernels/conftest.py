"""Holds the CUDA twins without a GPU, and marks what needs one.

`host_twin(stem, arguments, grid=..., block=...)` compiles a kernel's `<stem>.cu` for the host with
`host_cuda.h` under the address sanitizer, runs the entry `stem` (or `entry=`) in a subprocess over
all threads of the grid, and returns the array arguments as the kernel left them, in order. Pass
NumPy arrays for pointers and NumPy scalars of the parameter's exact width for the rest, as in a
CuPy launch:

    (out,) = host_twin("segment_cost", [paid, offsets, np.int64(n), out], grid=1, block=n)[-1:]

`grid` and `block` are ints or tuples. A kernel that leaves its arrays' bounds fails the test with
the sanitizer's report; a kernel owes nothing but its `extern "C" __global__ void <stem>(...)`. One
that uses `__syncthreads()` runs on real threads, one per CUDA thread: keep its blocks small.
CUDA knows no <cstdint>: write `long long` for int64, `unsigned long long` for uint64.

`nvrtc(stem, architecture)` compiles the same text with NVRTC and returns the machine code;
`test_sources.py` does it for every stem in `kernels.ALL`, so a new kernel needs no test of its own.

`numpy_as_cupy(stem)` runs a `_gpu` form without a GPU, to test the launch around the same text.

All skip, with the reason, where g++ or the NVRTC wheel is absent. Tests marked `gpu` do likewise.
Whatever uses one of them is marked `cuda_text`: what a compiler makes of the text does not depend
on the interpreter that starts it, so `make test-others` leaves these out.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import inspect
import os
import re
import shutil
import subprocess
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kernels


def source_of(stem: str) -> Path:
    """The CUDA text beside a kernel's module."""
    return Path(inspect.getfile(getattr(kernels, stem))).with_suffix(".cu")


SHIM = Path(__file__).with_name("host_cuda.h")


def _why_no_gpu() -> str | None:
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed"
    return None if kernels.device() == "gpu" else "CuPy finds no CUDA device"


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not {"host_twin", "nvrtc"}.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.cuda_text)
    marked = [item for item in items if item.get_closest_marker("gpu")]
    reason = _why_no_gpu() if marked else None
    if reason:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))


class _HostTwin:
    """One compiled kernel, answering cases through its standard input and output."""

    def __init__(self, stem: str, entry: str, folder: Path) -> None:
        source = source_of(stem)
        driver = folder / f"{stem}.{entry}.cpp"
        driver.write_text(
            f'#include "{SHIM}"\n#include "{source}"\n'
            f"int main() {{ return host_cuda::serve({entry}); }}\n"
        )
        self.program = driver.with_suffix(".out")
        self.report = driver.with_suffix(".err")
        flags = ["-std=c++20", "-O1", "-g", "-ffp-contract=off", "-fsanitize=address", "-pthread"]
        if "__syncthreads" in source.read_text():
            flags.append("-DHOST_CUDA_BARRIERS")
        done = subprocess.run(
            ["g++", *flags, f"-I{source.parent}", "-o", self.program, driver],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{stem}.cu does not compile for the host:\n{done.stderr}"
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self, arguments: Sequence[Any], shape: tuple[int, ...]) -> list[Any]:
        if self.process is None:
            with self.report.open("wb") as report:
                self.process = subprocess.Popen(
                    [self.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=report
                )
        parts = [np.array(shape, np.int64).tobytes(), np.int64(len(arguments)).tobytes()]
        for argument in arguments:
            assert isinstance(argument, np.ndarray | np.generic), "pass NumPy arrays and scalars"
            is_array = isinstance(argument, np.ndarray)
            parts += [np.array([is_array, argument.nbytes], np.int64).tobytes(), argument.tobytes()]
        arrays = [argument for argument in arguments if isinstance(argument, np.ndarray)]
        size = sum(array.nbytes for array in arrays)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(b"".join(parts))
            self.process.stdin.flush()
            answer = self.process.stdout.read(size) if size else b""
        except BrokenPipeError:
            answer = b""
        if len(answer) != size or (not size and self.process.poll() is not None):
            self.close()
            pytest.fail(f"the kernel failed on the host:\n{self.report.read_text()[:6000]}")
        results, at = [], 0
        for array in arrays:
            piece = answer[at : at + array.nbytes]
            results.append(np.frombuffer(piece, array.dtype).reshape(array.shape).copy())
            at += array.nbytes
        return results

    def close(self) -> None:
        if self.process is not None:
            for pipe in (self.process.stdin, self.process.stdout):
                assert pipe is not None
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
            self.process.wait(timeout=60)
            self.process = None


@pytest.fixture(scope="session")
def host_twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., list[Any]]]:
    """Run a kernel's CUDA text on the host; see the head of this file."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    folder = tmp_path_factory.mktemp("host_twins")
    twins: dict[tuple[str, str], _HostTwin] = {}

    def run(
        stem: str,
        arguments: Sequence[Any],
        *,
        grid: int | tuple[int, ...],
        block: int | tuple[int, ...],
        entry: str | None = None,
    ) -> list[Any]:
        key = (stem, entry or stem)
        if key not in twins:
            twins[key] = _HostTwin(*key, folder)
        grid = (grid,) if isinstance(grid, int) else grid
        block = (block,) if isinstance(block, int) else block
        shape = (*grid, 1, 1)[:3] + (*block, 1)[:2]
        return twins[key](arguments, shape)

    yield run
    for twin in twins.values():
        twin.close()


@pytest.fixture
def numpy_as_cupy(
    monkeypatch: pytest.MonkeyPatch, host_twin: Callable[..., list[Any]]
) -> Callable[[str], None]:
    """Let a kernel's `_gpu` form run on NumPy and its CUDA text on the host.

    `numpy_as_cupy(stem)` stands in for the module's `_entry`; what is tested is the layout of the
    launch, which no GPU is needed for. Blocks are cut to three threads (`GPU_THREADS`).
    """
    stand_in = types.ModuleType("cupy")
    for name in (
        "abs", "arange", "argsort", "asarray", "ascontiguousarray", "bincount", "cumsum", "empty",
        "floor", "sort",
    ):  # fmt: skip
        setattr(stand_in, name, getattr(np, name))
    vars(stand_in).update(zeros=np.zeros, asnumpy=np.asarray)
    monkeypatch.setitem(sys.modules, "cupy", stand_in)

    def stand_for(stem: str) -> None:
        def launch(grid: tuple[int, ...], block: tuple[int, ...], arguments: Sequence[Any]) -> None:
            arrays = [one for one in arguments if isinstance(one, np.ndarray)]
            left = host_twin(stem, arguments, grid=grid, block=block)
            for array, content in zip(arrays, left, strict=True):
                if array.flags.writeable:
                    array[...] = content

        module = inspect.getmodule(getattr(kernels, stem))
        monkeypatch.setattr(module, "_entry", lambda: launch)
        monkeypatch.setattr(module, "GPU_THREADS", 3)
        monkeypatch.setattr(module, "free_bytes", lambda: 1 << 30, raising=False)

    return stand_for


def _nvrtc_library() -> ctypes.CDLL | None:
    spec = importlib.util.find_spec("nvidia")
    for place in spec.submodule_search_locations or () if spec else ():
        for library in sorted(Path(place, "cuda_nvrtc", "lib").glob("libnvrtc.so.*")):
            return ctypes.CDLL(os.fspath(library))
    return None


@pytest.fixture(scope="session")
def nvrtc() -> Callable[[str, str], bytes]:
    """Compile a kernel's CUDA text for an architecture, as CuPy does; see the head of this file."""
    library = _nvrtc_library()
    if library is None:
        pytest.skip("the nvidia-cuda-nvrtc-cu12 wheel is not installed")

    def text(program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        content = ctypes.create_string_buffer(size.value)
        getattr(library, f"nvrtcGet{what}")(program, content)
        return content.raw

    def build(stem: str, architecture: str) -> bytes:
        source = source_of(stem)
        program = ctypes.c_void_p()
        name, content = source.name.encode(), source.read_bytes()
        created = library.nvrtcCreateProgram(ctypes.byref(program), content, name, 0, None, None)
        assert created == 0
        options = [
            b"--std=c++17",
            b"--fmad=false",
            f"--gpu-architecture={architecture}".encode(),
            f"-I{source.parent}".encode(),
        ]
        try:
            failed = library.nvrtcCompileProgram(
                program, len(options), (ctypes.c_char_p * len(options))(*options)
            )
            assert not failed, text(program, "ProgramLog").decode()
            return text(program, "CUBIN")
        finally:
            library.nvrtcDestroyProgram(ctypes.byref(program))

    return build


@pytest.fixture(scope="session")
def entries() -> Callable[[str], list[str]]:
    """Names of the entries in a kernel's CUDA text."""

    def find(stem: str) -> list[str]:
        text = source_of(stem).read_text()
        return re.findall(
            r'extern "C" __global__ void(?:\s+__launch_bounds__\([^)]*\))?\s+(\w+)\(', text
        )

    return find
