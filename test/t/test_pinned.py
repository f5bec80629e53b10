"""test_pinned.py - hashes of models whose files change, and answers that must not, over dumps and restarts."""
import hashlib
import unittest

from harness import *

MODEL = os.path.join(ROOT, "models", "tiny-chatglm3")
NAME = "pinned"


def sha256sum(path, *names):
    """What `sha256sum FILE... | sha256sum` prints first."""
    lines = ""
    for name in sorted(names):
        with open(os.path.join(path, name), "rb") as file:
            lines += f"{hashlib.sha256(file.read()).hexdigest()}  {name}\n"
    return hashlib.sha256(lines.encode()).hexdigest()


class Pinned(Case):
    def setUp(self):
        super().setUp()
        self.conn = self.session()
        base = directory_for_owner()
        self.addCleanup(shutil.rmtree, base)
        self.path = os.path.join(base, "model")
        shutil.copytree(MODEL, self.path)
        os.chmod(self.path, 0o755)
        self.conn.execute("INSERT INTO chatglm.model VALUES (%s, %s)", [NAME, self.path])
        self.addCleanup(self.forget)

    def forget(self):
        with connect() as conn:
            conn.execute("SELECT glm_model_unregister(%s)", [NAME])

    def hash(self, conn=None):
        return value(f"SELECT glm_model_hash('{NAME}')", conn or self.conn)

    def shown(self):
        return value(f"SELECT hash || ':' || arithmetic FROM glm_models WHERE name = '{NAME}'", self.conn)

    def replace(self, name, more=b"\n"):
        """Puts a file in the place of another, with some more bytes."""
        path = os.path.join(self.path, name)
        with open(path, "rb") as file:
            text = file.read()
        with open(path + ".new", "wb") as file:
            file.write(text + more)
        os.replace(path + ".new", path)

    def generate(self, pin, conn=None):
        return (conn or self.conn).execute("SELECT glm_generate_det('Who are you?', %s, 20)", [pin]).fetchone()[0]

    # ---- Hashes ----

    def test_a_changed_file_gives_another_hash(self):
        self.assertIsNone(self.shown())
        names = [name for name in os.listdir(self.path) if name != "README.md"]
        first = self.hash()
        self.assertEqual(first, sha256sum(self.path, *names) + ":1")
        self.assertEqual(self.shown(), first)
        self.assertEqual(self.hash(self.session()), first)
        self.replace("config.json")
        self.assertIsNone(self.shown(), "it is not known of the new files")
        second = self.hash()
        self.assertNotEqual(first, second)
        self.assertEqual(second, sha256sum(self.path, *names) + ":1")
        self.assertEqual(self.shown(), second)
        # in place, of the same size
        with open(os.path.join(self.path, "config.json"), "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b" ")
        self.assertNotIn(self.hash(), (first, second))

    def test_a_packed_directory_has_the_hash_of_its_manifest(self):
        packed = os.path.join(os.path.dirname(self.path), "packed")
        self.conn.execute("SELECT FROM glm_quantize(%s, %s)", [NAME, packed])
        self.conn.execute("UPDATE chatglm.model SET path = %s WHERE name = %s", [packed, NAME])
        manifest = as_owner("sha256sum", os.path.join(packed, "chatglm.json")).split()[0]
        self.assertEqual(self.hash(), manifest + ":1")
        self.assertEqual(self.generate(self.hash()), value(f"SELECT glm_generate('Who are you?', '{NAME}', max_tokens => 20)"))

    # ---- Long files ----

    def make_huge(self):
        """Weights that take many minutes to read and no disk."""
        os.remove(os.path.join(self.path, "model.safetensors"))
        with open(os.path.join(self.path, "model.safetensors"), "wb") as file:
            file.truncate(1 << 40)

    def test_hashing_is_cancelled(self):
        self.make_huge()
        with self.assertRaises(psycopg.errors.QueryCanceled):
            self.background(f"SET statement_timeout = '300ms'; SELECT glm_model_hash('{NAME}')").result()
        self.assertIsNone(self.shown())
        # the worker has nothing to do with it
        hashing = self.background(f"SELECT glm_model_hash('{NAME}')")
        wait_until(lambda: value(f"SELECT count(*) FROM pg_locks WHERE pid = {hashing.pid} AND locktype = 'advisory' AND granted") == 1, "it reads")
        self.assertEqual(health()["running"], 0)
        self.assertIsNotNone(value("SELECT glm_generate('hello')"))
        # a second one waits for the first, and takes its turn
        second = self.background(f"SELECT glm_model_hash('{NAME}')")
        waiting = f"SELECT wait_event_type FROM pg_stat_activity WHERE pid = {second.pid}"
        wait_until(lambda: value(waiting) == "Lock", "the second waits")
        value(f"SELECT pg_cancel_backend({hashing.pid})")
        with self.assertRaises(psycopg.errors.QueryCanceled):
            hashing.result()
        wait_until(lambda: value(waiting) is None, "the second reads")
        value(f"SELECT pg_terminate_backend({second.pid})")
        with self.assertRaises(psycopg.OperationalError):
            second.result()

    # ---- Answers ----

    def test_a_model_is_opened_anew_when_its_files_are_others(self):
        self.replace("config.json", b" ")   # or the embedded model has the same hash, and answers
        first = self.hash()
        answer = self.generate(first)
        self.assertEqual(answer, value("SELECT glm_generate('Who are you?', max_tokens => 20)"))
        loaded = f"SELECT load_ms FROM glm_models WHERE name = '{NAME}' AND loaded"
        wait_until(lambda: self.conn.execute(loaded).fetchone() is not None, "it is shown")
        before = value(loaded, self.conn)
        self.replace("config.json")
        with self.assertRaises(psycopg.errors.UndefinedObject):
            self.generate(first)
        second = self.hash()
        self.assertEqual(self.generate(second), answer)
        wait_until(lambda: self.conn.execute(loaded).fetchone() not in (None, (before,)), "it has been opened anew")
        # files with the first hash do, wherever they are
        shutil.copytree(self.path, self.path + "-1")
        self.addCleanup(self.conn.execute, "SELECT glm_model_unregister('pinned-1')")
        self.conn.execute("INSERT INTO chatglm.model VALUES ('pinned-1', %s)", [self.path + "-1"])
        with open(os.path.join(self.path + "-1", "config.json"), "r+b") as file:
            file.truncate(os.path.getsize(file.name) - 1)
        self.assertEqual(value("SELECT glm_model_hash('pinned-1')", self.conn), first)
        self.assertEqual(self.generate(first), answer)

    def test_columns_and_indexes_are_restored(self):
        pin = self.hash()
        self.conn.execute(f"""CREATE TABLE pinned_ticket (id int PRIMARY KEY, body text,
                                  answer text GENERATED ALWAYS AS (glm_generate_det(body, '{pin}', 8)) STORED)""")
        self.addCleanup(lambda: self.conn.execute("DROP TABLE pinned_ticket"))
        self.conn.execute("INSERT INTO pinned_ticket (id, body) SELECT i, 'ticket ' || i FROM generate_series(1, 10) i")
        self.conn.execute(f"CREATE INDEX ON pinned_ticket (glm_generate_det(body, '{pin}', 4))")
        rows = self.conn.execute("SELECT * FROM pinned_ticket ORDER BY id").fetchall()
        dump = subprocess.run([f"{BINDIR}/pg_dump", "--no-owner"], text=True, capture_output=True, check=True).stdout
        self.assertIn("set_config('search_path', ''", dump)
        self.conn.execute("CREATE DATABASE chatglm_restored TEMPLATE template0")
        self.addCleanup(lambda: self.conn.execute("DROP DATABASE chatglm_restored WITH (FORCE)"))
        restored = subprocess.run([f"{BINDIR}/psql", "-Xq", "-v", "ON_ERROR_STOP=1", "chatglm_restored"], input=dump, text=True,
                                  capture_output=True, check=False)
        self.assertEqual(restored.returncode, 0, restored.stderr)
        with connect(dbname="chatglm_restored") as conn:
            self.assertEqual(conn.execute("SELECT * FROM pinned_ticket ORDER BY id").fetchall(), rows)
            conn.execute("SET enable_seqscan = off")
            query = f"SELECT id FROM pinned_ticket WHERE glm_generate_det(body, '{pin}', 4) = glm_generate_det('ticket 7', '{pin}', 4) ORDER BY id"
            self.assertIn("Index Scan", "\n".join(row[0] for row in conn.execute("EXPLAIN " + query)))
            found = conn.execute(query).fetchall()
            self.assertIn((7,), found)
            conn.execute("SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_seqscan = on")
            self.assertEqual(conn.execute(query).fetchall(), found)

    def test_settings_of_the_server_have_no_say_or_are_refused(self):
        cluster = Cluster({"shared_preload_libraries": "chatglm", "chatglm.kv_cache_type": "f32", "chatglm.max_sequences": 2})
        self.addCleanup(cluster.remove)
        with cluster.connect() as conn:
            conn.execute("CREATE EXTENSION chatglm")
            wait_until(lambda: value("SELECT glm_ready()", conn), "the worker is up")
            pin = value("SELECT glm_model_hash('tiny-chatglm3')", conn)
            answer = self.generate(pin, conn)
            self.assertEqual(answer, self.generate(value("SELECT glm_model_hash('tiny-chatglm3')")))
        cluster.stop()
        cluster.settings["chatglm.kv_cache_type"] = "int8"
        cluster.start()
        with cluster.connect() as conn:
            wait_until(lambda: value("SELECT glm_ready()", conn), "the worker is up again")
            self.assertIsNone(value("SELECT hash FROM glm_models", conn))
            with self.assertRaises(psycopg.errors.ObjectNotInPrerequisiteState) as caught:
                self.generate(pin, conn)
            self.assertIn("kv_cache_type", str(caught.exception))
            self.assertEqual(value("SELECT hash || ':' || arithmetic FROM glm_models", conn), pin, "it was looked for")


if __name__ == "__main__":
    unittest.main()
