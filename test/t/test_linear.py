"""test_linear.py - linear models and embeddings over sessions, roles, cancels and dumps."""
import unittest

from harness import *


class Linear(Case):
    def setUp(self):
        super().setUp()
        self.conn = self.session()
        self.conn.execute("SELECT glm_linear_create('test', '{\"x\": 2}', 1)")
        self.addCleanup(self.forget)

    def forget(self):
        with connect() as conn:
            for name, in conn.execute("SELECT name FROM glm_linear_models").fetchall():
                conn.execute("SELECT glm_linear_drop(%s)", [name])
            conn.execute("DROP DATABASE IF EXISTS chatglm_restored WITH (FORCE)")

    def predicted(self, conn, x=3):
        return value(f"SELECT glm_predict('test', '{{\"x\": {x}}}')", conn)

    def test_a_change_reaches_other_sessions_at_once(self):
        other = self.session()
        self.assertEqual(self.predicted(other), 7)
        with self.conn.transaction():
            self.conn.execute("SELECT glm_linear_create('test', '{\"x\": 10}')")
            self.assertEqual(self.predicted(self.conn), 30)
            self.assertEqual(self.predicted(other), 7, "not before it is committed")
        self.assertEqual(self.predicted(other), 30)
        self.conn.execute("VACUUM FULL chatglm.linear_model")
        self.assertEqual(self.predicted(other), 30)
        self.conn.execute("SELECT glm_linear_drop('test')")
        with self.assertRaises(psycopg.errors.UndefinedObject):
            self.predicted(other)
        self.conn.execute("SELECT glm_linear_create('test', '{\"x\": 4}')")
        self.assertEqual(self.predicted(other), 12)

    def test_a_long_fit_keeps_nobody_from_theirs(self):
        lock = self.session()
        lock.execute("SELECT pg_advisory_lock(1)")
        fit = self.background("SELECT glm_linear_fit('long', 'SELECT i, sin(i) FROM generate_series(1, 3) i, pg_advisory_lock_shared(1)')")
        wait_until(lambda: value(f"SELECT wait_event = 'advisory' FROM pg_stat_activity WHERE pid = {fit.pid}", self.conn), "it runs")
        self.conn.execute("SET statement_timeout = '60s'")
        self.conn.execute("SELECT glm_linear_create('short', '{\"x\": 4}')")
        self.conn.execute("RESET statement_timeout")
        lock.execute("SELECT pg_advisory_unlock(1)")
        fit.result()
        self.assertEqual(value("SELECT count(*) FROM glm_linear_models WHERE name IN ('long', 'short')", self.conn), 2)

    def test_a_fit_ends_when_it_is_cancelled(self):
        many = "ARRAY(SELECT sin(i * j) FROM generate_series(1, 1500) j WHERE i > 0)::real[]"
        for query in ("SELECT i, i FROM generate_series(1, 1000000000) i",
                      f"SELECT {many}, i FROM generate_series(1, 1700) i"):
            with self.assertRaises(psycopg.errors.QueryCanceled):
                with self.conn.transaction():
                    self.conn.execute("SET LOCAL statement_timeout = '700ms'")
                    self.conn.execute("SELECT glm_linear_fit('endless', %s)", [query])
        self.assertEqual(value("SELECT count(*) FROM glm_linear_models WHERE name = 'endless'", self.conn), 0)

    def test_a_query_runs_as_its_caller(self):
        self.conn.execute("CREATE ROLE glm_fitter")
        self.addCleanup(self.conn.execute, "DROP ROLE glm_fitter")
        self.conn.execute("GRANT EXECUTE ON FUNCTION glm_linear_fit, glm_linear_drop TO glm_fitter")
        self.addCleanup(self.conn.execute, "RESET ROLE; REVOKE EXECUTE ON FUNCTION glm_linear_fit, glm_linear_drop FROM glm_fitter")
        self.conn.execute("CREATE TABLE secret AS SELECT i AS x, i AS y FROM generate_series(1, 9) i")
        self.addCleanup(self.conn.execute, "RESET ROLE; DROP TABLE secret")
        self.conn.execute("SET ROLE glm_fitter")
        with self.assertRaises(psycopg.errors.InsufficientPrivilege):
            self.conn.execute("SELECT glm_linear_fit('leak', 'SELECT x, y FROM secret')")
        with self.assertRaises(psycopg.errors.InsufficientPrivilege):
            self.conn.execute("SELECT glm_linear_fit('leak', 'SELECT bias, bias FROM chatglm.linear_model')")
        self.conn.execute("SELECT glm_linear_fit('own', 'SELECT i, 2 * i FROM generate_series(1, 9) i')")
        self.assertEqual(value("SELECT owner::text FROM glm_linear_models WHERE name = 'own'", self.conn), "glm_fitter")
        self.assertTrue(value("SELECT glm_linear_drop('own')", self.conn))

    def test_dumps_have_models(self):
        self.conn.execute("SELECT glm_linear_fit('fitted', 'SELECT i, 0.1 + 0.3 * i FROM generate_series(1, 9) i')")
        dump = subprocess.run([f"{BINDIR}/pg_dump"], text=True, capture_output=True, check=True).stdout
        self.conn.execute("CREATE DATABASE chatglm_restored TEMPLATE template0")
        restored = subprocess.run([f"{BINDIR}/psql", "-Xq", "-v", "ON_ERROR_STOP=1", "chatglm_restored"], input=dump, text=True,
                                  capture_output=True, check=False)
        self.assertEqual(restored.returncode, 0, restored.stderr)
        models = "SELECT name, owner::text, link, bias, weights::text, summary::text FROM glm_linear_models ORDER BY name"
        with connect(dbname="chatglm_restored") as conn:
            self.assertEqual(conn.execute(models).fetchall(), self.conn.execute(models).fetchall())
            self.assertEqual(self.predicted(conn), 7)

    def test_dumps_can_be_restored_without_the_owners(self):
        self.conn.execute("UPDATE chatglm.linear_model SET owner = 'somebody else'")
        dump = subprocess.run([f"{BINDIR}/pg_dump"], text=True, capture_output=True, check=True).stdout
        self.conn.execute("CREATE DATABASE chatglm_restored TEMPLATE template0")
        subprocess.run([f"{BINDIR}/psql", "-Xq", "-v", "ON_ERROR_STOP=1", "chatglm_restored"], input=dump, text=True,
                       capture_output=True, check=True)
        with connect(dbname="chatglm_restored") as conn:
            self.assertEqual(self.predicted(conn), 7)
            conn.execute("SELECT glm_linear_drop('test')")

    def test_workers_of_a_parallel_query_predict(self):
        self.conn.execute("CREATE TABLE many AS SELECT i AS x FROM generate_series(1, 20000) i")
        self.addCleanup(self.conn.execute, "DROP TABLE many")
        self.conn.execute("SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0")
        query = "SELECT sum(glm_predict('test', jsonb_build_object('x', x))) FROM many"
        self.assertIn("Parallel", "".join(line for line, in self.conn.execute(f"EXPLAIN {query}").fetchall()))
        self.assertEqual(value(query, self.conn), 2 * sum(range(1, 20001)) + 20000)


class Embeddings(Case):
    def test_an_embedding_that_is_cancelled_leaves_nothing(self):
        conn = self.session()
        set_delay(100)
        self.addCleanup(set_delay, 0)
        with self.assertRaises(psycopg.errors.QueryCanceled):
            with conn.transaction():
                conn.execute("SET LOCAL statement_timeout = '300ms'")
                conn.execute("SELECT count(glm_embed(repeat('lamp ', 200 + i))) FROM generate_series(1, 100) i")
        self.assert_idle()

    def test_similar_texts_of_a_view(self):
        """The planner's rewriting holds in views and functions, whatever the search_path is."""
        conn = self.session()
        conn.execute("CREATE VIEW likeness AS SELECT t, glm_similarity(t, 'desk lamp') AS s FROM (VALUES ('desk lamp'), ('desk lamps')) v(t)")
        self.addCleanup(conn.execute, "RESET search_path; DROP VIEW likeness")
        plan = "".join(line for line, in conn.execute("EXPLAIN (VERBOSE) SELECT * FROM likeness").fetchall())
        self.assertIn("GlmBatch", plan)
        expected = conn.execute("SELECT * FROM likeness").fetchall()
        conn.execute("SET search_path = ''")
        self.assertEqual(conn.execute("SELECT * FROM public.likeness").fetchall(), expected)
        self.assertAlmostEqual(expected[0][1], 1)


if __name__ == "__main__":
    unittest.main()
