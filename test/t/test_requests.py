"""test_requests.py - what glm_stat_requests shows of running requests, and to whom."""
import unittest

from harness import *

MESSAGES = """'[{"role": "user", "content": "hello"}]'"""

# Statements by what the view calls their requests.
KINDS = {
    "generate": f"SELECT {ENDLESS}",
    "complete": f"SELECT {long_call('glm_complete', 1500)}",
    "stream": f"SELECT count(*) FROM {ENDLESS_STREAM}",
    "chat": f"SELECT {long_call('glm_chat', 1500, MESSAGES)}",
    "chat_stream": f"SELECT count(*) FROM {long_call('glm_chat_stream', 1500, MESSAGES)}",
}
IN_FLIGHT = {
    "generate": f"SELECT count({long_call('glm_generate', 1500, 'i::text')}) FROM generate_series(1, 3) i",
    "chat": f"SELECT count({long_call('glm_chat', 1500, MESSAGES)}) FROM generate_series(1, 3) i",
}


class Requests(Case):
    delay = 50

    def shown(self, running, conn=None):
        """The rows of one session's requests, by the names of their columns."""
        with connect(row_factory=psycopg.rows.dict_row) as own:
            return (conn or own).execute("SELECT * FROM glm_stat_requests WHERE pid = %d" % running.pid).fetchall()

    def wait_tokens(self, running, count=1):
        def rows():
            now = self.shown(running)
            return now if len(now) == count and all(row["tokens"] >= 2 for row in now) else None

        return wait_until(rows, "tokens of " + running.sql)

    def end(self, running):
        value(f"SELECT pg_cancel_backend({running.pid})")
        with self.assertRaises(psycopg.errors.QueryCanceled):
            running.result()

    def test_kind_tokens_and_database(self):
        for kind, sql in KINDS.items():
            with self.subTest(kind):
                running = self.background(sql)
                row = self.wait_tokens(running)[0]
                self.assertEqual(row["kind"], kind)
                self.assertEqual(row["datname"], os.environ["PGDATABASE"])
                self.assertFalse(row["in_flight"])
                self.assertLessEqual(row["tokens"], 1500)
                wait_until(lambda: self.shown(running)[0]["state"] == "decode", "its prompt is computed")
                wait_until(lambda: self.shown(running)[0]["tokens"] > row["tokens"], "more tokens")
                self.end(running)

    def test_rows_in_flight(self):
        for kind, sql in IN_FLIGHT.items():
            with self.subTest(kind):
                running = self.background(sql)
                for row in self.wait_tokens(running, 3):
                    self.assertEqual((row["kind"], row["in_flight"]), (kind, True))
                self.end(running)

    def test_an_array_of_prompts(self):
        running = self.background(f"SELECT * FROM {long_call('glm_generate_batch', 1500, chr(39) + '{a,b}' + chr(39))}")
        for row in self.wait_tokens(running, 2):
            self.assertEqual((row["kind"], row["in_flight"]), ("generate", True))
        self.end(running)

    def test_a_stream_that_nobody_reads_is_paused(self):
        conn = self.session()
        conn.execute("BEGIN")
        conn.execute(f"DECLARE c CURSOR FOR SELECT * FROM {STREAM}")
        conn.execute("FETCH 1 FROM c")
        wait_until(lambda: value("SELECT state FROM glm_stat_requests") == "paused", "it is paused")
        conn.execute("ROLLBACK")

    def test_the_database_is_that_of_the_session(self):
        with connect() as conn:
            conn.execute('DROP DATABASE IF EXISTS "an other"')
            conn.execute('CREATE DATABASE "an other"')
        with connect(dbname="an other") as conn:
            conn.execute("CREATE EXTENSION chatglm")
        running = Background(f"SELECT {ENDLESS}", dbname="an other")
        self.assertEqual(self.wait_tokens(running)[0]["datname"], "an other")
        self.end(running)
        running.conn.close()
        with connect() as conn:
            conn.execute('DROP DATABASE "an other"')

    def test_others_see_that_there_is_one(self):
        conn = self.session(row_factory=psycopg.rows.dict_row)
        conn.execute("DROP ROLE IF EXISTS chatglm_other")
        conn.execute("CREATE ROLE chatglm_other")
        running = self.background(f"SELECT {ENDLESS}")
        seen = self.wait_tokens(running)[0]
        conn.execute("SET ROLE chatglm_other")
        row = self.shown(running, conn)[0]
        public = {"request_id", "pid", "usename"}
        self.assertEqual({name for name in row if row[name] is not None}, public)
        self.assertEqual([row[name] for name in public], [seen[name] for name in public])
        conn.execute("RESET ROLE")
        conn.execute("GRANT pg_read_all_stats TO chatglm_other")
        conn.execute("SET ROLE chatglm_other")
        self.assertTrue(all(column is not None for column in self.shown(running, conn)[0].values()))
        conn.execute("RESET ROLE")
        conn.execute("DROP ROLE chatglm_other")
        self.end(running)


if __name__ == "__main__":
    unittest.main()
