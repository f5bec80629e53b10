"""test_delays.py - one role's longest work, and another's trivial calls beside it.

Role delays_b does what takes long before a forward pass begins: texts of megabytes, tools nested deep,
millions of ids, schemas that nothing fits, the first use of a model of many gigabytes (files with holes, which take no
room).
Meanwhile delays_a's calls are answered; and when b's is cancelled, its work ends too: its request
leaves the worker, which then uses no CPU.
"""
import itertools
import json
import os
import shutil
import struct
import subprocess
import unittest

import psycopg

from harness import *

NESTED = """SELECT {call}((SELECT jsonb_agg(format('{{"role":"system","content":"","tools":[{{"name":"a","x":%%s%%s}}]}}',
                repeat('[', 1900), repeat(']', 1900))::jsonb) FROM generate_series(1, 16)) || '[{{"role":"user","content":"x"}}]')"""

LONG = {
    "a text to count": "SELECT glm_count_tokens(repeat('The parcel with order number 48213 has not come. ', 600000))",
    "its ids": "SELECT cardinality(glm_tokenize(repeat('word ', 5000000)))",
    "nested tools": NESTED.format(call="glm_chat_tokens").replace("%%", "%"),
    "a long message": "SELECT glm_chat_tokens(jsonb_build_array(jsonb_build_object('role', 'user', 'content', repeat('word ', 5000000))))",
    "many messages": "SELECT glm_chat_tokens(jsonb_agg('{\"role\":\"user\",\"content\":\"hi\"}'::jsonb)) FROM generate_series(1, 700000)",
    "rows": "SELECT count(glm_count_tokens(repeat('word ', 300000 + i))) FROM (SELECT i FROM generate_series(1, 30) i OFFSET 0) x",
    "schemas to search": "SELECT count((r).error) FROM (SELECT glm_try_json('x', json_build_object('title', i, 'type', 'array', "
                         "'minItems', 1000000)) AS r FROM generate_series(1, 200) i OFFSET 0) x",
    "a model to page in": "SELECT glm_generate('x', model => 'delays_large', max_tokens => 1)",
    "a model to open": "SELECT glm_count_tokens('x', model => 'delays_slow')",
}


# ---- Models of holes -----------------------------------------------------------

def tensors_of(c):
    rows = (c["num_attention_heads"] + 2 * c["multi_query_group_num"]) * c["kv_channels"]
    yield "transformer.embedding.word_embeddings.weight", [c["padded_vocab_size"], c["hidden_size"]]
    for i in range(c["num_layers"]):
        layer = f"transformer.encoder.layers.{i}."
        yield layer + "input_layernorm.weight", [c["hidden_size"]]
        yield layer + "self_attention.query_key_value.weight", [rows, c["hidden_size"]]
        yield layer + "self_attention.query_key_value.bias", [rows]
        yield layer + "self_attention.dense.weight", [c["hidden_size"], c["num_attention_heads"] * c["kv_channels"]]
        yield layer + "post_attention_layernorm.weight", [c["hidden_size"]]
        yield layer + "mlp.dense_h_to_4h.weight", [2 * c["ffn_hidden_size"], c["hidden_size"]]
        yield layer + "mlp.dense_4h_to_h.weight", [c["hidden_size"], c["ffn_hidden_size"]]
    yield "transformer.encoder.final_layernorm.weight", [c["hidden_size"]]
    yield "transformer.output_layer.weight", [c["padded_vocab_size"], c["hidden_size"]]


def model_of_holes(path, **changes):
    source = os.path.join(subprocess.check_output([PG_CONFIG, "--sharedir"], text=True).strip(),
                          "extension/chatglm/models/tiny-chatglm3")
    with open(f"{source}/config.json") as file:
        config = {**json.load(file), **changes}
    os.mkdir(path)
    shutil.copy(f"{source}/tokenizer.model", path)
    with open(f"{path}/config.json", "w") as file:
        json.dump(config, file)
    header, end = {}, 0
    for name, shape in tensors_of(config):
        begin, end = end, end + 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(f"{path}/model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


class Delays(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.place = directory_for_owner()
        os.chmod(cls.place, 0o755)
        # 270 GB; and a table of angles that takes seconds
        model_of_holes(f"{cls.place}/large", padded_vocab_size=1 << 20, hidden_size=65536, num_layers=1)
        model_of_holes(f"{cls.place}/slow", seq_length=1 << 20, kv_channels=256, num_attention_heads=2)
        with connect() as conn:
            for role in ("delays_a", "delays_b"):
                if not conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone():
                    conn.execute(f"CREATE ROLE {role} LOGIN")
            for name in ("large", "slow"):
                conn.execute("INSERT INTO chatglm.model (name, path) VALUES (%s, %s)", (f"delays_{name}", f"{cls.place}/{name}"))
            conn.execute("SELECT glm_generate('hi', max_tokens => 2)")

    @classmethod
    def tearDownClass(cls):
        with connect() as conn:
            conn.execute("DELETE FROM chatglm.model WHERE name LIKE 'delays_%'")
            conn.execute("SELECT glm_model_unload(name) FROM glm_models WHERE loaded AND name LIKE 'delays_%'")
        shutil.rmtree(cls.place)
        super().tearDownClass()

    def start(self, sql):
        """Runs it as role delays_b and waits until the worker has it."""
        self.cancelled = health()["cancelled"]
        running = self.background(sql, user="delays_b")
        wait_until(lambda: self.requests_of(running) > 0 or running.error, "the worker has it")
        self.assertIsNone(running.error)
        return running

    def requests_of(self, running):
        return value(f"SELECT count(*) FROM glm_stat_requests WHERE pid = {running.pid}")

    def assert_answered(self):
        with connect(user="delays_a") as conn:
            conn.execute(f"SET statement_timeout = '{PATIENCE:.0f}s'")
            for sql in ("SELECT glm_count_tokens('x')", "SELECT glm_generate('Who are you?', max_tokens => 5)",
                        "SELECT glm_detokenize(glm_tokenize('a b c'))",
                        """SELECT glm_chat('[{"role":"user","content":"hi"}]', max_tokens => 3)"""):
                self.assertTrue(value(sql, conn))

    def assert_gone(self, running):
        wait_until(lambda: self.requests_of(running) == 0, "its request is gone")
        wait_until(lambda: health()["cancelled"] > self.cancelled, "it was cancelled, not done")

        def at_rest():
            before = cpu_ticks(worker_pid())
            time.sleep(0.1)
            return cpu_ticks(worker_pid()) == before

        wait_until(at_rest, "the worker is at rest")

    def test_priorities(self):
        """What others wait for steps back behind forward passes, but not so far that busy neighbours leave it nothing."""
        def nice(tid):
            with open(f"/proc/{worker_pid()}/task/{tid}/stat") as stat:
                return int(stat.read().rsplit(")", 1)[1].split()[16])

        def nices(name):
            return sorted(nice(tid) - nice(worker_pid()) for tid in threads_named(worker_pid(), name))

        running = self.start("SELECT glm_count_tokens(repeat('word ', 12000000))")
        wait_until(lambda: 5 in nices("glm intake"), "the text is read behind passes")
        self.assertEqual(set(nices("glm engine") + nices("glm compute")), {0})
        self.assertEqual(set(nices("glm intake")), {0, 5})              # short requests do not wait behind it
        value(f"SELECT pg_cancel_backend({running.pid})")
        self.assert_gone(running)

    def test_cancelled(self):
        for name, sql in LONG.items():
            with self.subTest(name):
                running = self.start(sql)
                self.assert_answered()
                self.assertTrue(running.is_alive(), "too short to tell anything")
                value(f"SELECT pg_cancel_backend({running.pid})")
                with self.assertRaises(psycopg.errors.QueryCanceled):
                    running.result()
                self.assert_gone(running)

    def test_terminated(self):
        for name in ("a text to count", "schemas to search", "a model to page in"):
            with self.subTest(name):
                running = self.start(LONG[name])
                value(f"SELECT pg_terminate_backend({running.pid})")
                with self.assertRaises(psycopg.OperationalError):
                    running.result()
                self.assert_gone(running)

    def test_statement_timeout(self):
        """
        Of one schema, whose search ends with the statement.  How long the search takes and what a
        statement spends before it is the machine's affair: several timeouts are tried.
        """
        cancelled = health()["cancelled"]
        conn = self.session()
        titles = itertools.count()

        def one_was_cancelled():
            for ms in (10, 20, 40, 80, 160):
                schema = json.dumps({"title": str(next(titles)), "type": "array", "minItems": 1000000})
                conn.execute(f"SET statement_timeout = '{ms}ms'")
                with self.assertRaises((psycopg.errors.QueryCanceled, psycopg.errors.InvalidParameterValue)):
                    conn.execute("SELECT glm_json('x', %s)", [schema])
            return health()["cancelled"] > cancelled

        wait_until(one_was_cancelled, "it was cancelled, not done")

    def test_client_killed(self):
        self.cancelled = health()["cancelled"]
        client = subprocess.Popen(["psql", "-XAtqc", LONG["schemas to search"]], stdout=subprocess.DEVNULL)
        wait_until(lambda: value("SELECT count(*) FROM glm_stat_requests") > 0, "the worker has it")
        client.kill()
        client.wait()
        wait_until(lambda: value("SELECT count(*) FROM glm_stat_requests") == 0, "its requests are gone")
        self.assertGreater(health()["cancelled"], self.cancelled)

    def test_timeout(self):
        """Waiting is included, whoever is busy: for b's own turn, for a model."""
        conn = connect(user="delays_a")
        self.addCleanup(conn.close)
        conn.execute("SET chatglm.request_timeout = '300ms'")
        first = self.start(LONG["a text to count"])
        others = [self.start(LONG["its ids"]) for _ in range(4)]
        for name in ("a text to count", "nested tools", "a model to page in", "a model to open"):
            with self.subTest(name):
                with self.assertRaisesRegex(psycopg.Error, "300 ms") as caught:
                    conn.execute(LONG[name])
                self.assertEqual(caught.exception.sqlstate, "57T01")
        for running in [first, *others]:
            value(f"SELECT pg_cancel_backend({running.pid})")
        for running in [first, *others]:
            with self.assertRaises(psycopg.errors.QueryCanceled):
                running.result()
            self.assert_gone(running)

    def test_given_up(self):
        """A prompt that cannot fit is not read to its end: it takes the worker a fraction of the CPU time of that."""
        with connect(user="delays_b") as conn:
            for sql, whole in ((NESTED.format(call="glm_chat").replace("%%", "%"),
                                NESTED.format(call="cardinality(glm_chat_tokens").replace("%%", "%").replace("(1, 16)", "(1, 1)") + ")"),
                               ("SELECT glm_generate('hi', system => repeat('word ', 12000000))",
                                "SELECT glm_count_tokens(repeat('word ', 1000000))"),
                               ("SELECT glm_generate(repeat('word ', 12000000))",
                                "SELECT glm_count_tokens(repeat('word ', 1000000))"),
                               ("SELECT glm_logits(array_fill(300, ARRAY[4000000]))",
                                "SELECT length(glm_detokenize(array_fill(300, ARRAY[4000000])))")):
                with self.subTest(sql[:60]):
                    before = cpu_ticks(worker_pid())
                    with self.assertRaises(psycopg.errors.ProgramLimitExceeded):
                        conn.execute(sql)
                    given_up = cpu_ticks(worker_pid()) - before
                    conn.execute(whole)
                    self.assertLess(given_up, (cpu_ticks(worker_pid()) - before - given_up) / 2)


if __name__ == "__main__":
    unittest.main()
