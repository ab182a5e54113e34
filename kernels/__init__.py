"""Arrays in, arrays out: the arithmetic, and nothing of the domain.

Every kernel is one file of this folder with its CUDA twin of the same stem beside it. NumPy arrays
in give NumPy arrays out; CuPy in, CuPy out. A mixture is refused; nothing changes device unasked.

`kernels.replicate_totals` is the kernel; its module, with `reference` and the private forms, is
what `from kernels.replicate_totals import reference` finds.
"""

from kernels._core import KernelInputError, device, to_device, to_host
from kernels.philox import philox
from kernels.replicate_totals import replicate_totals

ALL = ("philox", "replicate_totals")  # stems; tests hold each to its twin and its docstring

__all__ = [
    "ALL",
    "KernelInputError",
    "device",
    "philox",
    "replicate_totals",
    "to_device",
    "to_host",
]
