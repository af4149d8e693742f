# SPDX-License-Identifier: Apache-2.0
"""How many threads numpy's OpenBLAS has made for itself."""


def threads():
    import ctypes
    import glob
    import os

    import numpy

    folder = os.path.join(os.path.dirname(numpy.__file__), "..", "numpy.libs")
    (path,) = glob.glob(os.path.join(folder, "libscipy_openblas*"))
    return ctypes.CDLL(path).scipy_openblas_get_num_threads64_()
