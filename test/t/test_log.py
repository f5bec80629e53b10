"""test_log.py - what the server's log tells: requests that take long, and what becomes of worker and models."""
import os
import re
import unittest

from harness import *

SECRET = "swordfish"


class Log(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster({"shared_preload_libraries": "chatglm", "log_line_prefix": "%u@%d ", "max_connections": 20})
        cls.addClassCleanup(cls.cluster.remove)
        with cls.cluster.connect() as conn:
            conn.execute("CREATE EXTENSION chatglm")
            conn.execute("CREATE ROLE asker LOGIN")

    def setUp(self):
        self.seen = len(self.cluster.log())
        self.conn = self.cluster.connect()
        self.addCleanup(self.conn.close)
        wait_until(lambda: value("SELECT glm_ready()", self.conn), "the worker is up")

    def lines(self, what):
        return [line for line in self.cluster.log()[self.seen:].splitlines() if what in line]

    def test_slow_requests_without_their_text(self):
        prompt = f"SELECT glm_generate('the password is {SECRET}', max_tokens => 3)"
        self.conn.execute(prompt)
        self.assertEqual(self.lines("chatglm request"), [])
        self.conn.execute("ALTER ROLE asker SET chatglm.log_min_duration = 0")
        with connect(host=self.cluster.base, port=5432, user="asker", dbname="postgres") as asker:
            asker.execute(prompt)
            asker.execute("SELECT glm_count_tokens('a')")
            with self.assertRaises(psycopg.errors.InvalidParameterValue):
                asker.execute("SELECT glm_detokenize('{-1}')")
        lines = self.lines("chatglm request")
        self.assertEqual(len(lines), 3)
        self.assertRegex(lines[0], r'^asker@postgres LOG:  chatglm request took \d+\.\d{3} ms: generate, model "tiny-chatglm3", '
                                   r"\d+ tokens of the prompt \(\d+ cached\), 3 of the answer$")
        self.assertIn("count_tokens", lines[1])
        self.assertTrue(lines[2].endswith("ended in 22023"), lines[2])
        self.assertNotIn(SECRET, self.cluster.log())

    def test_with_their_text_if_asked(self):
        self.conn.execute("SET chatglm.log_min_duration = 0")
        self.conn.execute("SET chatglm.log_text = on")
        self.conn.execute("SELECT glm_generate($1, max_tokens => 2)".replace("$1", "'der Schlüssel'"))
        self.conn.execute("SELECT glm_generate(%s, max_tokens => 2)", ["x" * 999 + "ü" + "y"])
        self.assertIn("DETAIL:  Prompt: der Schlüssel", self.cluster.log()[self.seen:])
        self.assertIn("STATEMENT:  SELECT glm_generate('der Schlüssel'", self.cluster.log()[self.seen:])
        self.assertEqual([line[-1] for line in self.lines("Prompt: xxx")], ["x"])   # cut before the character

    def test_only_those(self):
        self.conn.execute("SET chatglm.log_min_duration = '1h'")
        self.conn.execute("SELECT glm_generate('hello', max_tokens => 2)")
        self.assertEqual(self.lines("chatglm request"), [])

    def test_a_quantization(self):
        target = os.path.join(self.cluster.base, "packed")
        self.conn.execute(f"SELECT count(*) FROM glm_quantize('tiny-chatglm3', '{target}')")
        begun, ended = self.lines("chatglm quantize")
        self.assertTrue(begun.endswith(f'postgres@postgres LOG:  chatglm quantizes model "tiny-chatglm3" into "{target}"'), begun)
        self.assertRegex(ended, re.escape(f'chatglm quantized model "tiny-chatglm3" into "{target}" in ') + r"\d+\.\d s$")

    def test_the_life_of_worker_and_models(self):
        self.conn.execute("SELECT glm_generate('hello', max_tokens => 2)")
        self.conn.execute("SELECT glm_model_unload('tiny-chatglm3')")
        wait_until(lambda: self.lines('model "tiny-chatglm3" unloaded: on request'), "the unloading")
        pid = health(self.conn)["worker_pid"]
        as_owner("kill", "-TERM", str(pid))
        wait_until(lambda: health(self.conn).get("worker_pid", pid) != pid, "another worker")
        self.assertEqual(len(self.lines("chatglm worker stops")), 1)
        self.assertEqual(len(self.lines("chatglm worker started")), 1)


if __name__ == "__main__":
    unittest.main()
