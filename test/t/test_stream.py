"""test_stream.py - rows reach the client as they are made, in every form that promises it.

No row is made before the client has the one before: to make it, the query needs
a lock of that number, which the client keeps until then.  Whatever gathers rows
makes both wait for ever, which a timeout ends.
"""
import unittest

from harness import *

TOKENS = 12
CALL = long_call("glm_stream", TOKENS)


class Stream(Case):
    def setUp(self):
        super().setUp()
        self.keeper = self.session()
        self.keeper.execute("SELECT pg_advisory_lock(n) FROM generate_series(2, %s) n", [TOKENS])
        self.conn = self.session(autocommit=False)
        self.conn.execute(f"SET statement_timeout = '{PATIENCE:.0f}s'")
        # one that asks for more than it was given would wait for ever
        self.conn.execute("CREATE TEMP SEQUENCE made")
        self.conn.execute("CREATE FUNCTION pg_temp.make() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$DECLARE n bigint := nextval('made'); "
                          "BEGIN PERFORM pg_advisory_lock_shared(n); RETURN n; END$$")

    def came(self, number):
        """Row of this number has come: the next one may be made."""
        if number < TOKENS:
            self.keeper.execute("SELECT pg_advisory_unlock(%s)", [number + 1])

    def assert_streams(self, sql, *parameters):
        numbers = []
        for row in self.conn.cursor().stream(sql, parameters or None):
            numbers.append(row[-1])
            self.came(row[-1])
        self.assertEqual(numbers, list(range(1, TOKENS + 1)))

    def test_from(self):
        self.assert_streams(f"SELECT s.*, pg_temp.make() FROM {CALL} s")

    def test_from_with_where_and_expressions(self):
        self.assert_streams(f"SELECT seq * 2, upper(token), pg_temp.make() FROM {CALL} WHERE seq > 0 LIMIT 1000")

    def test_select_list(self):
        self.assert_streams(f"SELECT {CALL}, pg_temp.make()")

    def test_parameters(self):
        call = long_call("glm_stream", TOKENS, "%s::text")
        self.assert_streams(f"SELECT token, pg_temp.make() FROM {call}", "hello")

    def test_chat_stream(self):
        messages = """'[{"role": "user", "content": "hello"}]'"""
        call = long_call("glm_chat_stream", TOKENS, messages)
        self.assert_streams(f"SELECT token, pg_temp.make() FROM {call}")

    def test_cursor(self):
        self.conn.execute(f"DECLARE c CURSOR FOR SELECT token, pg_temp.make() FROM {CALL}")
        numbers = []
        while (row := self.conn.execute("FETCH 1 FROM c").fetchone()) is not None:
            numbers.append(row[1])
            self.came(row[1])
        self.assertEqual(numbers, list(range(1, TOKENS + 1)))

    def test_what_gathers_rows_is_found_out(self):
        """Such as a sort."""
        self.conn.execute("SET statement_timeout = '1s'")
        with self.assertRaises(psycopg.errors.QueryCanceled):
            self.assert_streams(f"SELECT * FROM (SELECT token, pg_temp.make() AS n FROM {CALL}) s ORDER BY n")


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
