#!/usr/bin/env python3
"""delays.py - how long one role's trivial calls take beside another's worst.

    eval "$(test/cluster.sh env)" && python3 test/bench/delays.py [KIND...]

For each kind of work that is long before a forward pass begins (huge texts, nested tools, millions of
ids, the first use of a large model) role delays_b runs one statement, while delays_a calls
glm_count_tokens('x') and glm_generate(..., max_tokens => 5) on the embedded model again and again.
After CANCEL_S seconds the statement is cancelled.  Printed are the longest of a's calls, how b's ended
and how long after that its request was still in the worker.  Run by hand, on a cluster of its own.
"""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time

import psycopg

CANCEL_S = float(os.environ.get("CANCEL_S", "8"))
GIVE_UP_S = float(os.environ.get("GIVE_UP_S", "60"))
NESTED = ("WITH t AS (SELECT format('{\"role\":\"system\",\"content\":\"\",\"tools\":[{\"name\":\"a\",\"x\":%s%s}]}', "
          "repeat('[',1900), repeat(']',1900))::jsonb m) "
          "SELECT CALL(jsonb_agg(m) || '[{\"role\":\"user\",\"content\":\"x\"}]'TAIL) FROM t, generate_series(1,TIMES)")


def nested(n, call="glm_chat", tail=""):
    return NESTED.replace("TIMES", str(n)).replace("CALL", call).replace("TAIL", tail)


KINDS = {
    "nothing": "SELECT pg_sleep(8)",
    "count 60 MB": "SELECT glm_count_tokens(repeat('word ', 12000000))",
    "count 15.7 MB": "SELECT glm_count_tokens(repeat('The parcel with order number 48213 has not arrived yet. ', 280000))",
    "tokenize 16 MB": "SELECT cardinality(glm_tokenize(repeat('word ', 3200000)))",
    "count 4 MB of a": "SELECT glm_count_tokens(repeat('a', 4000000))",
    "count 4 MB, no cut": "SELECT glm_count_tokens(repeat('`', 4000000))",
    "system 60 MB": "SELECT glm_generate('hi', system => repeat('word ', 12000000))",
    "prompt 60 MB": "SELECT glm_generate(repeat('word ', 12000000))",
    "nested tools x1": nested(1),
    "nested tools x4": nested(4),
    "nested tools x16": nested(16),
    "nested chat_tokens x4": nested(4, "glm_chat_tokens"),
    "nested x16, timeout 2 s": nested(16, tail=", options => '{\"timeout_ms\":2000}'"),
    "chat_tokens 30 MB": "SELECT cardinality(glm_chat_tokens(jsonb_build_array(jsonb_build_object('role','user','content',repeat('word ', 6000000)))))",
    "chat_tokens 500k messages": "SELECT cardinality(glm_chat_tokens(jsonb_agg(jsonb_build_object('role','user','content','hi')))) FROM generate_series(1,500000)",
    "detokenize 8M ids": "SELECT length(glm_detokenize(array_fill(500, ARRAY[8000000])))",
    "logits 8M ids": "SELECT cardinality(glm_logits(array_fill(500, ARRAY[8000000])))",
    "32 rows of 2 MB": "SELECT count(glm_count_tokens(repeat('word ', 400000 + i))) FROM (SELECT i FROM generate_series(1,32) i OFFSET 0) x",
    "rope of 2^20 x 256": "SELECT glm_count_tokens('x', model => 'delays_rope')",
    "sparse 1.1 TB": "SELECT glm_generate('x', model => 'delays_sparse', max_tokens => 1)",
    "sparse 6B": "SELECT glm_generate('x', model => 'delays_six', max_tokens => 1)",
}


# ---- Models ------------------------------------------------------------------

def model_tensors(c):
    head = c["kv_channels"]
    rows = (c["num_attention_heads"] + 2 * c["multi_query_group_num"]) * head
    yield "transformer.embedding.word_embeddings.weight", [c["padded_vocab_size"], c["hidden_size"]]
    for i in range(c["num_layers"]):
        name = f"transformer.encoder.layers.{i}."
        yield name + "input_layernorm.weight", [c["hidden_size"]]
        yield name + "self_attention.query_key_value.weight", [rows, c["hidden_size"]]
        yield name + "self_attention.query_key_value.bias", [rows]
        yield name + "self_attention.dense.weight", [c["hidden_size"], c["num_attention_heads"] * head]
        yield name + "post_attention_layernorm.weight", [c["hidden_size"]]
        yield name + "mlp.dense_h_to_4h.weight", [2 * c["ffn_hidden_size"], c["hidden_size"]]
        yield name + "mlp.dense_4h_to_h.weight", [c["hidden_size"], c["ffn_hidden_size"]]
    yield "transformer.encoder.final_layernorm.weight", [c["hidden_size"]]
    yield "transformer.output_layer.weight", [c["padded_vocab_size"], c["hidden_size"]]


def sparse_model(parent, name, source, **changes):
    """A model of zeros that takes no room on disk, with the embedded one's tokenizer."""
    path = os.path.join(parent, name)
    os.mkdir(path)
    with open(os.path.join(source, "config.json")) as f:
        config = {**json.load(f), **changes}
    with open(os.path.join(path, "config.json"), "w") as f:
        json.dump(config, f)
    shutil.copy(os.path.join(source, "tokenizer.model"), path)
    header, at = {}, 0
    for tensor, shape in model_tensors(config):
        size = 2
        for n in shape:
            size *= n
        header[tensor] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(path, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        f.truncate(8 + len(text) + at)
    return path


def make_models(parent, conn):
    pg_config = os.environ.get("PG_CONFIG", "pg_config")
    share = subprocess.check_output([pg_config, "--sharedir"], text=True).strip()
    source = os.path.join(share, "extension/chatglm/models/tiny-chatglm3")
    made = {
        "delays_rope": dict(seq_length=1 << 20, kv_channels=256, num_attention_heads=1, multi_query_group_num=1),
        "delays_six": dict(hidden_size=4096, ffn_hidden_size=13696, num_layers=28, kv_channels=128, num_attention_heads=32,
                           multi_query_group_num=2, padded_vocab_size=65024, seq_length=8192),
        "delays_sparse": dict(padded_vocab_size=4194304, hidden_size=65536, num_layers=1, ffn_hidden_size=512,
                              kv_channels=128, num_attention_heads=8, multi_query_group_num=2),
    }
    for name, changes in made.items():
        path = sparse_model(parent, name, source, **changes)
        conn.execute("INSERT INTO chatglm.model (name, path) VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET path = excluded.path", (name, path))


# ---- Measuring ---------------------------------------------------------------

class Probe(threading.Thread):
    """Calls again and again; remembers the longest call."""

    def __init__(self, sql):
        super().__init__(daemon=True)
        self.sql, self.longest, self.calls, self.stop, self.error = sql, 0.0, 0, False, None
        self.began = None

    def run(self):
        with psycopg.connect(user="delays_a", autocommit=True) as conn:
            conn.execute("SET statement_timeout = '100s'")
            while not self.stop:
                self.began = time.monotonic()
                try:
                    conn.execute(self.sql)
                except psycopg.Error as error:
                    self.error = str(error).splitlines()[0]
                self.longest = max(self.longest, time.monotonic() - self.began)
                self.calls += 1
                time.sleep(0.01)

    def result(self):
        waiting = time.monotonic() - self.began if self.is_alive() else 0
        return max(self.longest, waiting)


class Work(threading.Thread):
    def __init__(self, sql):
        super().__init__(daemon=True)
        self.conn = psycopg.connect(user="delays_b", autocommit=True)
        self.sql, self.outcome, self.took = sql, None, None

    def run(self):
        start = time.monotonic()
        try:
            self.outcome = str(self.conn.execute(self.sql).fetchone()[0])[:12]
        except psycopg.Error as error:
            self.outcome = error.sqlstate
        self.took = time.monotonic() - start


def requests_of(conn, pid):
    return conn.execute("SELECT count(*) FROM glm_stat_requests WHERE pid = %s", (pid,)).fetchone()[0]


def measure(admin, sql):
    probes = [Probe("SELECT glm_count_tokens('x')"), Probe("SELECT glm_generate('Who are you?', max_tokens => 5)")]
    for probe in probes:
        probe.start()
    time.sleep(0.5)
    for probe in probes:
        probe.longest = 0.0
    work = Work(sql)
    pid = work.conn.info.backend_pid
    start = time.monotonic()
    work.start()
    work.join(CANCEL_S)
    if work.is_alive():
        admin.execute("SELECT pg_cancel_backend(%s)", (pid,))
        work.join(30)
    ended = time.monotonic()
    while time.monotonic() - start < GIVE_UP_S and requests_of(admin, pid) > 0:
        time.sleep(0.01)
    gone = time.monotonic() - ended
    while time.monotonic() - start < GIVE_UP_S and any(time.monotonic() - p.began > 0.5 for p in probes):
        time.sleep(0.05)
    delays = [probe.result() for probe in probes]
    for probe in probes:
        probe.stop = True
    for probe in probes:
        probe.join(100)
    work.conn.close()
    return work, gone, delays, [p.error for p in probes if p.error]


def main():
    kinds = sys.argv[1:] or list(KINDS)
    parent = tempfile.mkdtemp(prefix="delays-", dir=os.environ.get("TMPDIR", "/tmp"))
    os.chmod(parent, 0o755)
    try:
        with psycopg.connect(autocommit=True) as admin:
            admin.execute("CREATE EXTENSION IF NOT EXISTS chatglm")
            for role in ("delays_a", "delays_b"):
                if not admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone():
                    admin.execute(f"CREATE ROLE {role} LOGIN")
            make_models(parent, admin)
            print("| b's statement | took, s | ended with | a's longest count, ms | a's longest generate, ms | b's request gone after, s |")
            print("|---|---|---|---|---|---|")
            for kind in kinds:
                work, gone, delays, errors = measure(admin, KINDS[kind])
                took = f"{work.took:.1f}" if work.took is not None else "-"
                print(f"| {kind} | {took} | {work.outcome} | {delays[0] * 1000:.0f} | {delays[1] * 1000:.0f} | {gone:.2f} |"
                      + "".join(f" {e}" for e in errors), flush=True)
            admin.execute("DELETE FROM chatglm.model WHERE name LIKE 'delays_%'")
    finally:
        shutil.rmtree(parent)


if __name__ == "__main__":
    main()
