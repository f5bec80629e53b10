#!/usr/bin/python3
"""A GGUF file of ChatGLM3-6B's shape, random, for engines that are measured beside ours.

    random_gguf.py 4|8 FILE

Every matrix is in blocks of 32 weights, Q4_0 or Q8_0: a scale in fp16, then the codes. As in make_random_model.c the
codes are drawn by a generator seeded with the tensor's name, and the scale gives weights the variance 1 / columns, so
that activations keep their size. There is no vocabulary: tokens are numbers.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, version 3.
"""
import os
import random
import struct
import sys

LAYERS, HIDDEN, HEADS, GROUPS, HEAD_DIM, FFN, VOCAB = 28, 4096, 32, 2, 128, 13696, 65024
ALIGNMENT = 32
UINT32, FLOAT32, STRING = 4, 6, 8       # types of values
F32 = 0                                 # types of tensors
BLOCK = 32                              # weights
ROWS = 256                              # drawn at a time: a divisor of all matrices' rows
Q4_0, Q8_0 = (2, 2 + BLOCK // 2, 4.61), (8, 2 + BLOCK, 73.9)    # type, bytes of a block, deviation of its random codes


def text(s):
    encoded = s.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def settings(bits):
    """Pairs of names and packed values."""
    numbers = {"context_length": 8192, "embedding_length": HIDDEN, "feed_forward_length": FFN, "block_count": LAYERS,
               "attention.head_count": HEADS, "attention.head_count_kv": GROUPS, "rope.dimension_count": HEAD_DIM // 2,
               "vocab_size": VOCAB}
    fractions = {"attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 10000.0}
    yield from (("chatglm." + k, struct.pack("<II", UINT32, v)) for k, v in numbers.items())
    yield from (("chatglm." + k, struct.pack("<If", FLOAT32, v)) for k, v in fractions.items())
    yield "general.file_type", struct.pack("<II", UINT32, {4: 2, 8: 7}[bits])
    for name, value in (("general.architecture", "chatglm"), ("tokenizer.ggml.model", "no_vocab")):
        yield name, struct.pack("<I", STRING) + text(value)


def shapes():
    """Names and dimensions, columns first."""
    qkv = (HEADS + 2 * GROUPS) * HEAD_DIM
    yield "token_embd.weight", (HIDDEN, VOCAB)
    for i in range(LAYERS):
        layer = {"attn_norm.weight": (HIDDEN,), "attn_qkv.weight": (HIDDEN, qkv), "attn_qkv.bias": (qkv,),
                 "attn_output.weight": (HIDDEN, HIDDEN), "ffn_norm.weight": (HIDDEN,),
                 "ffn_up.weight": (HIDDEN, 2 * FFN), "ffn_down.weight": (FFN, HIDDEN)}
        yield from (("blk.%d.%s" % (i, name), shape) for name, shape in layer.items())
    yield "output_norm.weight", (HIDDEN,)
    yield "output.weight", (HIDDEN, VOCAB)


def length(shape, block_bytes):
    return shape[0] // BLOCK * shape[1] * block_bytes if len(shape) == 2 else 4 * shape[0]


def contents(name, shape, block_bytes, deviation):
    """Yields the bytes of a tensor: a matrix' blocks, or the fp32 of a norm (1) or bias (0)."""
    if len(shape) == 1:
        yield struct.pack("<f", name.endswith("norm.weight")) * shape[0]
        return
    draw, scale = random.Random(name), struct.pack("<e", shape[0] ** -0.5 / deviation)
    for _ in range(shape[1] // ROWS):
        data = bytearray(draw.randbytes(length((shape[0], ROWS), block_bytes)))
        for i in range(2):
            data[i::block_bytes] = scale[i:i + 1] * (len(data) // block_bytes)
        yield data


def padded(size):
    return -size % ALIGNMENT


def write(bits, path):
    """Makes the file, whole or not at all."""
    kind, block_bytes, deviation = {4: Q4_0, 8: Q8_0}[bits]
    values, tensors = list(settings(bits)), list(shapes())
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values))
    head += b"".join(text(name) + value for name, value in values)
    offset = 0
    for name, shape in tensors:
        head += text(name) + struct.pack("<I%dQ" % len(shape), len(shape), *shape)
        head += struct.pack("<IQ", kind if len(shape) == 2 else F32, offset)
        size = length(shape, block_bytes)
        offset += size + padded(size)
    with open(path + ".part", "wb") as f:
        f.write(head + bytes(padded(len(head))))
        for name, shape in tensors:
            f.writelines(contents(name, shape, block_bytes, deviation))
            f.write(bytes(padded(length(shape, block_bytes))))
    os.replace(path + ".part", path)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("4", "8"):
        sys.exit("usage: random_gguf.py 4|8 FILE")
    write(int(sys.argv[1]), sys.argv[2])
