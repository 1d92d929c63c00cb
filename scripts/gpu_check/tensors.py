"""Files of safetensors in plain Python: f32 only, small models."""

import array
import json
import random
import struct


def read(path):
    """Name -> (shape, array of f32)."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        body = file.read()
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "F32":
            raise ValueError(f"{path}: {name} is {entry['dtype']}, not F32")
        start, end = entry["data_offsets"]
        tensors[name] = (entry["shape"], array.array("f", body[start:end]))
    return tensors


def write(path, tensors):
    header, offset = {}, 0
    for name, (shape, values) in tensors.items():
        size = 4 * len(values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, values in tensors.values():
            file.write(values.tobytes())


def widened(tensors, sizes, seed):
    """Random tensors under the same names, every size replaced as `sizes` says."""
    rng = random.Random(seed)
    wide = {}
    for name, (shape, _) in tensors.items():
        shape = [sizes.get(size, size) for size in shape]
        count = 1
        for size in shape:
            count *= size
        wide[name] = (shape, array.array("f", _values(name, shape, count, rng)))
    return wide


def _values(name, shape, count, rng):
    if name.endswith("inv_freq"):
        return [10000.0 ** (-i / count) for i in range(count)]
    if name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
        return [1.0 + 0.1 * rng.random() for _ in range(count)]
    if len(shape) == 1:
        return [rng.gauss(0.0, 0.05) for _ in range(count)]
    spread = 1.0 if "embeddings" in name else shape[-1] ** -0.5
    return [rng.gauss(0.0, spread) for _ in range(count)]
