"""test_jobs.py - statements over many rows, as their users and other sessions see them.

Rows that change meanwhile, progress in glm_stat_batches, answers that a database's encoding has no equivalent for,
and that the less plain forms really keep many requests in flight.
"""
import os
import unittest

import psycopg

import scripted
from harness import *

ROWS = "generate_series(1, 200) i"
SLOW = "'hello ' || i, temperature => 100, top_p => 1, seed => i, max_tokens => 60"


class InFlight(Case):
    """The engine is held."""

    delay = HELD

    def assert_in_flight(self, sql, count):
        running = self.background(sql)
        wait_until(lambda: health()["running"] + health()["waiting"] == count, f"{count} in flight: {sql}")
        self.assertTrue(value(f"SELECT pg_cancel_backend({running.pid})"))
        with self.assertRaises(psycopg.errors.QueryCanceled):
            running.result()
        self.assert_idle()

    def test_forms(self):
        """What else than a plain call keeps chatglm.prefetch requests running."""
        conn = self.session()
        conn.execute("CREATE TABLE form (i int PRIMARY KEY, a text, b text)")
        self.addCleanup(conn.execute, "DROP TABLE form")
        conn.execute(f"INSERT INTO form SELECT i FROM {ROWS}")
        conn.execute("ANALYZE form")
        for sql in (f"SELECT r.* FROM {ROWS}, glm_try_generate({SLOW}) r",
                    f"SELECT i, g FROM {ROWS} LEFT JOIN LATERAL glm_generate({SLOW}) g ON true WHERE g <> 'x'",
                    f"SELECT (glm_try_generate({SLOW})).* FROM {ROWS}",
                    f"UPDATE form SET (a, b) = (SELECT response, error FROM glm_try_generate({SLOW})) RETURNING 1",
                    f"SELECT count(*) FILTER (WHERE i > 0 AND glm_generate({SLOW}) <> 'x') FROM form",
                    f"SELECT count(glm_generate({SLOW})) FILTER (WHERE i > 0) FROM form"):
            with self.subTest(sql):
                self.assert_in_flight(sql, 32)
        if conn.info.server_version >= 150000:
            with self.subTest("MERGE"):
                self.assert_in_flight(f"MERGE INTO form t USING (SELECT i FROM {ROWS}) s ON s.i = t.i "
                                      f"WHEN MATCHED THEN UPDATE SET a = glm_generate({SLOW.replace(' i,', ' s.i,')}) "
                                      f"WHEN NOT MATCHED THEN INSERT VALUES (s.i, glm_generate('x')) ", 32)
        values = ", ".join(f"({i}, glm_generate({SLOW.replace(' i,', f' {i},')}))" for i in range(201, 213))
        with self.subTest("VALUES"):
            self.assert_in_flight(f"INSERT INTO form VALUES {values}", 12)
        with self.subTest("SELECT without FROM"):
            self.assert_in_flight(f"SELECT {GENERATE}, {GENERATE.replace('seed => 1', 'seed => 2')}", 2)


class Changed(Case):
    """Rows that another session changes while they are waited for."""

    def setUp(self):
        super().setUp()
        self.conn = self.session()
        self.conn.execute("CREATE TABLE changing (id int PRIMARY KEY, body text, a text, b text, n int)")
        self.addCleanup(self.conn.execute, "DROP TABLE changing")
        self.conn.execute("INSERT INTO changing SELECT i, 'text ' || i FROM generate_series(1, 40) i")
        self.holder = self.session(autocommit=False)

    def run_beside(self, sql, change="UPDATE changing SET body = 'another text, and a longer one' WHERE id = 7"):
        self.holder.execute(change)
        running = self.background(sql)
        self.wait_for_lock(running)
        self.holder.commit()
        return running.result()

    def wait_for_lock(self, running):
        wait_until(lambda: running.error is not None or
                   value(f"SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = {running.pid}"),
                   "it waits for the row")

    def assert_as_they_are_now(self, rows):
        self.assertEqual(len(rows), 40)
        self.assertEqual(value("SELECT count(*) FROM changing WHERE a IS DISTINCT FROM body OR n <> glm_count_tokens(body)",
                               self.conn), 0)
        self.assertEqual(value("SELECT a FROM changing WHERE id = 7", self.conn), "another text, and a longer one")

    def test_set_of_a_function(self):
        self.assert_as_they_are_now(self.run_beside(
            "UPDATE changing SET (a, b) = (SELECT g, 'x' FROM glm_detokenize(glm_tokenize(body)) g), n = glm_count_tokens(body) "
            "RETURNING id"))

    def test_set_of_a_select(self):
        self.assert_as_they_are_now(self.run_beside(
            "UPDATE changing SET (a, n) = (SELECT glm_detokenize(glm_tokenize(body)), glm_count_tokens(body)) RETURNING id"))

    def test_where_and_set(self):
        self.assert_as_they_are_now(self.run_beside(
            "UPDATE changing SET a = glm_detokenize(glm_tokenize(body)), n = glm_count_tokens(body) "
            "WHERE glm_count_tokens(body) > 0 RETURNING id"))

    def test_composite(self):
        """Both fields are of one answer to the new text."""
        rows = self.run_beside("UPDATE changing SET a = (glm_try_generate(body, max_tokens => 4)).response, "
                               "n = (glm_try_generate(body, max_tokens => 4)).prompt_tokens RETURNING id")
        self.assertEqual(len(rows), 40)
        self.assertEqual(value("SELECT count(*) FROM changing, glm_try_generate(body, max_tokens => 4) r "
                               "WHERE (a, n) IS DISTINCT FROM (r.response, r.prompt_tokens)", self.conn), 0)

    def test_locked_from_function(self):
        rows = self.run_beside("SELECT id, body, r.response, r.prompt_tokens FROM changing, glm_try_generate(body, max_tokens => 4) r ORDER BY id FOR UPDATE OF changing")
        self.assertEqual(len(rows), 40)
        now = self.conn.execute("SELECT id, body, r.response, r.prompt_tokens FROM changing, glm_try_generate(body, max_tokens => 4) r "
                                "WHERE id = 7").fetchone()
        self.assertEqual([row for row in rows if row[0] == 7], [now])

    def test_merge(self):
        if self.conn.info.server_version < 150000:
            self.skipTest("no MERGE")
        self.holder.execute("UPDATE changing SET b = 'gone' WHERE id = 7")
        running = Background("MERGE INTO changing t USING generate_series(1, 50) i ON i = t.id "
                             "WHEN MATCHED THEN UPDATE SET b = glm_detokenize(glm_tokenize('m' || i)), n = t.n + glm_count_tokens('m' || i) "
                             "WHEN NOT MATCHED THEN INSERT (id, b) VALUES (i, glm_detokenize(glm_tokenize('m' || i)))")
        self.addCleanup(running.conn.close)
        self.wait_for_lock(running)
        self.holder.commit()
        running.result()
        self.assertEqual(value("SELECT count(*) FROM changing WHERE b = 'm' || id", self.conn), 50)

    def test_merge_of_rows_that_go(self):
        """A row that had its match when it was read is one to insert when that is gone."""
        if self.conn.info.server_version < 150000:
            self.skipTest("no MERGE")
        self.holder.execute("DELETE FROM changing WHERE id = 7")
        running = Background("MERGE INTO changing t USING generate_series(1, 50) i ON i = t.id "
                             "WHEN MATCHED THEN UPDATE SET b = glm_detokenize(glm_tokenize('m' || i)) "
                             "WHEN NOT MATCHED THEN INSERT (id, b, a, n) VALUES (i, glm_detokenize(glm_tokenize('m' || i)), "
                             "(glm_try_generate('m' || i, max_tokens => 2)).finish_reason, "
                             "(glm_try_generate('m' || i, max_tokens => 2)).completion_tokens)")
        self.addCleanup(running.conn.close)
        self.wait_for_lock(running)
        self.holder.commit()
        running.result()
        self.assertEqual(value("SELECT count(*) FROM changing WHERE b = 'm' || id", self.conn), 50)
        self.assertEqual(self.conn.execute("SELECT id FROM changing WHERE n = 2 AND a = 'length' ORDER BY id").fetchall(),
                         [(i,) for i in [7, *range(41, 51)]])


class Composite(Case):
    """The fields of a composite are of one call, also where no plan node GlmBatch makes it."""

    CALL = "(glm_try_generate(body, temperature => 3, top_p => 1, max_tokens => 8))"
    TABLE = "(SELECT i, 'text ' || i AS body FROM generate_series(1, 10) i OFFSET 0) t"

    def assert_requests(self, sql, count, setting="chatglm.prefetch = 32"):
        """All rows are true, or NULL, and so many requests were made."""
        with self.subTest(sql, setting=setting):
            self.assert_idle()
            before = ended()
            conn = self.session()
            conn.execute(f"SET {setting}")
            for row in conn.execute(sql).fetchall():
                self.assertLessEqual(set(row), {True, None})
            self.assert_idle()
            self.assertEqual(ended() - before, count)

    def test_everywhere(self):
        conn = self.session()
        conn.execute(f"CREATE TABLE composite AS SELECT * FROM {self.TABLE}")
        self.addCleanup(conn.execute, "DROP TABLE composite")
        f = f"{self.CALL}.response"
        for setting in ("chatglm.prefetch = 32", "chatglm.prefetch = 1"):
            for sql, count in ((f"SELECT {f} = {f}, {f} || '' = {f} FROM {self.TABLE}", 10),
                               (f"SELECT CASE WHEN i % 2 = 0 THEN {f} END = CASE WHEN i % 2 = 0 THEN {f} END FROM {self.TABLE}", 5),
                               (f"SELECT true FROM {self.TABLE} WHERE {f} = {f} AND {f} <> 'x'", 10),
                               (f"SELECT i > 3 OR {f} = {f} FROM {self.TABLE}", 3),
                               (f"SELECT (SELECT {f} = {f}) FROM {self.TABLE}", 10),
                               (f"SELECT bool_and(x = y) FROM (SELECT {f} AS x, {f} AS y FROM {self.TABLE} ORDER BY body) s", 10),
                               (f"UPDATE composite SET body = body || 1 RETURNING {f} = {f}", 10),
                               (f"INSERT INTO composite VALUES (11, 'x'), (12, 'y') RETURNING {f} = {f}", 2),
                               (f"DELETE FROM composite WHERE i > 10 RETURNING {f} = {f}", 2),
                               (f"SELECT {f.replace('body', '1::text')} = {f.replace('body', '1::text')}", 1)):
                self.assert_requests(sql, count, setting)

    def test_equal_texts_of_rows(self):
        """Rows with the same text have answers of their own."""
        same = self.TABLE.replace("'text ' || i", "'text'")
        for setting in ("chatglm.prefetch = 32", "chatglm.prefetch = 1"):
            self.assert_requests(f"SELECT {self.CALL}.response = {self.CALL}.response FROM {same}", 10, setting)
        self.assertGreater(value(f"SELECT count(DISTINCT x) FROM (SELECT CASE WHEN i > 0 THEN {self.CALL}.response END AS x FROM {same}) s"), 3)

    def test_in_plpgsql(self):
        """A simple expression, again and again."""
        call = self.CALL.replace("body", "'text'")
        self.assert_idle()
        before = ended()
        self.session().execute(f"""
            DO $$
            BEGIN
                FOR i IN 1..10 LOOP
                    IF {call}.response <> {call}.response THEN RAISE 'two answers'; END IF;
                END LOOP;
            END $$""")
        self.assert_idle()
        self.assertEqual(ended() - before, 10)

    def test_scroll_cursor(self):
        conn = self.session(autocommit=False)
        conn.execute(f"DECLARE c SCROLL CURSOR FOR SELECT {self.CALL}.response = {self.CALL}.response FROM {self.TABLE}")
        self.assertEqual(conn.execute("FETCH 5 FROM c").fetchall(), [(True,)] * 5)
        self.assertEqual(conn.execute("FETCH BACKWARD 3 FROM c").fetchall(), [(True,)] * 3)


class Progress(Case):
    """The view glm_stat_batches."""

    delay = 20
    VIEW = "SELECT pid, usename, database, function, rows_read, answered, failed, planned, tokens, started, elapsed " \
        "FROM glm_stat_batches"

    def rows(self, conn=None):
        if conn is not None:
            return conn.execute(self.VIEW).fetchall()
        with connect() as own:
            return own.execute(self.VIEW).fetchall()

    def assert_none(self):
        wait_until(lambda: self.rows() == [], "no statement is shown")

    def test_while_it_runs(self):
        self.assertEqual(self.rows(), [])
        running = self.background(
            f"SELECT glm_try_generate('hello ' || i, max_tokens => 80 + i % 5, temperature => CASE WHEN i % 10 = 0 THEN -1 ELSE 100 END) FROM {ROWS}")
        seen = wait_until(lambda: [row for row in self.rows() if row[5] > 20], "rows are answered")
        self.assertEqual(len(seen), 1)
        pid, usename, database, function, rows_read, answered, failed, planned, tokens, started, elapsed = seen[0]
        self.assertEqual((pid, usename, database, function, planned),
                         (running.pid, value("SELECT current_user"), value("SELECT current_database()"), "glm_try_generate", 200))
        self.assertLessEqual(answered, rows_read)
        self.assertLessEqual(rows_read, 200)
        self.assertGreater(failed, 0)
        self.assertLess(failed, answered)
        self.assertGreater(tokens, 0)
        self.assertGreater(elapsed.total_seconds(), 0)
        self.assertLess(started, value("SELECT now()"))
        set_delay(0)
        self.assertEqual(len(running.result()), 200)
        self.assert_none()

    def test_batch_function(self):
        running = self.background("SELECT count(error) FROM glm_generate_batch(ARRAY(SELECT CASE WHEN i = 3 THEN repeat('x ', 100000) "
                                  f"ELSE 'hello ' || i END FROM {ROWS}), temperature => 100, top_p => 1, seed => 1, max_tokens => 80)")
        seen = wait_until(lambda: [row for row in self.rows() if row[5] > 40], "rows are answered")
        self.assertEqual([(row[0], row[3], row[6], row[7]) for row in seen], [(running.pid, "glm_generate_batch", 1, 200)])
        set_delay(0)
        self.assertEqual(running.result(), [(1,)])
        self.assert_none()

    def test_functions_of_a_node(self):
        set_delay(HELD)
        running = self.background(f"SELECT glm_generate({SLOW}), glm_generate({SLOW.replace('seed => i', 'seed => 7')}), "
                                  f"glm_complete({SLOW}) FROM {ROWS}")
        wait_until(lambda: [row[3] for row in self.rows()] == ["glm_generate, glm_complete"], "each function once")
        self.assertTrue(value(f"SELECT pg_cancel_backend({running.pid})"))
        with self.assertRaises(psycopg.errors.QueryCanceled):
            running.result()
        self.assert_none()

    def test_ends(self):
        """Rows go with an error, a rollback, a closed cursor, a caught error and the backend."""
        with self.subTest("error"):
            conn = self.session()
            with self.assertRaises(psycopg.errors.DivisionByZero):
                conn.execute(f"SELECT glm_generate('hello', max_tokens => 2), 1 / (3 - i) FROM {ROWS}")
            self.assert_none()
        with self.subTest("rollback"):
            conn = self.session(autocommit=False)
            conn.execute(f"DECLARE c CURSOR FOR SELECT glm_generate('hello ' || i, max_tokens => 2) FROM {ROWS}")
            conn.execute("FETCH 2 FROM c")
            self.assertEqual([(row[0], row[3]) for row in self.rows()], [(conn.info.backend_pid, "glm_generate")])
            conn.rollback()
            self.assert_none()
        with self.subTest("close"):
            conn.execute(f"DECLARE c CURSOR FOR SELECT glm_generate('hello ' || i, max_tokens => 2) FROM {ROWS}")
            conn.execute("FETCH 2 FROM c")
            conn.execute("CLOSE c")
            self.assert_none()
        with self.subTest("savepoint"):
            conn.execute("SAVEPOINT s")
            with self.assertRaises(psycopg.errors.InvalidParameterValue):
                conn.execute("SELECT * FROM glm_generate_batch(ARRAY(SELECT 'hello ' || i FROM generate_series(1, 9) i), max_tokens => 2) "
                             "WHERE glm_generate('x', temperature => -idx) <> ''")
            conn.execute("ROLLBACK TO s")
            self.assert_none()
            conn.rollback()
        with self.subTest("backend"):
            running = self.background(f"SELECT glm_generate({SLOW}) FROM {ROWS}")
            wait_until(lambda: len(self.rows()) == 1, "it runs")
            self.assertTrue(value(f"SELECT pg_terminate_backend({running.pid})"))
            with self.assertRaises(psycopg.OperationalError):
                running.result()
            self.assert_none()

    def test_of_others(self):
        """Who runs one is seen by all, the rest by the role itself and pg_read_all_stats."""
        admin = self.session()
        for role in ("glm_job_runner", "glm_job_other", "glm_job_reader"):
            admin.execute(f"CREATE ROLE {role}")
            self.addCleanup(admin.execute, f"DROP ROLE {role}")
        admin.execute("GRANT pg_read_all_stats TO glm_job_reader")
        set_delay(HELD)
        running = self.background(f"SET ROLE glm_job_runner; SELECT glm_generate({SLOW}) FROM {ROWS}")
        wait_until(lambda: len(self.rows()) == 1, "it runs")
        for role, details in (("glm_job_runner", True), ("glm_job_other", False), ("glm_job_reader", True)):
            with self.subTest(role):
                conn = self.session()
                conn.execute(f"SET ROLE {role}")
                row, = self.rows(conn)
                self.assertEqual(row[:3], (running.pid, "glm_job_runner", value("SELECT current_database()")))
                self.assertEqual([field is not None for field in row[3:]], [details] * 8)
        self.assertTrue(value(f"SELECT pg_cancel_backend({running.pid})"))
        with self.assertRaises(psycopg.errors.QueryCanceled):
            running.result()


class Context(Case):
    def test_row_and_request(self):
        """An error of the worker names its row and request; the request's id is the one that others saw."""
        conn = self.session()
        for sql in ("SELECT glm_generate(CASE i WHEN 78 THEN repeat('x ', 100000) ELSE 'hi' END, max_tokens => 1) FROM %s",
                    "SELECT glm_generate(CASE i WHEN 178 THEN repeat('x ', 100000) ELSE 'hi' END, max_tokens => 1) FROM %s WHERE i > 100",
                    "SELECT i FROM %s, glm_generate(CASE i WHEN 78 THEN repeat('x ', 100000) ELSE 'hi' END, max_tokens => 1) g"):
            with self.subTest(sql), self.assertRaises(psycopg.errors.ProgramLimitExceeded) as caught:
                conn.execute(sql % ROWS)
            self.assertRegex(caught.exception.diag.context, r"^GlmBatch, row 78, request \d+$")

    def test_in_plpgsql(self):
        with self.assertRaises(psycopg.errors.UndefinedObject) as caught:
            self.session().execute(f"DO $$ BEGIN PERFORM glm_generate('x', model => CASE i WHEN 5 THEN 'nonesuch' END, max_tokens => 1) "
                                   f"FROM {ROWS}; END $$")
        self.assertRegex(caught.exception.diag.context, r"^GlmBatch, row 5\n")
        self.assertIn("PL/pgSQL", caught.exception.diag.context)

    def test_mean_in_flight(self):
        """It counts requests, so it is at least 1 where there were any, even if nobody ever waited."""
        conn = self.session()
        for _ in range(20):
            lines = [line for line, in conn.execute(f"EXPLAIN (ANALYZE, TIMING OFF) SELECT glm_count_tokens('a b ' || i) FROM {ROWS}")]
            mean, = (float(line.split(":")[1]) for line in lines if "Mean in Flight" in line)
            self.assertGreaterEqual(mean, 1)


class Encoding(Case):
    """Databases that have no equivalent for all that a model may say."""

    GREETING = "Hello👋! I am ChatGLM3"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.base = directory_for_owner()
        with connect() as conn:
            scripted.Script(conn).write(os.path.join(cls.base, "wave"), cls.GREETING)
            scripted.Script(conn).write(os.path.join(cls.base, "greek"), "alpha α")
            if os.getuid() == 0:
                for directory, _, files in os.walk(cls.base):
                    for name in (".", *files):
                        os.chmod(os.path.join(directory, name), 0o755)
            for encoding, database in (("EUC_CN", "chatglm_euc"), ("LATIN1", "chatglm_latin")):
                conn.execute(f"DROP DATABASE IF EXISTS {database}")
                conn.execute(f"CREATE DATABASE {database} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
                with connect(dbname=database) as own:
                    own.execute("CREATE EXTENSION chatglm")
                    for model in ("wave", "greek"):
                        own.execute("SELECT glm_model_load(%s, %s)", [model, os.path.join(cls.base, model)])

    @classmethod
    def tearDownClass(cls):
        with connect() as conn:
            for database in ("chatglm_euc", "chatglm_latin"):
                conn.execute(f"DROP DATABASE {database} WITH (FORCE)")
            for model in ("wave", "greek"):
                conn.execute("SELECT glm_model_unload(%s)", [model])
        shutil.rmtree(cls.base)
        super().tearDownClass()

    def test_errors_as_values(self):
        for database, model, encoding in (("chatglm_euc", "wave", "EUC_CN"), ("chatglm_latin", "wave", "LATIN1"),
                                          ("chatglm_latin", "greek", "LATIN1")):
            with self.subTest(database=database, model=model):
                conn = self.session(dbname=database)
                wrong = (None, None, None, "22P05")
                for prefetch in (32, 1):
                    conn.execute(f"SET chatglm.prefetch = {prefetch}")
                    rows = conn.execute("SELECT (r).response, (r).finish_reason, (r).completion_tokens, (r).sqlstate, (r).error FROM "
                                        f"(SELECT glm_try_generate(p, model => '{model}') AS r FROM unnest(ARRAY['hi', NULL, 'hi']) p OFFSET 0) s").fetchall()
                    self.assertEqual([row[:4] for row in rows], [wrong, (None,) * 4, wrong])
                    self.assertIn(f'no equivalent in encoding "{encoding}"', rows[0][4])
                rows = conn.execute("SELECT idx, response, error FROM glm_generate_batch(ARRAY['hi', 'a longer text', 'hi'], "
                                    f"model => '{model}')").fetchall()
                self.assertEqual([row[0] for row in rows], [1, 2, 3])
                for idx, response, error in rows:
                    self.assertEqual(response is None, error is not None)
                    if idx != 2:        # whose length is not in the script
                        self.assertIn(f'no equivalent in encoding "{encoding}"', error)
                with self.assertRaises(psycopg.errors.UntranslatableCharacter):
                    conn.execute(f"SELECT glm_generate('hi', model => '{model}')")
                self.assertEqual(value("SELECT glm_generate('hello')", conn), value("SELECT glm_generate('hello')"))

    def test_greek_is_in_euc_cn(self):
        conn = self.session(dbname="chatglm_euc")
        self.assertEqual(value("SELECT (glm_try_generate('hi', model => 'greek')).response", conn), "alpha α")

    def test_in_parallel_plans(self):
        conn = self.session(dbname="chatglm_euc")
        conn.execute("SELECT set_config(name, 'on', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')")
        self.assertEqual(value("SELECT (glm_try_generate('hi', model => 'wave')).sqlstate", conn), "22P05")
        self.assertEqual(value("SELECT count(error) FROM glm_generate_batch(ARRAY['hi', 'a longer text'], model => 'wave')", conn), 1)

    def test_texts_that_are_shown(self):
        """Names and messages from elsewhere do not fail to be shown: what has no equivalent is written as an escape."""
        directory = os.path.join(self.base, "wave")
        with connect() as utf8:
            utf8.execute("SELECT glm_model_load('模型👋', %s)", [directory])
        self.addCleanup(value, "DELETE FROM chatglm.model WHERE name = '模型👋' RETURNING name")
        self.addCleanup(value, "SELECT glm_model_unload('模型👋')")
        for database, shown in (("chatglm_euc", r"模型\U0001f44b"), ("chatglm_latin", r"\u6a21\u578b\U0001f44b")):
            with self.subTest(database):
                conn = self.session(dbname=database)
                self.assertIn((shown,), conn.execute("SELECT jsonb_array_elements_text(glm_health()->'model_names')").fetchall())

    def test_messages(self):
        """An error text of the worker with a character that the database lacks."""
        broken = os.path.join(self.base, "wave👋")
        shutil.copytree(os.path.join(self.base, "wave"), broken)
        with open(os.path.join(broken, "config.json"), "w") as file:
            file.write('{"model_type": "模型👋"}')
        with connect() as utf8:
            utf8.execute("INSERT INTO chatglm.model VALUES ('broken', %s)", [broken])
        self.addCleanup(value, "DELETE FROM chatglm.model WHERE name = 'broken' RETURNING name")
        conn = self.session(dbname="chatglm_latin")
        conn.execute("INSERT INTO chatglm.model VALUES ('broken', %s)", [os.path.join(self.base, "link")])
        os.symlink(broken, os.path.join(self.base, "link"))
        self.assertIn(r'model_type "\u6a21\u578b\U0001f44b" is not supported', value("SELECT (glm_try_generate('hi', model => 'broken')).error", conn))
        with self.assertRaisesRegex(psycopg.Error, r'model_type "\\u6a21\\u578b\\U0001f44b" is not supported'):
            conn.execute("SELECT glm_generate('hi', model => 'broken')")


if __name__ == "__main__":
    unittest.main()
