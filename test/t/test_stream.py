"""test_stream.py - rows reach the client as they are made, in every form that promises it.

The worker takes 100 ms a token.  Each row carries clock_timestamp(), the time
of its making; the client notes the time of its coming (psycopg's stream() is
libpq's single-row mode).  A row must come before the row after the next is
made: that is an order of events, true on a loaded machine as well, and false
for anything that gathers rows.
"""
import time
import unittest

from harness import *

TOKENS = 12
CALL = long_call("glm_stream", TOKENS)


class Stream(Case):
    delay = 100

    def assert_streams(self, sql, *parameters):
        conn = self.session()
        made, came = [], []
        for row in conn.cursor().stream(sql, parameters or None):
            came.append(time.time())
            made.append(row[-1])
        self.check(made, came)

    def check(self, made, came):
        self.assertEqual(len(made), TOKENS)
        for k in range(TOKENS - 2):
            self.assertLess(came[k], made[k + 2], f"row {k + 1} came after row {k + 3} was made")

    def test_from(self):
        self.assert_streams(f"SELECT s.*, extract(epoch FROM clock_timestamp())::float8 FROM {CALL} s")

    def test_from_with_where_and_expressions(self):
        self.assert_streams(f"SELECT seq * 2, upper(token), extract(epoch FROM clock_timestamp())::float8 "
                            f"FROM {CALL} WHERE seq > 0 LIMIT 1000")

    def test_select_list(self):
        self.assert_streams(f"SELECT {CALL}, extract(epoch FROM clock_timestamp())::float8")

    def test_parameters(self):
        call = long_call("glm_stream", TOKENS, "%s::text")
        self.assert_streams(f"SELECT token, extract(epoch FROM clock_timestamp())::float8 FROM {call}", "hello")

    def test_chat_stream(self):
        messages = """'[{"role": "user", "content": "hello"}]'"""
        call = long_call("glm_chat_stream", TOKENS, messages)
        self.assert_streams(f"SELECT token, extract(epoch FROM clock_timestamp())::float8 FROM {call}")

    def test_cursor(self):
        conn = self.session(autocommit=False)
        conn.execute(f"DECLARE c CURSOR FOR SELECT token, extract(epoch FROM clock_timestamp())::float8 FROM {CALL}")
        made, came = [], []
        while (row := conn.execute("FETCH 1 FROM c").fetchone()) is not None:
            came.append(time.time())
            made.append(row[1])
        self.check(made, came)


class SameText(Case):
    def test_forms_agree(self):
        conn = self.session()
        whole = value(f"SELECT {GENERATE}", conn)
        self.assertEqual(value(f"SELECT string_agg(token, '' ORDER BY seq) FROM {STREAM}", conn), whole)
        self.assertEqual(value(f"SELECT string_agg((s).token, '') FROM (SELECT {STREAM} AS s) t", conn), whole)
        rows = conn.execute(f"SELECT seq, token_id, logprob, finish_reason FROM {STREAM}").fetchall()
        self.assertEqual([row[0] for row in rows], list(range(1, len(rows) + 1)))
        self.assertTrue(all(row[1] is not None and row[2] <= 0 for row in rows))
        self.assertEqual([row[3] for row in rows], [None] * (len(rows) - 1) + ["length"])
        self.assertEqual(value("SELECT max(finish_reason) FROM glm_stream('hello')", conn), "stop")


if __name__ == "__main__":
    unittest.main()
