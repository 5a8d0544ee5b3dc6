"""Runs a TFLite file in an interpreter of its own, which has numpy and no more of ours.

Started as a script by ``old_runtime``: ``python child.py FILE``. Takes requests on its
standard input and answers them on its standard output, each in blocks of a 64-bit
length and as many bytes: the name of a signature and its inputs as NPZ; back come
``+`` or ``-`` and the outputs as NPZ or what went wrong.
"""

import io
import struct
import sys
from typing import BinaryIO

import numpy as np
from tflite_runtime.interpreter import Interpreter


def main() -> None:
    """Answer requests until there are no more."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    interpreter = Interpreter(sys.argv[1], num_threads=1)
    signatures: dict = {}  # type: ignore[type-arg] # older Pythons run this too
    while True:
        name = _read(source)
        if name is None:
            return
        request = _read(source) or b""
        try:
            if name not in signatures:
                signatures[name] = interpreter.get_signature_runner(name.decode())
            with np.load(io.BytesIO(request), allow_pickle=False) as arrays:
                outputs = signatures[name](**dict(arrays))
            packed = io.BytesIO()
            np.savez(packed, **outputs)
            _write(sink, b"+", packed.getvalue())
        except (ValueError, RuntimeError) as error:
            _write(sink, b"-", str(error).encode())


def _read(source: BinaryIO) -> "bytes | None":
    head = source.read(8)
    if len(head) < 8:
        return None
    (size,) = struct.unpack("<Q", head)
    return source.read(size)


def _write(sink: BinaryIO, *blocks: bytes) -> None:
    sink.writelines(struct.pack("<Q", len(block)) + block for block in blocks)
    sink.flush()


if __name__ == "__main__":
    main()
