"""What every kernel shares: the device its inputs live on, and the refusals.

Kernels are serial and release the GIL; threads belong to whoever calls them. What is large is made
by NumPy outside of compiled code, because it asks the system for large pages. Compiled code is
cached in a folder whose name holds a digest of this package's sources, Numba, llvmlite and the CPU,
because Numba does not notice a changed callee in another file.
"""

from __future__ import annotations

import hashlib
import os
import platform
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import llvmlite
import numba
import numpy as np

FOLDER: Final = Path(__file__).resolve().parent


class KernelInputError(ValueError):
    """An array or a scalar does not have the dtype, rank, layout, device or range asked for."""


def cache_folder() -> Path:
    """Where compiled kernels are kept: `NUMBA_CACHE_DIR` if set, else a folder of the user's."""
    if "NUMBA_CACHE_DIR" in os.environ:
        return Path(os.environ["NUMBA_CACHE_DIR"])
    digest = hashlib.sha256()
    for source in sorted(FOLDER.rglob("*.py")):
        digest.update(source.read_bytes())
    for part in (numba.__version__, llvmlite.__version__, llvmlite.binding.get_host_cpu_name()):
        digest.update(part.encode())
    digest.update(platform.python_version().encode())
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "ihp-compute" / f"numba-{digest.hexdigest()[:16]}"


numba.config.CACHE_DIR = str(cache_folder())

_IS_HOST: Final = not {"NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"} & set(os.environ) and (
    platform.machine().lower() in ("x86_64", "amd64")
)
"""Whether code is compiled for this processor, and it is one of the x86 family."""
_FEATURES: Final = llvmlite.binding.get_host_cpu_features()
HAS_AVX512BW: Final = _IS_HOST and bool(_FEATURES.get("avx512bw"))

if _IS_HOST:
    # By default LLVM halves the vectors of several AVX-512 processors; whole ones are faster here.
    numba.config.CPU_FEATURES = f"{_FEATURES.flatten()},-prefer-256-bit"


def device_of(**arrays: Any) -> str:
    """Device that all arrays live on: "cpu" or "gpu".

    Raises
    ------
    KernelInputError
        If an array is neither NumPy nor CuPy, or the arrays live on different devices.
    """
    for array in arrays.values():  # nearly always all are NumPy's
        if type(array) is not np.ndarray:
            break
    else:
        return "cpu"
    found = {}
    for name, array in arrays.items():
        if isinstance(array, np.ndarray):
            found[name] = "cpu"
        elif hasattr(array, "__cuda_array_interface__"):
            found[name] = "gpu"
        else:
            kind = type(array).__name__
            raise KernelInputError(f"{name}: expected a NumPy or CuPy array, got {kind}")
    if len(set(found.values())) > 1:
        where = ", ".join(f"{name} on {place}" for name, place in found.items())
        raise KernelInputError(f"inputs live on different devices: {where}; move them to one")
    return next(iter(found.values()))


@lru_cache(maxsize=64)
def _dtypes(dtype: Any) -> tuple[np.dtype[Any], ...]:
    return tuple(np.dtype(kind) for kind in (dtype if isinstance(dtype, tuple) else (dtype,)))


def require(
    name: str, array: Any, dtype: Any, shape: tuple[int | None, ...], *, writable: bool = False
) -> None:
    """Refuse an array of another dtype, rank, shape or layout; O(1), never reads the elements.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    array : NumPy or CuPy array
    dtype : dtype or tuple of dtypes allowed
    shape : tuple
        Expected length per axis; None allows any.
    writable : bool
        Whether the kernel writes into it. Inputs may be read-only maps.

    Raises
    ------
    KernelInputError
        Says what was found and what was expected.
    """
    allowed = _dtypes(dtype)
    if array.dtype not in allowed:
        names = " or ".join(str(kind) for kind in allowed)
        raise KernelInputError(f"{name}: expected dtype {names}, got {array.dtype}")
    fits = array.ndim == len(shape)
    if fits:
        for want, have in zip(shape, array.shape, strict=True):
            fits = fits and (want is None or want == have)
    if not fits:
        wanted = ", ".join("any" if want is None else str(want) for want in shape)
        raise KernelInputError(f"{name}: expected shape ({wanted}), got {tuple(array.shape)}")
    if not array.flags.c_contiguous:
        raise KernelInputError(f"{name}: expected a C-contiguous array; copy it first")
    if writable and isinstance(array, np.ndarray) and not array.flags.writeable:
        raise KernelInputError(f"{name}: expected a writable array")


def read_only(array: Any) -> Any:
    """A read-only view, so that memory maps and fresh arrays share one compiled form."""
    if not array.flags.writeable:
        return array
    view = array.view()
    view.flags.writeable = False
    return view


def cuda_module(place: str) -> Any:
    """The compiled CUDA source "room/stem"; needs CuPy. No fused multiply-add, as everywhere."""
    import cupy  # noqa: PLC0415

    source = FOLDER / f"{place}.cu"
    options = ("--std=c++17", "--fmad=false", f"-I{source.parent}")
    return cupy.RawModule(code=source.read_text(), options=options)


def device() -> str:
    """The best device here: "gpu" if CuPy imports and finds a CUDA device, else "cpu"."""
    try:
        import cupy  # noqa: PLC0415 - optional, and slow to import

        return "gpu" if cupy.cuda.runtime.getDeviceCount() > 0 else "cpu"
    except Exception:  # noqa: BLE001 - a broken driver raises many kinds; all mean: no GPU
        return "cpu"


def free_bytes() -> int:
    """Bytes of the current CUDA device that CuPy can still hand out."""
    import cupy  # noqa: PLC0415

    free, _ = cupy.cuda.runtime.memGetInfo()
    return int(free) + int(cupy.get_default_memory_pool().free_bytes())


def own_stream(where: str) -> AbstractContextManager[Any]:
    """On "gpu", a CUDA stream of the caller's own; on "cpu", nothing.

    Threads that each work within one overlap: while the kernels of one run, the next shard of
    another is on its way. CuPy copies a NumPy array through page-locked memory, without waiting.
    """
    if where == "cpu":
        return nullcontext()
    import cupy  # noqa: PLC0415

    stream: AbstractContextManager[Any] = cupy.cuda.Stream(non_blocking=True)
    return stream


def to_device(array: np.ndarray[Any, Any]) -> Any:
    """Copy of a NumPy array on the current CUDA device, in order on the caller's stream."""
    import cupy  # noqa: PLC0415

    return cupy.asarray(array)


def to_host(array: Any) -> Any:
    """The array as NumPy: itself if it is there already, else copied from the GPU."""
    if isinstance(array, np.ndarray):
        return array
    import cupy  # noqa: PLC0415

    return cupy.asnumpy(array)
