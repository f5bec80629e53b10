"""test_cancel.py - every way in which a request can end early, and nothing of it is left.

With 100 ms a step the answers here take minutes: each test demands that the
worker counts one request as cancelled, which a request that came to its end
never is.
"""
import contextlib
import os
import signal
import subprocess
import unittest

import psycopg

from harness import *


class EndsEarly(Case):
    delay = 100

    def setUp(self):
        super().setUp()
        self.cancelled = health()["cancelled"]

    def assert_cancelled(self, count=1):
        wait_until(lambda: health()["cancelled"] == self.cancelled + count, f"{count} cancelled")
        self.assert_idle()

    # ---- from outside ----

    def test_pg_cancel_backend(self):
        waiting = self.background(f"SELECT {ENDLESS}")
        self.wait_running()
        self.assertTrue(value(f"SELECT pg_cancel_backend({waiting.pid})"))
        with self.assertRaises(psycopg.errors.QueryCanceled):
            waiting.result()
        self.assert_cancelled()
        self.assertEqual(value("SELECT 1", waiting.conn), 1)

    def test_pg_terminate_backend(self):
        waiting = self.background(f"SELECT {ENDLESS}")
        self.wait_running()
        self.assertTrue(value(f"SELECT pg_terminate_backend({waiting.pid})"))
        with self.assertRaisesRegex(psycopg.OperationalError, "administrator"):
            waiting.result()
        self.assert_cancelled()

    def test_client_killed(self):
        client = subprocess.Popen(["psql", "-XAtqc", f"SELECT {ENDLESS}"], stdout=subprocess.DEVNULL)
        self.wait_running()
        client.send_signal(signal.SIGKILL)
        client.wait()
        self.assert_cancelled()

    def test_glm_cancel(self):
        waiting = self.background(f"SELECT {ENDLESS}")
        self.wait_running()
        self.assertTrue(value("SELECT glm_cancel(request_id) FROM glm_stat_requests WHERE pid = %d" % waiting.pid))
        with self.assertRaises(psycopg.errors.QueryCanceled):
            waiting.result()
        self.assert_cancelled()
        self.assertFalse(value("SELECT glm_cancel(9223372036854775807)"))

    # ---- by time ----

    def test_statement_timeout(self):
        self.assert_times_out(self.session(), f"SELECT {ENDLESS}")

    def test_statement_timeout_without_worker(self):
        """A text of 20 MB that the backend itself reads for seconds: what is left of it is not read."""
        calls = "repeat(E'f\\n```\\ntool_call(a=1)\\n```\\n', 800000)"
        conn = self.session()

        def ticks_of(sql, *errors):
            before = cpu_ticks(conn.info.backend_pid)
            with self.assertRaises(errors) if errors else contextlib.nullcontext():
                conn.execute(sql)
            return cpu_ticks(conn.info.backend_pid) - before

        whole = ticks_of(f"SELECT length(glm_parse_tool_calls({calls})::text)")
        conn.execute("SET statement_timeout = '50ms'")
        self.assertLess(ticks_of(f"SELECT glm_parse_tool_calls({calls})", psycopg.errors.QueryCanceled), whole / 2)

    def test_request_timeout(self):
        conn = self.session()
        for sql in ("SELECT " + ENDLESS.replace(")", """, options => '{"timeout_ms": 400}')"""),
                    f"SELECT {ENDLESS}"):
            with self.subTest(sql):
                with self.assertRaisesRegex(psycopg.OperationalError, "time") as caught:
                    conn.execute(sql)
                self.assertEqual(caught.exception.sqlstate, "57T01")
            conn.execute("SET chatglm.request_timeout = '400ms'")

    # ---- by the query itself ----

    def test_limit(self):
        conn = self.session()
        for sql in (f"SELECT * FROM {ENDLESS_STREAM} LIMIT 2", f"SELECT {ENDLESS_STREAM} LIMIT 2"):
            with self.subTest(sql):
                self.assertEqual(len(conn.execute(sql).fetchall()), 2)
                self.assert_cancelled()
                self.cancelled += 1

    def test_cursor_close(self):
        conn = self.session(autocommit=False)
        for form in (f"SELECT * FROM {ENDLESS_STREAM}", f"SELECT {ENDLESS_STREAM}"):
            with self.subTest(form):
                conn.execute(f"DECLARE c CURSOR FOR {form}")
                self.assertEqual(len(conn.execute("FETCH 2 FROM c").fetchall()), 2)
                conn.execute("CLOSE c")
                self.assert_cancelled()
                self.cancelled += 1

    def test_rollback_with_open_cursor(self):
        conn = self.session(autocommit=False)
        conn.execute(f"DECLARE c CURSOR FOR SELECT * FROM {ENDLESS_STREAM}")
        conn.execute("FETCH 1 FROM c")
        conn.rollback()
        self.assert_cancelled()

    def test_rollback_to_savepoint(self):
        conn = self.session(autocommit=False)
        conn.execute("SELECT 1")
        conn.execute("SAVEPOINT s")
        conn.execute(f"DECLARE c CURSOR FOR SELECT * FROM {ENDLESS_STREAM}")
        conn.execute("FETCH 1 FROM c")
        conn.execute("ROLLBACK TO s")
        self.assert_cancelled()

    def test_released_savepoint_keeps_its_request(self):
        conn = self.session(autocommit=False)
        conn.execute("SELECT 1")
        conn.execute("SAVEPOINT s")
        conn.execute(f"DECLARE c CURSOR FOR SELECT * FROM {ENDLESS_STREAM}")
        conn.execute("FETCH 1 FROM c")
        conn.execute("RELEASE s")
        self.assertEqual(len(conn.execute("FETCH 2 FROM c").fetchall()), 2)
        conn.rollback()
        self.assert_cancelled()

    def test_plpgsql_exception_block(self):
        conn = self.session(autocommit=False)
        conn.execute(f"""
            DO $$
            DECLARE r record;
            BEGIN
                FOR r IN SELECT * FROM {ENDLESS_STREAM} LOOP
                    PERFORM 1 / (2 - r.seq);
                END LOOP;
            EXCEPTION WHEN division_by_zero THEN NULL;
            END $$""")
        self.assert_cancelled()         # the transaction is still open

    def test_plpgsql_exit(self):
        conn = self.session()
        conn.execute(f"""
            DO $$
            DECLARE r record;
            BEGIN
                FOR r IN SELECT * FROM {ENDLESS_STREAM} LOOP
                    EXIT WHEN r.seq = 2;
                END LOOP;
            END $$""")
        self.assert_cancelled()

    def test_error_in_the_same_query(self):
        conn = self.session()
        with self.assertRaises(psycopg.errors.DivisionByZero):
            conn.execute(f"SELECT 1 / (2 - seq) FROM {ENDLESS_STREAM}")
        self.assert_cancelled()


class SlowReader(Case):
    """A client that does not read stops its own sequence and nobody else's."""
    delay = 1

    def test_pauses_and_goes_on(self):
        whole = value(f"SELECT {GENERATE}")
        conn = self.session(autocommit=False)
        conn.execute(f"DECLARE c CURSOR FOR SELECT token FROM {STREAM}")
        text = conn.execute("FETCH 1 FROM c").fetchone()[0]
        wait_until(lambda: health()["paused"] == 1, "the sequence pauses")
        self.assertTrue(value("SELECT glm_generate('hi')"))
        text += "".join(token for token, in conn.execute("FETCH ALL FROM c"))
        self.assertEqual(text, whole)
        conn.commit()


if __name__ == "__main__":
    unittest.main()
