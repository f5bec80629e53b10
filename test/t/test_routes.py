"""test_routes.py - routes over sessions, restarts, statements that run, and dumps."""
import hashlib
import math
import unittest

from harness import *

CHOSEN = "glm_chat('[{{\"role\": \"user\", \"content\": \"hello\"}}]', model => 'test', max_tokens => 1{})->'usage'->>'model'"


def expected_model(route, key, weights):
    """What src/pg/route_choice.c says a key leads to."""
    digest = hashlib.sha256(route.encode() + b"\0" + key.encode()).digest()

    def draw(model):
        u = int.from_bytes(hashlib.sha256(digest + model.encode()).digest()[:8], "big")
        return -math.log2(u / 2 ** 64) / weights[model]

    return min((model for model in weights if weights[model] > 0), key=draw)


class Routes(Case):
    def setUp(self):
        super().setUp()
        self.conn = self.session()
        path = value("SELECT path FROM glm_models WHERE name = 'tiny-chatglm3'", self.conn)
        for name in ("test-a", "test-b"):
            self.conn.execute("SELECT glm_model_load(%s, %s)", [name, path])
        self.addCleanup(self.forget)

    def forget(self):
        with connect() as conn:
            conn.execute("SELECT glm_route_drop('test')")
            for name in ("test-a", "test-b"):
                conn.execute("SELECT glm_model_unregister(%s)", [name])

    def drop_restored(self):
        with connect() as conn:
            conn.execute("DROP DATABASE chatglm_restored WITH (FORCE)")

    def route(self, weights, conn=None):
        (conn or self.conn).execute("SELECT glm_route_set('test', %s)", [weights])

    def test_a_change_reaches_other_sessions_at_once(self):
        other = self.session()
        other.execute(f"PREPARE chosen AS SELECT {CHOSEN.format('')}")
        for model in ("test-a", "test-b", "test-a"):
            self.route(f'{{"{model}": 1}}')
            self.assertEqual(value("EXECUTE chosen", other), model)
        with other.transaction():
            other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            self.assertEqual(value("EXECUTE chosen", other), "test-a")
            self.route('{"test-b": 1}')
            self.assertEqual(value("EXECUTE chosen", other), "test-b", "in the middle of a transaction")
        with self.conn.transaction():
            self.route('{"test-a": 1}')
            self.assertEqual(value("EXECUTE chosen", other), "test-b", "not before it is committed")
        self.assertEqual(value("EXECUTE chosen", other), "test-a")

    def test_a_change_reaches_a_statement_that_runs(self):
        self.route('{"test-a": 1}')
        reader = self.session(autocommit=False)
        cursor = reader.cursor(name="rows")
        cursor.execute(f"SELECT {CHOSEN.format('')} FROM generate_series(1, 400)")
        self.assertEqual(cursor.fetchone()[0], "test-a")
        self.route('{"test-b": 1}')
        models = [row[0] for row in cursor.fetchall()]
        self.assertEqual(models[-1], "test-b")
        self.assertEqual(models, sorted(models), "one after the other")
        cursor.close()
        reader.rollback()

    def test_requests_are_those_of_the_real_model(self):
        self.route('{"test-b": 1}')

        def requests():
            return dict(self.conn.execute("SELECT name, requests FROM glm_stat_models").fetchall())

        before = requests().get("test-b", 0)
        self.conn.execute("SELECT glm_count_tokens('hello', 'test') FROM generate_series(1, 20)")
        wait_until(lambda: requests().get("test-b", 0) == before + 20, "the model's requests are counted")
        self.assertNotIn("test", requests())
        set_delay(50)
        self.addCleanup(set_delay, 0)
        running = self.background("SELECT " + ENDLESS.replace("temperature", "model => 'test', temperature"))
        wait_until(lambda: value("SELECT count(*) FROM glm_stat_requests WHERE model = 'test-b'") == 1, "it is shown with its model")
        value(f"SELECT pg_cancel_backend({running.pid})")
        with self.assertRaises(psycopg.errors.QueryCanceled):
            running.result()

    def test_keys_are_sticky_over_restarts(self):
        weights = {"test-a": 30, "test-b": 70}
        cluster = Cluster({"shared_preload_libraries": "chatglm"})
        self.addCleanup(cluster.remove)
        ask = f"""SELECT array_agg({CHOSEN.format(", options => jsonb_build_object('route_key', 'kündin ' || i)")} ORDER BY i)
                    FROM generate_series(1, 50) i"""
        with cluster.connect() as conn:
            conn.execute("CREATE EXTENSION chatglm")
            wait_until(lambda: value("SELECT glm_ready()", conn), "the worker is up")
            path = value("SELECT path FROM glm_models WHERE name = 'tiny-chatglm3'", conn)
            for name in weights:
                conn.execute("SELECT glm_model_load(%s, %s)", [name, path])
            self.route('{"test-a": 30, "test-b": 70}', conn)
            first = value(ask, conn)
        self.assertEqual(first, [expected_model("test", f"kündin {i}", weights) for i in range(1, 51)])
        cluster.stop()
        cluster.start()
        with cluster.connect() as conn:
            wait_until(lambda: value("SELECT glm_ready()", conn), "the worker is up again")
            self.assertEqual(value(ask, conn), first)
            # in another encoding, a key is the same key
            conn.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        with connect(host=cluster.base, port=5432, user="postgres", dbname="latin") as conn:
            conn.execute("CREATE EXTENSION chatglm")
            conn.execute("INSERT INTO chatglm.model SELECT name, %s FROM unnest(%s::text[]) name", [path, list(weights)])
            self.route('{"test-a": 30, "test-b": 70}', conn)
            self.assertEqual(value(ask, conn), first)

    def test_dumps_have_routes(self):
        self.route('{"test-a": 3, "test-b": 1}')
        dump = subprocess.run([f"{BINDIR}/pg_dump", "--no-owner"], text=True, capture_output=True, check=True).stdout
        self.assertIn('test\t{"test-a": 3, "test-b": 1}', dump)
        self.conn.execute("CREATE DATABASE chatglm_restored TEMPLATE template0")
        self.addCleanup(self.drop_restored)
        restored = subprocess.run([f"{BINDIR}/psql", "-Xq", "-v", "ON_ERROR_STOP=1", "chatglm_restored"], input=dump, text=True,
                                  capture_output=True, check=False)
        self.assertEqual(restored.returncode, 0, restored.stderr)
        with connect(dbname="chatglm_restored") as conn:
            self.assertEqual(conn.execute("SELECT name, model, share FROM glm_routes WHERE name = 'test' ORDER BY model").fetchall(),
                             [("test", "test-a", 0.75), ("test", "test-b", 0.25)])
            self.assertIn(value(f"SELECT {CHOSEN.format('')}", conn), ("test-a", "test-b"))


if __name__ == "__main__":
    unittest.main()
