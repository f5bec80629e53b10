"""test_settings.py - clusters that are set up in another way: threads, kernels, no preload."""
import os
import unittest

import psycopg

from harness import *

PRELOAD = {"shared_preload_libraries": "chatglm"}
WORKER = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'chatglm worker'"
PROMPTS = ["hello", "who are you", "Repeat: desk lamp, Anna, Berlin", "你好", "重复:台灯 7,安娜,柏林"]


class Settings(unittest.TestCase):
    def answers(self, cluster):
        with cluster.connect() as conn:
            wait_until(lambda: value("SELECT glm_ready()", conn), "the worker is up")
            texts = [value(f"SELECT glm_generate('{prompt}', temperature => {t}, seed => 7, max_tokens => 24)", conn)
                     for prompt in PROMPTS for t in (0, 1)]
            return texts, value("SELECT glm_logits(glm_tokenize('hello'))", conn), health(conn)

    def test_threads_and_kernels_do_not_change_an_answer(self):
        cluster = Cluster({**PRELOAD, "chatglm.threads": 1})
        self.addCleanup(cluster.remove)
        with cluster.connect() as conn:
            conn.execute("CREATE EXTENSION chatglm")
        texts, logits, state = self.answers(cluster)
        self.assertEqual(state["threads"], 1)
        cpu = min(os.sched_getaffinity(0))
        for name, setting, key, shown in (("chatglm.threads", 2, "threads", 2),
                                          ("chatglm.kernels", "scalar", "kernels", "scalar"),
                                          ("chatglm.device", "'cpu:0'", "ready", True),
                                          ("chatglm.threads", 0, "threads", len(os.sched_getaffinity(0))),
                                          ("chatglm.cpu_affinity", f"'{cpu}-{cpu}'", "threads", 1)):
            with self.subTest(name):
                cluster.stop()
                cluster.settings[name] = setting
                cluster.start()
                other_texts, other_logits, state = self.answers(cluster)
                self.assertEqual(state[key], shown)
                self.assertEqual(other_texts, texts)
                self.assertEqual(other_logits, logits)

    def test_types_of_keys_and_values(self):
        cluster = Cluster(PRELOAD)
        self.addCleanup(cluster.remove)
        with cluster.connect() as conn:
            conn.execute("CREATE EXTENSION chatglm")
        texts, logits, _ = self.answers(cluster)
        worst = {}
        for kind in ("f32", "f16", "int8"):
            with self.subTest(kind):
                cluster.stop()
                cluster.settings["chatglm.kv_cache_type"] = kind
                cluster.start()
                other_texts, other_logits, _ = self.answers(cluster)
                worst[kind] = max(abs(a - b) for a, b in zip(logits, other_logits))
                for known in (0, 2, 6):     # greedy answers to greetings, which have wide margins
                    self.assertEqual(other_texts[known], texts[known])
        # the embedded model is not packed: fp32 is what auto takes
        self.assertEqual(worst["f32"], 0)
        self.assertTrue(0 < worst["f16"] < worst["int8"] < 0.5, worst)

    def test_what_this_machine_lacks_is_an_error(self):
        foreign = "neon" if os.uname().machine == "x86_64" else "avx2"
        for name, setting, message in (("chatglm.kernels", foreign, f'"{foreign}" kernels'),
                                       ("chatglm.device", "'cuda:0'", 'no device "cuda:0"'),
                                       ("chatglm.cpu_affinity", "'1023'", "CPU 1023")):
            with self.subTest(name):
                cluster = Cluster({**PRELOAD, name: setting})
                self.addCleanup(cluster.remove)
                with cluster.connect() as conn:
                    conn.execute("CREATE EXTENSION chatglm")
                    wait_until(lambda: health(conn)["last_error"], "the worker said why it cannot start")
                    self.assertIn(message, health(conn)["last_error"])
                    self.assertFalse(value("SELECT glm_ready()", conn))
                    told = health(conn)
                    self.assertEqual((told["ready"], told["state"], told["reasons"], told["up"]),
                                     (False, "down", ["the chatglm worker cannot start"], 0))
                    worker = value(WORKER, conn)
                    with self.assertRaises(psycopg.errors.ObjectNotInPrerequisiteState) as caught:
                        conn.execute("SELECT glm_generate('hi')")
                    self.assertIn(message, caught.exception.diag.message_detail)
                    # it does not die for it, to be started again every second
                    self.assertEqual(value(WORKER, conn), worker)
                    self.assertEqual(cluster.log().count("chatglm worker cannot start: "), 1)
                    # and tries again when somebody may have mended it
                    conn.execute("SELECT pg_reload_conf()")
                    wait_until(lambda: cluster.log().count("chatglm worker cannot start: ") == 2, "another try")

    def test_it_is_said_when_it_is_written(self):
        foreign = "neon" if os.uname().machine == "x86_64" else "avx2"
        notices = []
        with connect() as conn:
            conn.add_notice_handler(lambda diag: notices.append((diag.severity, diag.message_primary + str(diag.message_detail))))
            for name, setting, word in (("chatglm.kernels", foreign, f'"{foreign}" kernels'),
                                        ("chatglm.cpu_affinity", "0-1023", 'of "0-1023"'),
                                        ("chatglm.device", "cpu:7", 'no device "cpu:7"'),
                                        ("chatglm.model_dir", "/nowhere", "/nowhere"),
                                        ("chatglm.model_dir", "/etc/passwd", "/etc/passwd")):
                with self.subTest(name):
                    notices.clear()
                    conn.execute(f"ALTER SYSTEM SET {name} = '{setting}'")
                    conn.execute(f"ALTER SYSTEM RESET {name}")
                    self.assertEqual([severity for severity, _ in notices], ["WARNING"])
                    self.assertIn(word, notices[0][1])
            notices.clear()
            conn.execute("ALTER SYSTEM SET chatglm.kernels = 'scalar'")
            conn.execute("ALTER SYSTEM SET chatglm.cpu_affinity = '%d'" % min(os.sched_getaffinity(0)))
            conn.execute("ALTER SYSTEM SET chatglm.model_dir = '/tmp'")
            conn.execute("ALTER SYSTEM SET chatglm.device = 'cpu'")
            for name in ("kernels", "cpu_affinity", "model_dir", "device"):
                conn.execute(f"ALTER SYSTEM RESET chatglm.{name}")
            conn.execute("ALTER ROLE postgres IN DATABASE postgres SET chatglm.model = 'tiny-chatglm3'")
            self.assertEqual(notices, [])
            conn.execute("ALTER ROLE postgres IN DATABASE postgres SET chatglm.model = 'nosuch'")
            conn.execute("ALTER ROLE postgres IN DATABASE postgres RESET chatglm.model")
            self.assertEqual(notices, [("NOTICE", 'model "nosuch" does not exist in this databaseNone')])

    def test_a_model_dir_that_cannot_be_read_is_named(self):
        set_system("chatglm.model_dir", "/nowhere")
        self.addCleanup(set_system, "chatglm.model_dir", None)
        with connect() as conn:
            def hint():
                try:
                    conn.execute("SELECT glm_count_tokens('hi')")
                except psycopg.errors.UndefinedObject as error:
                    return error.diag.message_hint
                return None

            self.assertIn("chatglm.model_dir", wait_until(hint, "the setting is read"))
            self.assertEqual(value("SELECT count(*) FROM glm_models WHERE source = 'directory'", conn), 0)

    def test_not_preloaded(self):
        cluster = Cluster({})
        self.addCleanup(cluster.remove)
        with cluster.connect() as conn:
            conn.execute("CREATE EXTENSION chatglm")
            self.assertFalse(value("SELECT glm_ready()", conn))
            told = health(conn)
            self.assertEqual((told["ready"], told["state"], told["reasons"]),
                             (False, "down", ["chatglm is not in shared_preload_libraries"]))
            self.assertEqual((told["up"], told["completed"], told["last_error"]), (0, 0, None))
            self.assertEqual(value("SELECT count(*) FROM glm_stat_worker", conn), 1)
            for sql in ("SELECT glm_generate('hi')", "SELECT * FROM glm_stream('hi')", "SELECT glm_stream('hi')",
                        "SELECT glm_count_tokens('hi')", "SELECT glm_model_load('tiny-chatglm3')"):
                with self.subTest(sql):
                    with self.assertRaises(psycopg.Error) as caught:
                        conn.execute(sql)
                    self.assertIn("shared_preload_libraries", caught.exception.diag.message_hint)
                    self.assertEqual(caught.exception.sqlstate, "55000")
            self.assertEqual(value("SHOW chatglm.model", conn), "tiny-chatglm3")

    def test_no_room_for_the_kv_cache(self):
        cluster = Cluster({**PRELOAD, "chatglm.kv_cache_size": "1MB"})
        self.addCleanup(cluster.remove)
        with cluster.connect() as conn:
            conn.execute("CREATE EXTENSION chatglm")
            wait_until(lambda: value("SELECT glm_ready()", conn), "the worker is up")
            with self.assertRaises(psycopg.Error) as caught:
                conn.execute("SELECT glm_generate(repeat('word ', 300), max_tokens => 400)")
            self.assertEqual(caught.exception.sqlstate[:2], "53")
            self.assertTrue(value("SELECT glm_generate('hi', max_tokens => 4)", conn))

    def test_a_full_queue_refuses_at_once(self):
        cluster = Cluster({**PRELOAD, "chatglm.max_sequences": 1, "chatglm.max_queue": 2,
                           "chatglm.debug_step_delay": 100})
        self.addCleanup(cluster.remove)
        with cluster.connect() as conn:
            conn.execute("CREATE EXTENSION chatglm")
            wait_until(lambda: value("SELECT glm_ready()", conn), "the worker is up")
            first = Background(f"SELECT {ENDLESS}", host=cluster.base, port=5432, user="postgres", dbname="postgres")
            self.addCleanup(first.conn.close)
            wait_until(lambda: health(conn)["running"] == 1, "one runs")
            sessions = [cluster.connect() for _ in range(2)]
            for session in sessions:
                session.autocommit = False
                session.execute(f"DECLARE c CURSOR FOR SELECT * FROM {STREAM}")
            taken = [BackgroundFetch(session) for session in sessions]
            wait_until(lambda: health(conn)["waiting"] == 2, "two wait")
            with self.assertRaises(psycopg.errors.ConfigurationLimitExceeded):
                conn.execute(f"SELECT {GENERATE}")
            conn.execute(f"SELECT pg_cancel_backend({first.pid})")
            for one in taken:
                one.join(PATIENCE)
                self.assertTrue(one.done)
                one.session.rollback()
            wait_until(lambda: health(conn)["running"] == 0, "all ended")
            for session in sessions:
                session.close()


class BackgroundFetch(threading.Thread):
    """FETCH 1 in a session that has to wait for its turn."""

    def __init__(self, session):
        super().__init__(daemon=True)
        self.session, self.done = session, False
        self.start()

    def run(self):
        self.session.execute("FETCH 1 FROM c")
        self.session.rollback()
        self.done = True


if __name__ == "__main__":
    unittest.main()
