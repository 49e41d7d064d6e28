"""The arrays of an .npz pool, read without trusting what the file says of itself."""

import math
import os
import zipfile
from pathlib import Path

import numpy as np

from jaxal.errors import DataError

NAMES = ("X", "y", "X_test", "y_test", "class_names")


def read(path: Path) -> dict[str, np.ndarray]:
    """Those arrays of the file that a pool has, by name. Raises DataError naming the file and what is wrong with it."""
    if not os.path.exists(path):
        raise DataError(f"{path} does not exist")
    if not os.path.isfile(path):  # opening a FIFO would wait for ever
        raise DataError(f"{path} cannot be read: it is not a regular file")
    try:
        with zipfile.ZipFile(path) as archive:
            members = [(member.filename.removesuffix(".npy"), member) for member in archive.infolist()]
            found = [name for name, _ in members if name in NAMES]
            if len(set(found)) < len(found):
                raise ValueError(f"it holds {max(found, key=found.count)} twice")
            arrays = {name: _array(archive, member) for name, member in members if name in NAMES}
    except MemoryError:
        raise DataError(f"{path} holds more than fits into memory") from None
    except Exception as e:  # zipfile, zlib and NumPy raise more than a dozen kinds for what is no archive of arrays
        raise DataError(f"{path} cannot be read as an .npz of plain arrays: {' '.join(str(e).split())}") from e
    if "X" not in arrays:
        raise DataError(f"{path} has no array X: an .npz pool holds X, y, X_test, y_test")
    return arrays


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """One array, read only if the member has just the bytes that its header calls for: NumPy allocates first."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(file)
        if not dtype.hasobject and math.prod(shape) * dtype.itemsize != member.file_size - file.tell():
            raise ValueError(f"the header of {member.filename} says {dtype} {shape}, which its size is not")
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
