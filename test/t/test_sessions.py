"""test_sessions.py - many sessions, many requests: the same texts, and nothing piles up.

CALLS (default 2000) sets how many short calls the memory test makes, and a
tenth of it how many streams are closed early:
    CALLS=10000 make fault T=test_sessions
"""
import os
import unittest

from harness import *

CALLS = int(os.environ.get("CALLS", "2000"))
SESSIONS = 64


def prompts():
    for i in range(SESSIONS):
        yield ("Repeat: lamp %d, Anna, Berlin" if i % 2 else "重复:台灯 %d,安娜,柏林") % i


class ManySessions(Case):
    def test_64_sessions_say_what_one_says(self):
        sql = "SELECT glm_generate('{}', max_tokens => 24, temperature => {}, seed => {})"
        calls = [sql.format(prompt, (0, 0.9)[i % 3 == 0], i) for i, prompt in enumerate(prompts())]
        with connect() as conn:
            alone = [value(call, conn) for call in calls]
        together = [Background(call) for call in calls]
        self.assertEqual([one.result()[0][0] for one in together], alone)
        for one in together:
            one.conn.close()

    def test_segments_of_gone_sessions(self):
        value("SELECT glm_count_tokens('a')")
        before = worker_segments()
        sessions = [connect() for _ in range(20)]
        for conn in sessions:
            conn.execute("SELECT glm_count_tokens('a')")
        wait_until(lambda: len(worker_segments() - before) == 20, "20 segments more")
        files = worker_segments() - before
        self.assertTrue(all(os.path.exists(name) for name in files))
        for conn in sessions:
            conn.close()
        wait_until(lambda: not files & worker_segments(), "the worker lets go of them")
        wait_until(lambda: not any(os.path.exists(name) for name in files), "they are gone")

    def test_streams_closed_early(self):
        conn = self.session()
        conn.execute("SELECT glm_count_tokens('a')")
        segments = len(worker_segments())
        for i in range(CALLS // 10):
            form = ("SELECT * FROM {}", "SELECT {}")[i % 2]
            self.assertEqual(len(conn.execute(form.format(STREAM) + " LIMIT 1").fetchall()), 1)
        self.assert_idle()
        wait_until(lambda: len(worker_segments()) <= segments, "no segment more than before")


class Memory(Case):
    def test_short_calls_leave_nothing(self):
        conn = self.session()
        sql = "SELECT count(glm_generate('hi' || i, max_tokens => 2)), count(glm_count_tokens('x' || i)) " \
              "FROM generate_series(1, {}) i"
        conn.execute(sql.format(CALLS // 2))    # until every array has its size and every thread its arena
        before = worker_rss()
        conn.execute(sql.format(CALLS // 2))
        self.assert_idle()
        grown = worker_rss() / before - 1
        self.assertLess(grown, 0.01, f"{CALLS} calls: resident memory grew by {grown:.2%}")


if __name__ == "__main__":
    unittest.main()
