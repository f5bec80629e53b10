"""test_batch.py - many rows in flight: how many at a time, and that every ending leaves none.

The engine is held, so that rows stay in flight, or takes 20 ms a step.  A window of
rows is counted by the worker itself: its running and waiting requests.
"""
import os
import unittest

import psycopg

from harness import *

ROWS = "generate_series(1, 200) i"
# answers of different lengths, so that later rows are often ready before earlier ones
ANSWERS = "glm_generate('hello ' || i, temperature => 100, top_p => 1, seed => i, max_tokens => 1 + (i * 37) % 60)"


class Batch(Case):
    delay = HELD

    def setUp(self):
        super().setUp()
        self.before = health()

    def in_flight(self):
        now = health()
        return now["running"] + now["waiting"]

    def wait_in_flight(self, count):
        wait_until(lambda: self.in_flight() == count, f"{count} in flight")

    def assert_ends_with(self, running, error):
        """The query raises this error, and what was in flight is cancelled."""
        with self.assertRaises(error):
            running.result()
        self.assert_idle()

    # ---- how many ----

    def test_prefetch_in_flight(self):
        for prefetch in (4, 32):
            with self.subTest(prefetch):
                set_delay(20)
                running = self.background(f"SET chatglm.prefetch = {prefetch}; SELECT {ANSWERS} FROM {ROWS}")
                self.wait_in_flight(prefetch)
                for _ in range(20):
                    self.assertLessEqual(self.in_flight(), prefetch)
                set_delay(HELD)
                self.assertTrue(value(f"SELECT pg_cancel_backend({running.pid})"))
                self.assert_ends_with(running, psycopg.errors.QueryCanceled)

    def test_never_past_a_limit(self):
        set_delay(20)
        conn = self.session()
        self.assertEqual(len(conn.execute(f"SELECT {ANSWERS} FROM {ROWS} LIMIT 5").fetchall()), 5)
        self.assert_idle()
        now = health()
        self.assertEqual(now["cancelled"], self.before["cancelled"])
        self.assertEqual(now["completed"] - self.before["completed"], 5)

    # ---- order and answers ----

    def test_order_and_answers(self):
        set_delay(0)
        conn = self.session()
        batched = conn.execute(f"SELECT i, {ANSWERS} FROM {ROWS}").fetchall()
        conn.execute("SET chatglm.prefetch = 1")
        self.assertEqual(batched, conn.execute(f"SELECT i, {ANSWERS} FROM {ROWS}").fetchall())
        self.assertEqual([i for i, _ in batched], list(range(1, 201)))

    # ---- endings ----

    def test_cancel(self):
        running = self.background(f"CREATE TEMP TABLE t AS SELECT {GENERATE} FROM {ROWS}")
        self.wait_in_flight(32)
        self.assertTrue(value(f"SELECT pg_cancel_backend({running.pid})"))
        self.assert_ends_with(running, psycopg.errors.QueryCanceled)
        self.assertEqual(value("SELECT 1", running.conn), 1)

    def test_terminate(self):
        running = self.background(f"SELECT {GENERATE} FROM {ROWS}")
        self.wait_in_flight(32)
        self.assertTrue(value(f"SELECT pg_terminate_backend({running.pid})"))
        self.assert_ends_with(running, psycopg.OperationalError)

    def test_statement_timeout(self):
        self.assert_times_out(self.session(), f"SELECT count(*) FROM {ROWS} WHERE {GENERATE} <> ''")

    def test_cursor_closed(self):
        set_delay(20)
        conn = self.session(autocommit=False)
        conn.execute(f"DECLARE c CURSOR FOR SELECT {ANSWERS} FROM {ROWS}")
        self.assertEqual(len(conn.execute("FETCH 2 FROM c").fetchall()), 2)
        conn.execute("CLOSE c")
        self.assert_idle()

    def test_error_of_the_query(self):
        set_delay(20)
        conn = self.session()
        with self.assertRaises(psycopg.errors.DivisionByZero):
            conn.execute(f"SELECT {ANSWERS}, 1 / (3 - i) FROM {ROWS}")
        self.assert_idle()

    def test_error_of_a_row(self):
        set_delay(0)
        conn = self.session(autocommit=False)
        conn.execute(f"DECLARE c CURSOR FOR SELECT glm_generate(repeat('hello ', CASE i WHEN 5 THEN 100000 ELSE 1 END), max_tokens => 2) FROM {ROWS}")
        self.assertEqual(len(conn.execute("FETCH 4 FROM c").fetchall()), 4)
        with self.assertRaises(psycopg.errors.ProgramLimitExceeded):
            conn.execute("FETCH 1 FROM c")
        self.assert_idle()

    def test_caught_error(self):
        set_delay(20)
        conn = self.session(autocommit=False)
        conn.execute(f"""
            DO $$
            DECLARE r record;
            BEGIN
                FOR r IN SELECT i, {ANSWERS} FROM {ROWS} LOOP
                    PERFORM 1 / (3 - r.i);
                END LOOP;
            EXCEPTION WHEN division_by_zero THEN NULL;
            END $$""")
        self.assert_idle()              # the transaction is still open

    def test_savepoint_rolled_back(self):
        """What was asked in it is gone; the cursor asks again and goes on."""
        set_delay(20)
        conn = self.session(autocommit=False)
        expected = [row for row in conn.execute(f"SELECT i, {ANSWERS} FROM {ROWS} LIMIT 12")]
        conn.execute(f"DECLARE c CURSOR FOR SELECT i, {ANSWERS} FROM {ROWS}")
        rows = conn.execute("FETCH 2 FROM c").fetchall()
        conn.execute("SAVEPOINT s")
        rows += conn.execute("FETCH 2 FROM c").fetchall()
        conn.execute("ROLLBACK TO s")
        rows += conn.execute("FETCH 8 FROM c").fetchall()
        self.assertEqual(rows, expected)
        conn.rollback()

    # ---- a lost worker ----

    def kill_worker(self):
        pid = worker_pid()
        self.assertTrue(value(f"SELECT pg_terminate_backend({pid})"))
        wait_until(lambda: worker_pid() not in (None, pid), "a new worker is up")

    def test_lost_worker(self):
        running = self.background(f"SELECT {GENERATE} FROM {ROWS}")
        self.wait_in_flight(32)
        self.kill_worker()
        with self.assertRaisesRegex(psycopg.errors.SystemError, "worker restarted"):
            running.result()

    def test_lost_worker_as_rows(self):
        """The rows that were in flight have an error, and those behind them answers."""
        running = self.background(f"SELECT (r).error, (r).response IS NULL FROM "
                                  f"(SELECT {GENERATE.replace('glm_generate', 'glm_try_generate')} AS r FROM {ROWS} LIMIT 64) t")
        self.wait_in_flight(32)
        self.kill_worker()
        set_delay(0)
        rows = running.result()
        failed = [error for error, null in rows if null]
        self.assertEqual(len(rows), 64)
        self.assertEqual(len(failed), 32)
        for error in failed:
            self.assertIn("worker restarted", error)

    # ---- two at a time ----

    def test_updated_meanwhile(self):
        """A row that changed while it was waited for is asked for as it is now."""
        set_delay(0)
        conn = self.session()
        conn.execute("CREATE TABLE batch_note (id int PRIMARY KEY, body text, tokens int)")
        self.addCleanup(conn.execute, "DROP TABLE batch_note")
        conn.execute("INSERT INTO batch_note SELECT i, 'note ' || i FROM generate_series(1, 40) i")
        holder = self.session(autocommit=False)
        holder.execute("UPDATE batch_note SET body = 'a note that has become much longer' WHERE id = 7")
        running = self.background("UPDATE batch_note SET tokens = glm_count_tokens(body) RETURNING id")
        wait_until(lambda: value(f"SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = {running.pid}"),
                   "it waits for the row")
        holder.commit()
        self.assertEqual(len(running.result()), 40)
        conn.execute("SET chatglm.prefetch = 1")
        self.assertEqual(value("SELECT count(*) FROM batch_note WHERE tokens IS DISTINCT FROM glm_count_tokens(body)", conn), 0)

    def test_memory_is_bounded(self):
        """Ten thousand wide rows pass through the ring of a hundred or so."""
        set_delay(0)
        conn = self.session()
        query = "SELECT sum(length(w)) FROM (SELECT repeat(md5(i::text), 1000) AS w, glm_count_tokens('a b c') AS n FROM " \
            "generate_series(1, %d) i OFFSET 0) t WHERE n > 0"

        def rss():
            with open(f"/proc/{conn.info.backend_pid}/statm") as statm:
                return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

        self.assertEqual(value(query % 500, conn), 500 * 32000)
        before = rss()
        self.assertEqual(value(query % 10000, conn), 10000 * 32000)
        self.assertLess(rss() - before, 16 << 20)


if __name__ == "__main__":
    unittest.main()
