"""Arrays in, arrays out: the arithmetic, and nothing of the domain.

Every kernel is one file of this folder with its CUDA twin of the same stem beside it. NumPy arrays
in give NumPy arrays out; CuPy in, CuPy out. A mixture is refused; nothing changes device unasked.
"""

from kernels._core import KernelInputError, device, to_device, to_host

__all__ = ["KernelInputError", "device", "to_device", "to_host"]
