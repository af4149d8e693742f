# SPDX-License-Identifier: Apache-2.0
import os

os.environ.update(OPENBLAS_NUM_THREADS="1")
