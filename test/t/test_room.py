"""test_room.py - room in the worker's queue: rows in flight wait for it, no role takes all of it.

A cluster whose queue is small: with two sequences and four places in the queue one role holds
six requests, of batch five, and others find room beside it.  A worker that is stopped
(SIGSTOP) leaves everything where it is, so that what is taken can be looked at.
"""
import os
import random
import signal
import threading
import unittest

import psycopg

from harness import *

SLOW = "glm_generate('hello ' || i, temperature => 100, top_p => 1, seed => i, max_tokens => 20)"
QUICK = "glm_generate('hello ' || i, max_tokens => 2)"
HI = "SELECT glm_generate('Who are you?', max_tokens => 5)"
TEXT = "SELECT glm_count_tokens(repeat('word ', 60000))"     # 300 kB
LONG_TEXT = "SELECT glm_count_tokens(repeat('word ', 190000))"     # 950 kB
LONG_RESULT = "SELECT array_length(glm_tokenize(repeat('word ', 190000)), 1)"   # 2.3 MB
FULL = psycopg.errors.ConfigurationLimitExceeded


class Room(unittest.TestCase):
    settings = {"shared_preload_libraries": "chatglm", "chatglm.max_sequences": 2, "chatglm.max_queue": 4,
                "chatglm.queue_memory": "1MB", "max_connections": 60}

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(cls.settings)
        cls.addClassCleanup(cls.cluster.remove)
        cls.admin = cls.cluster.connect()
        cls.addClassCleanup(cls.admin.close)
        cls.admin.execute("CREATE EXTENSION chatglm")
        for role in ("role_a", "role_b", "role_c"):
            cls.admin.execute(f"CREATE ROLE {role} LOGIN")
        wait_until(lambda: value("SELECT glm_ready()", cls.admin), "the worker is up")

    def setUp(self):
        self.addCleanup(self.assert_idle)

    def assert_idle(self):
        def idle():
            now = self.health()
            return now["running"] == now["waiting"] == now["queue_requests"] == now["queue_bytes"] == 0

        wait_until(idle, "nothing is taken any more")

    def health(self):
        return value("SELECT glm_health()", self.admin)

    def place(self, role):
        return {"host": self.cluster.base, "port": 5432, "user": role, "dbname": "postgres"}

    def session(self, role="postgres", **arguments):
        conn = connect(**self.place(role), **arguments)
        self.addCleanup(conn.close)
        return conn

    def start(self, sql, role="postgres"):
        statement = Background(sql, **self.place(role))
        self.addCleanup(statement.conn.close)
        return statement

    def delay(self, ms):
        self.admin.execute(f"ALTER SYSTEM SET chatglm.debug_step_delay = {ms}")
        self.admin.execute("SELECT pg_reload_conf()")
        if ms:
            self.addCleanup(self.delay, 0)

    def taken(self, requests):
        wait_until(lambda: self.health()["queue_requests"] == requests, f"{requests} places are taken")

    def in_wait(self, statement):
        """It waits in the extension, and has for a while."""
        wait_until(lambda: value(f"SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = {statement.pid}",
                                 self.admin), "it waits")

    def is_known(self, statement):
        """Has the worker all of its request?"""
        return value(f"SELECT count(*) FROM glm_stat_requests WHERE pid = {statement.pid}", self.admin) == 1

    def start_known(self, sql, role):
        """Starts it as often as it takes to find it in the worker before it has been answered."""
        def known():
            statement = self.start(sql, role)
            while statement.is_alive() and not self.is_known(statement):
                pass
            return statement if statement.is_alive() else None

        return wait_until(known, "the worker has it")

    def open_streams(self, conn, count):
        """Streams that nobody reads on: the first row of each is fetched."""
        for i in range(count):
            conn.execute(f"DECLARE c{i} CURSOR FOR SELECT * FROM {long_call('glm_stream', 100)}")
            conn.execute(f"FETCH 1 FROM c{i}")

    def stop_worker(self):
        pid = self.health()["worker_pid"]
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(self.continue_worker, pid)
        return pid

    def continue_worker(self, pid):
        os.kill(pid, signal.SIGCONT)

    def refused(self, conn, sql, *parts):
        with self.assertRaises(FULL) as caught:
            conn.execute(sql)
        for part in parts:
            self.assertIn(part, caught.exception.diag.message_primary)
        self.assertTrue(caught.exception.diag.message_hint)


class Requests(Room):
    # ---- rows in flight ----

    def test_rows_wait(self):
        """More rows in flight than there are places, in every form: none fails."""
        conn = self.session()
        self.assertEqual(value(f"SELECT count({QUICK}) FROM generate_series(1, 66) i", conn), 66)
        self.assertEqual(value(f"SELECT count(*) FROM (SELECT {QUICK.replace('glm_generate', 'glm_try_generate')} AS r "
                               "FROM generate_series(1, 66) i) t WHERE (r).error IS NULL", conn), 66)
        self.assertEqual(value("SELECT count(*) FROM glm_generate_batch(array(SELECT 'hello ' || i FROM generate_series(1, 66) i), "
                               "max_tokens => 2) WHERE error IS NULL", conn), 66)

    def test_many_sessions_wait(self):
        """Of as many sessions as places several times over, all get done, whoever comes first."""
        statements = [self.start(f"SELECT count({QUICK}) FROM generate_series(1, 12) i", role)
                      for role in ("role_a", "role_b", "postgres") * 6]
        for statement in statements:
            self.assertEqual(statement.result(), [(12,)])

    def test_interactive_beside_batch(self):
        """Whatever the rows call themselves, and of the same role, too."""
        self.delay(20)
        for options in ("", """, options => '{"priority": "interactive"}'"""):
            with self.subTest(options):
                batch = self.start(f"SELECT count({SLOW[:-1]}{options})) FROM generate_series(1, 5000) i", "role_b")
                self.taken(5)
                for role in ("role_b", "role_a"):
                    conn = self.session(role)
                    for _ in range(3):
                        self.assertTrue(value(HI, conn))
                self.assertTrue(batch.is_alive())
                self.admin.execute(f"SELECT pg_cancel_backend({batch.pid})")
                with self.assertRaises(psycopg.errors.QueryCanceled):
                    batch.result()
                self.taken(0)

    def test_batch_beside_batch(self):
        """A few rows of one role get done beside the endless ones of another."""
        self.delay(5)
        options = """, options => '{"priority": "interactive"}'"""
        endless = [self.start(f"SELECT count({SLOW[:-1]}{options})) FROM generate_series(1, 5000) i", "role_b") for _ in range(4)]
        self.taken(5)
        few = self.start(f"SELECT count({SLOW}) FROM generate_series(1, 8) i", "role_a")
        self.assertEqual(few.result(), [(8,)])
        for statement in endless:
            self.assertTrue(statement.is_alive())
            self.admin.execute(f"SELECT pg_cancel_backend({statement.pid})")

    # ---- shares ----

    def test_one_role_cannot_take_all(self):
        holder = self.session("role_b", autocommit=False)
        self.open_streams(holder, 6)
        self.taken(6)
        self.refused(self.session("role_b"), f"SELECT {GENERATE}", "too many requests", "role_b", "(6)")
        for role, ready, state in ("role_b", False, "full"), ("role_a", True, "ready"):
            conn = self.session(role)
            told = value("SELECT glm_health()", conn)
            self.assertEqual((value("SELECT glm_ready()", conn), told["ready"], told["state"]), (ready, ready, state))
            self.assertEqual(told["reasons"], [] if ready else ["a call of the current user would find no room in the queue"])
        for role in ("role_a", "role_c", "postgres"):
            self.assertTrue(value(HI, self.session(role)))
            self.assertEqual(value(f"SELECT count({QUICK}) FROM generate_series(1, 10) i", self.session(role)), 10)
        holder.rollback()

    def test_three_roles_share(self):
        """Roles that hold all they may leave a place for another."""
        for role in ("role_b", "role_c"):
            holder = self.session(role, autocommit=False)
            self.addCleanup(holder.rollback)
            with self.assertRaises(FULL):
                self.open_streams(holder, 7)
        self.assertTrue(value(HI, self.session("role_a")))

    def test_rows_wait_for_streams(self):
        """Of another session: until they are closed.  Of the own one they would wait for ever."""
        holder = self.session("role_b", autocommit=False)
        self.open_streams(holder, 6)
        rows = self.start(f"SELECT count({QUICK}) FROM generate_series(1, 10) i", "role_b")
        self.in_wait(rows)
        self.refused(holder, f"SELECT count({QUICK}) FROM generate_series(1, 10) i", "role_b")
        holder.rollback()
        self.assertEqual(rows.result(), [(10,)])

    def test_rows_beside_calls_of_their_role(self):
        """Calls that take all that is kept from rows do not keep them out: a few rows at a time get through."""
        holder = self.session("role_b", autocommit=False)
        self.open_streams(holder, 5)
        self.taken(5)
        rows = self.start(f"SELECT count({QUICK}) FROM generate_series(1, 10) i", "role_b")
        self.assertEqual(rows.result(), [(10,)])
        self.taken(5)
        holder.rollback()

    # ---- waits end ----

    def test_cancelled_wait(self):
        holder = self.session("role_b", autocommit=False)
        self.open_streams(holder, 6)
        for how, error in (("pg_cancel_backend", psycopg.errors.QueryCanceled),
                           ("pg_terminate_backend", psycopg.OperationalError)):
            rows = self.start(f"SELECT count({QUICK}) FROM generate_series(1, 10) i", "role_b")
            last = self.start(f"SELECT count({QUICK}) FROM generate_series(1, 10) i", "role_b")
            self.in_wait(rows)
            self.in_wait(last)
            self.admin.execute(f"SELECT {how}({rows.pid})")
            with self.assertRaises(error):
                rows.result()
            self.taken(6)
        holder.rollback()               # those behind them go on
        self.assertEqual(last.result(), [(10,)])

    def test_stopped_process(self):
        """Those behind a process that was stopped while it waited do not wait for it."""
        holder = self.session("role_b", autocommit=False)
        self.open_streams(holder, 6)
        stopped = self.start(f"SELECT count({QUICK}) FROM generate_series(1, 10) i", "role_b")
        self.in_wait(stopped)
        os.kill(stopped.pid, signal.SIGSTOP)
        try:
            behind = self.start(f"SELECT count({QUICK}) FROM generate_series(1, 10) i", "role_b")
            self.in_wait(behind)
            holder.rollback()
            self.assertEqual(behind.result(), [(10,)])
        finally:
            os.kill(stopped.pid, signal.SIGCONT)
        self.assertEqual(stopped.result(), [(10,)])

    def test_statement_timeout(self):
        holder = self.session("role_b", autocommit=False)
        self.open_streams(holder, 6)
        conn = self.session("role_b")
        conn.execute("SET statement_timeout = '200ms'")
        with self.assertRaises(psycopg.errors.QueryCanceled):
            conn.execute(f"SELECT count({QUICK}) FROM generate_series(1, 10) i")
        conn.execute("RESET statement_timeout")
        holder.rollback()
        self.assertEqual(value(f"SELECT count({QUICK}) FROM generate_series(1, 10) i", conn), 10)

    def test_time_limit(self):
        """A batch call's own time limit includes the wait for room; an interactive one does not wait."""
        holder = self.session("role_b", autocommit=False)
        self.open_streams(holder, 6)
        conn = self.session("role_b")
        with self.assertRaisesRegex(psycopg.Error, "took longer than 300 ms"):
            conn.execute("""SELECT glm_generate('hi', options => '{"priority": "batch", "timeout_ms": 300}')""")
        self.assertEqual(value("""SELECT (glm_try_generate('hi', options => '{"priority": "batch", "timeout_ms": 300}')).sqlstate""", conn), "57T01")
        self.refused(conn, """SELECT glm_generate('hi', options => '{"timeout_ms": 60000}')""", "role_b")
        holder.rollback()
        self.assert_idle()
        self.assertTrue(value(HI.replace("max_tokens", """options => '{"priority": "batch", "timeout_ms": 120000}', max_tokens"""), conn))

    def test_lost_worker(self):
        """What waited was never given to the worker that went."""
        holder = self.session("role_b", autocommit=False)
        self.open_streams(holder, 6)
        rows = self.start(f"SELECT count({QUICK}) FROM generate_series(1, 10) i", "role_b")
        self.in_wait(rows)
        pid = self.health()["worker_pid"]
        self.admin.execute(f"SELECT pg_terminate_backend({pid})")
        wait_until(lambda: self.health().get("worker_pid") not in (None, pid), "a new worker is up")
        self.assertEqual(rows.result(), [(10,)])
        holder.rollback()

    def test_gone_sessions(self):
        """Connections that break leave nothing taken, with a stopped worker either."""
        pid = self.stop_worker()
        gone = [self.start(HI, role) for role in ("role_a", "role_b")]
        self.taken(2)
        for statement in gone:
            self.admin.execute(f"SELECT pg_terminate_backend({statement.pid})")
            with self.assertRaises(psycopg.OperationalError):
                statement.result()
        self.continue_worker(pid)
        self.assert_idle()

    def disturb(self, seed):
        """Statements of all kinds, some of which end in their midst."""
        r, conn = random.Random(seed), None
        for _ in range(25):
            try:
                if conn is None:
                    conn = self.session(r.choice(("role_a", "role_b", "role_c")))
                conn.execute(f"SET statement_timeout = {r.choice((0, 2, 20, 100))}")
                conn.execute(r.choice((
                    f"SELECT count({QUICK}) FROM generate_series(1, {r.randrange(1, 30)}) i",
                    f"SELECT * FROM glm_stream('hello', temperature => 100, max_tokens => 30) LIMIT {r.randrange(1, 40)}",
                    f"SELECT glm_count_tokens(repeat('word ', {r.randrange(1, 60000)}))",
                    f"SELECT count(glm_tokenize(repeat('word ', {r.randrange(1, 9000)}) || i)) FROM generate_series(1, 9) i", HI)))
            except psycopg.OperationalError as error:
                if error.sqlstate not in ("57014", "53400"):
                    conn = None
        self.undisturbed.append(seed)

    def test_ended_in_every_way(self):
        """Whatever ends as it will, in several roles at once, gives all its room back."""
        self.undisturbed = []
        threads = [threading.Thread(target=self.disturb, args=(seed,)) for seed in range(8)]
        r = random.Random(8)
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            how = r.choice(("pg_cancel_backend", "pg_terminate_backend"))
            self.admin.execute(f"SELECT {how}(pid) FROM pg_stat_activity WHERE usename LIKE 'role%' ORDER BY random() LIMIT 1")
            threads[r.randrange(8)].join(0.05)
        self.assertEqual(sorted(self.undisturbed), list(range(8)))
        self.assert_idle()
        self.assertEqual(value(f"SELECT count({QUICK}) FROM generate_series(1, 20) i", self.session("role_a")), 20)

    def test_calls_of_one_row(self):
        """A row with more calls than a session may have requests at a time."""
        call = "length(glm_generate('hello', temperature => 1.5, seed => {}, max_tokens => 30, stop => ARRAY['zzz']))"
        calls = " + ".join(call.format(i) for i in range(70))
        conn = self.session()
        batched = value(f"SELECT sum({calls}) FROM generate_series(1, 3) i", conn)
        conn.execute("SET chatglm.prefetch = 1")
        self.assertEqual(value(f"SELECT sum({calls}) FROM generate_series(1, 3) i", conn), batched)


class Bytes(Room):
    def test_shares(self):
        """Of 1 MB: half of it for one role, then for others what is left."""
        pid = self.stop_worker()
        first = self.start(TEXT, "role_b")
        self.taken(1)
        self.refused(self.session("role_b"), TEXT, "role_b", "queue_memory", "0.3 of 1 MB")
        self.assertGreater(self.health()["queue_bytes"], 300000)
        self.assertEqual(self.health()["queue_memory_bytes"], 1 << 20)
        others = [self.start(TEXT, role) for role in ("role_a", "postgres")]
        self.taken(3)
        self.refused(self.session("role_c"), TEXT, "all of chatglm.queue_memory (1 MB)")
        # what others' texts take is for who may see it
        self.admin.execute("GRANT pg_read_all_stats TO role_c")
        self.addCleanup(self.admin.execute, "REVOKE pg_read_all_stats FROM role_c")
        self.refused(self.session("role_c"), TEXT, "all of chatglm.queue_memory (0.9 of 1 MB)")
        short = self.start(HI, "role_c")
        self.taken(4)                   # short ones find room beside the long
        self.continue_worker(pid)
        for statement in (first, *others):
            self.assertEqual(statement.result(), first.result())
        self.assertTrue(short.result())

    def test_too_large(self):
        conn = self.session()
        self.refused(conn, "SELECT glm_count_tokens(repeat('word ', 250000))", "too large", "queue_memory")
        row = conn.execute("SELECT (r).sqlstate FROM (SELECT glm_try_generate(repeat('word ', CASE i WHEN 2 THEN 250000 ELSE 1 END), "
                           "max_tokens => 2) AS r FROM generate_series(1, 3) i) t").fetchall()
        self.assertEqual(row, [(None,), ("53400",), (None,)])
        # one that fits is possible as long as the role has nothing else
        self.assertGreater(value("SELECT glm_count_tokens(repeat('word ', 190000))", conn), 190000)

    def test_rows_wait(self):
        """Rows of two sessions never take more than a role's share, and none fails."""
        pid = self.stop_worker()
        rows = [self.start("SELECT count(glm_count_tokens(s || i)) FROM (SELECT i, repeat('word ', 30000) AS s "
                           "FROM generate_series(1, 8) i OFFSET 0) t", "role_b") for _ in range(2)]
        self.taken(2)
        for statement in rows:
            self.in_wait(statement)
        self.assertLess(self.health()["queue_bytes"], (1 << 20) // 3)
        self.continue_worker(pid)
        most = 0
        while any(statement.is_alive() for statement in rows):
            most = max(most, self.health()["queue_bytes"])
        self.assertLess(most, (1 << 20) // 3)
        for statement in rows:
            self.assertEqual(statement.result(), [(8,)])

    def test_cancelled_bytes_come_back(self):
        """At once: those on their way to a worker that does not look, and those it has."""
        pid = self.stop_worker()
        half_sent = self.start(TEXT, "role_b")
        self.taken(1)
        self.admin.execute(f"SELECT pg_cancel_backend({half_sent.pid})")
        with self.assertRaises(psycopg.errors.QueryCanceled):
            half_sent.result()
        self.assertEqual(self.health()["queue_bytes"], 0)
        self.continue_worker(pid)
        self.assertEqual(value(TEXT, half_sent.conn), value(TEXT, self.admin))

        for _ in range(100):            # until the cancel comes before the answer
            known = self.start_known(LONG_TEXT, "role_a")
            taken = self.health()["queue_bytes"]
            self.admin.execute(f"SELECT pg_cancel_backend({known.pid})")
            known.join()
            self.assert_idle()
            if known.error is not None:
                break
        self.assertIsInstance(known.error, psycopg.errors.QueryCanceled)
        self.assertGreater(taken, 900000)

    def test_unread_results(self):
        """Results that nobody reads count as well, until they are read or their session is gone."""
        for ends in (False, True):
            reader = self.stop_reader()
            try:
                self.refused(self.session("role_b"), TEXT, "role_b", "queue_memory")
                self.assertTrue(value(HI, self.session("role_b")))
                self.assertTrue(value(TEXT, self.session("role_a")))
                if ends:
                    self.admin.execute(f"SELECT pg_terminate_backend({reader.pid})")
            finally:
                os.kill(reader.pid, signal.SIGCONT)
            if ends:
                with self.assertRaises(psycopg.OperationalError):
                    reader.result()
            else:
                self.assertEqual(reader.result(), self.admin.execute(LONG_TEXT).fetchall())
            self.assert_idle()

    def stop_reader(self):
        """Stops a statement when all of its result is there, and none of it read."""
        def stopped():
            reader = self.start_known(LONG_RESULT, "role_b")
            os.kill(reader.pid, signal.SIGSTOP)
            for _ in range(1000):
                taken = self.health()["queue_bytes"]
                if taken > 2000000:
                    return reader
                if taken == 0:
                    break
                time.sleep(0.02)
            os.kill(reader.pid, signal.SIGCONT)     # it had read some already
            reader.result()
            self.assert_idle()
            return None

        return wait_until(stopped, "all is computed, and nothing read")

    def test_pieces(self):
        """Texts of all lengths come whole, also behind one that was cancelled halfway."""
        conn = self.session()
        for length in (1, 8000, 8192, 16384, 70000):
            self.assertEqual(value(f"SELECT glm_detokenize(glm_tokenize(repeat('ab c', {length}), add_special => false)) = "
                                   f"repeat('ab c', {length})", conn), True)
        conn.execute("SET statement_timeout = 1")
        for _ in range(20):
            with self.assertRaises(psycopg.errors.QueryCanceled):
                conn.execute(TEXT)
        conn.execute("RESET statement_timeout")
        self.assertEqual(value(TEXT, conn), value(TEXT, self.admin))


if __name__ == "__main__":
    unittest.main()
