"""scripted.py - checkpoints of one layer whose greedy answer is any list of token ids.

How it knows where it is: attention has no queries and keys, so every position weighs alike, and only [gMASK], the
first token, has a value.  The value that comes out of attention is therefore a constant over the number of tokens in
the context.  The MLP turns that number into a place in the script: each place has three units, which together are a
tent over its number and zero elsewhere.  The output matrix names the place's token.

    write(directory, ids, tokens, gmask)

makes a directory that answers ids[0] when the context holds so many tokens, ids[1] after that, and so on; behind the
script it answers token 2, the end.  Script(conn) asks the server for the ids that it needs.
"""
import array
import json
import math
import os
import shutil
import struct
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOKENIZER = os.path.join(ROOT, "models", "tiny-chatglm3")
END = 2
EPSILON = 1e-5
HEAD = 16               # kv_channels
STEEP = 64.0            # how far a unit's slope is from silu's bend


class Matrix:
    """Float32 rows, zero but for what is set."""

    def __init__(self, *shape):
        self.shape = shape
        self.data = array.array("f", bytes(4 * math.prod(shape)))

    def __setitem__(self, at, value):
        row, column = at if isinstance(at, tuple) else (0, at)
        self.data[row * self.shape[-1] + column] = value

    def fill(self, value):
        self.data = array.array("f", [value]) * len(self.data)
        return self


def tensors(ids, tokens, gmask, vocab):
    """The weights by name.  Columns of the hidden state: 0 is one, 1 the number, 2 [gMASK]'s, then places."""
    script = [*ids, END]
    hidden = -(-(3 + len(script)) // HEAD) * HEAD
    units = 3 * len(script)

    def ones():
        return Matrix(hidden).fill(1.0)

    def normed(value, *others):
        """A component behind RMSNorm."""
        return value / math.sqrt((value * value + sum(x * x for x in others)) / hidden + EPSILON)

    embedding = Matrix(vocab, hidden)
    for token in range(vocab):
        embedding[token, 0] = 1.0
    embedding[gmask, 2] = 1.0

    # rows of q for every head, then k and v of one group
    qkv = Matrix(hidden + 2 * HEAD, hidden)
    qkv[hidden + HEAD, 2] = 1.0
    dense = Matrix(hidden, hidden)
    dense[1, 0] = 1.0
    first_value = normed(1.0, 1.0)

    def number(n):
        """What the MLP sees in column 1 when the context holds n tokens; and in column 0."""
        return normed(first_value / n, 1.0), normed(1.0, first_value / n)

    gate_up = Matrix(2 * units, hidden)
    down = Matrix(hidden, units)
    output = Matrix(vocab, hidden)
    for place, token in enumerate(script):
        n = tokens + place
        here, one = number(n)
        low, high = (here + number(n + 1)[0]) / 2, (here + number(n - 1)[0]) / 2
        if place == len(script) - 1:
            low = here / 2      # the end stays the end for a while
        slope = STEEP / min(here - low, high - here)
        falls = slope * (here - low) / (high - here)
        for corner, (at, weight) in enumerate(((low, 1.0), (here, -1.0 - falls / slope), (high, falls / slope))):
            unit = 3 * place + corner
            gate_up[unit, 1] = slope
            gate_up[unit, 0] = -slope * at / one
            gate_up[units + unit, 0] = 1.0 / one
            down[3 + place, unit] = weight / (slope * (here - low))
        output[token, 3 + place] = 1.0

    layer = "transformer.encoder.layers.0."
    return hidden, units, {
        "transformer.embedding.word_embeddings.weight": embedding,
        layer + "input_layernorm.weight": ones(),
        layer + "self_attention.query_key_value.weight": qkv,
        layer + "self_attention.query_key_value.bias": Matrix(hidden + 2 * HEAD),
        layer + "self_attention.dense.weight": dense,
        layer + "post_attention_layernorm.weight": ones(),
        layer + "mlp.dense_h_to_4h.weight": gate_up,
        layer + "mlp.dense_4h_to_h.weight": down,
        "transformer.encoder.final_layernorm.weight": ones(),
        "transformer.output_layer.weight": output,
    }


def write_safetensors(path, named):
    head, offset = {}, 0
    for name, matrix in named.items():
        size = 4 * len(matrix.data)
        head[name] = {"dtype": "F32", "shape": list(matrix.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for matrix in named.values():
            if sys.byteorder == "big":
                matrix.data.byteswap()
            matrix.data.tofile(file)


def write(directory, ids, tokens, gmask, vocab=1024, context=2048):
    """A model directory whose tokenizer is the embedded model's."""
    hidden, units, named = tensors(ids, tokens, gmask, vocab)
    config = {"model_type": "chatglm", "architectures": ["ChatGLMModel"], "add_bias_linear": False, "add_qkv_bias": True,
              "apply_query_key_layer_scaling": True, "apply_residual_connection_post_layernorm": False,
              "ffn_hidden_size": units, "hidden_size": hidden, "kv_channels": HEAD, "layernorm_epsilon": EPSILON,
              "multi_query_attention": True, "multi_query_group_num": 1, "num_attention_heads": hidden // HEAD,
              "num_layers": 1, "original_rope": True, "padded_vocab_size": vocab, "post_layer_norm": True,
              "rmsnorm": True, "seq_length": context, "torch_dtype": "float32", "tie_word_embeddings": False,
              "eos_token_id": END, "pad_token_id": 0}
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "config.json"), "w") as file:
        json.dump(config, file)
    shutil.copy(os.path.join(TOKENIZER, "tokenizer.model"), directory)
    write_safetensors(os.path.join(directory, "model.safetensors"), named)


class Script:
    """Writes models for prompts and answers given as texts, which it has the server tokenize."""

    def __init__(self, conn):
        self.conn = conn
        self.gmask = self.value("SELECT (glm_tokenize('', add_special => true))[1]")

    def value(self, sql, *arguments):
        return self.conn.execute(sql, arguments).fetchone()[0]

    def ids(self, text):
        return self.value("SELECT glm_tokenize(%s)", text)

    def write(self, directory, answer, prompt="hi"):
        """The model answers a glm_generate of this prompt, and of all that are as long; answer: text or ids."""
        messages = json.dumps([{"role": "user", "content": prompt}])
        tokens = self.value("SELECT cardinality(glm_chat_tokens(%s::jsonb))", messages)
        write(directory, self.ids(answer) if isinstance(answer, str) else answer, tokens, self.gmask)
