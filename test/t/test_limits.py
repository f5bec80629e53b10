"""test_limits.py - chatglm.limits over sessions, databases and restarts; test/pgtap/limits.sql has one session's."""
import os
import signal
import struct
import unittest

from harness import *
from jobs import JobCase

ROLE = "limited_role"
OTHER = "other_limited_role"


def limit(**limits):
    """The limits of the role from its next request on; none: no row."""
    with connect() as conn:
        conn.execute(f"DELETE FROM chatglm.limits WHERE role = '{ROLE}'::regrole")
        if limits:
            conn.execute(f"INSERT INTO chatglm.limits (role, {', '.join(limits)}) "
                         f"VALUES ('{ROLE}', {', '.join(map(repr, limits.values()))})")


def execute(*statements):
    with connect() as conn:
        for statement in statements:
            conn.execute(statement)


def stages(role=ROLE):
    """-> how far the requests of a role are, limited when they wait for limits"""
    with connect() as conn:
        return [row[0] for row in conn.execute("SELECT state FROM glm_stat_requests WHERE usename = %s", [role])]


def shown(role=ROLE, conn=None):
    """-> {limit: (most, used, until)} as the view has them"""
    with connect() as own:
        rows = (conn or own).execute("SELECT name, most, used, until FROM glm_limits WHERE usename = %s", [role]).fetchall()
        return {name: tuple(rest) for name, *rest in rows}


def counts(role=ROLE):
    """-> requests that the engine has, and those that wait for limits"""
    held = stages(role)
    return len(held) - held.count("limited"), held.count("limited")


class LimitsCase(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with connect() as conn:
            for role in ROLE, OTHER:
                conn.execute(f"DROP ROLE IF EXISTS {role}")
                conn.execute(f"CREATE ROLE {role} LOGIN")

    @classmethod
    def tearDownClass(cls):
        with connect() as conn:
            conn.execute("DELETE FROM chatglm.limits")
            for role in ROLE, OTHER:
                conn.execute(f"DROP ROLE {role}")

    def setUp(self):
        super().setUp()
        self.addCleanup(limit)

    def hold(self):
        set_delay(HELD)
        self.addCleanup(set_delay, 0)

    def ask(self, sql=GENERATE, **arguments):
        return self.background("SELECT " + sql, user=ROLE, **arguments)

    def wait_counts(self, *wanted):
        wait_until(lambda: counts() == wanted, f"{wanted[0]} computed and {wanted[1]} held, not {counts()}")

    def assert_refused(self, what, running):
        with self.assertRaises(psycopg.errors.ConfigurationLimitExceeded) as caught:
            running.result()
        self.assertIn(what, str(caught.exception))


class Concurrent(LimitsCase):
    def test_twenty_sessions_and_three_at_a_time(self):
        limit(concurrent=3)
        self.hold()
        asking = [self.ask(f"glm_generate('hello {i}', max_tokens => 5)") for i in range(20)]
        self.wait_counts(3, 17)
        self.assertEqual(health()["running"] + health()["waiting"], 3)
        set_delay(0)
        most = 0
        while any(one.is_alive() for one in asking):
            most = max(most, counts()[0], health()["running"] + health()["waiting"])
        self.assertLessEqual(most, 3)
        for one in asking:
            self.assertIsNotNone(one.result()[0][0])

    def test_the_view_counts(self):
        limit(concurrent=3, queued=5, tokens_per_minute=1_000_000, tokens_per_day=1_000_000)
        self.hold()
        asking = [self.ask(f"glm_generate('hello {i}', max_tokens => 5)") for i in range(5)]
        self.wait_counts(3, 2)
        with connect(user=ROLE) as conn:
            wait_until(lambda: (now := shown(conn=conn))["concurrent"][:2] == (3, 3) and now["queued"][:2] == (5, 2), "the view counts")
        self.assertEqual(shown(OTHER), {})
        with connect(user=OTHER) as conn:
            self.assertEqual(shown(conn=conn), {})
        day, minute = shown()["tokens_per_day"][1], shown()["tokens_per_minute"][1]
        self.assertEqual(minute, 0)
        set_delay(0)
        for one in asking:
            one.result()
        self.assert_idle()
        now = shown()
        self.assertEqual((now["concurrent"], now["queued"]), ((3, 0, None), (5, 0, None)))
        used = value(f"SELECT prompt_tokens + completion_tokens FROM glm_usage WHERE usename = '{ROLE}' AND datname = current_database() "
                     "AND day = (now() AT TIME ZONE 'UTC')::date")
        self.assertEqual(now["tokens_per_day"], (1_000_000, used, None))
        self.assertGreater(used, day)
        self.assertGreaterEqual(used, now["tokens_per_minute"][1])      # what was spent is being forgotten

    def test_the_view_begins_anew_with_the_worker(self):
        limit(concurrent=1)
        self.hold()
        asking = self.ask()
        self.wait_counts(1, 0)
        self.assertEqual(shown()["concurrent"], (1, 1, None))
        pid = worker_pid()
        as_owner("kill", "-TERM", str(pid))
        with self.assertRaisesRegex(psycopg.errors.SystemError, "worker restarted"):
            asking.result()
        wait_until(lambda: worker_pid() not in (None, pid), "another worker")
        self.assertEqual(shown()["concurrent"], (1, 0, None))

    def test_races(self):
        """Sessions that ask again and again while others do, with nothing held up."""
        limit(concurrent=3)
        many = "SELECT count(glm_generate('hello ' || i, max_tokens => 2)) FROM generate_series(1, 30) i"
        asking = [self.background(f"SET chatglm.prefetch = {1 + i % 2 * 15}; {many}", user=ROLE) for i in range(20)]
        most = 0
        while any(one.is_alive() for one in asking):
            most = max(most, counts()[0])
        self.assertLessEqual(most, 3)
        for one in asking:
            one.result()

    def test_no_more_wait_than_may(self):
        limit(concurrent=1, queued=2)
        self.hold()
        asking = [self.ask()]
        self.wait_counts(1, 0)
        for held in 1, 2:
            asking.append(self.ask())
            self.wait_counts(1, held)
        self.assert_refused("has reached its limit queued (2 requests wait)", self.ask())
        limit(concurrent=1, queued=0)
        self.assert_refused("has reached its limit concurrent (1 requests at a time)", self.ask())
        set_delay(0)
        for one in asking:
            one.result()

    def test_rows_in_flight_wait_all_the_same(self):
        limit(concurrent=1, queued=0)
        rows = self.ask("count(glm_generate('hello ' || i, max_tokens => 3)) FROM generate_series(1, 20) i").result()
        self.assertEqual(rows, [(20,)])
        batch = self.background("SELECT count(response) FROM glm_generate_batch(ARRAY['a', 'b', 'c'], max_tokens => 3)", user=ROLE)
        self.assertEqual(batch.result(), [(3,)])

    def test_calls_come_before_rows_in_flight(self):
        limit(concurrent=1)
        self.hold()
        first = self.ask()
        self.wait_counts(1, 0)
        rows = self.ask("count(glm_generate('hello ' || i, max_tokens => 3)) FROM generate_series(1, 10) i")
        wait_until(lambda: counts()[1] == 10, "rows wait")
        call = self.ask("glm_generate('call', max_tokens => 3)")
        self.wait_counts(1, 11)
        value(f"SELECT glm_cancel(request_id) FROM glm_stat_requests WHERE pid = {first.pid}")
        wait_until(lambda: value(f"SELECT count(*) FROM glm_stat_requests WHERE pid = {call.pid} AND state <> 'limited'"), "the call's turn")
        self.assertEqual(value(f"SELECT count(*) FROM glm_stat_requests WHERE pid = {rows.pid} AND state = 'limited'"), 10)
        with self.assertRaises(psycopg.errors.QueryCanceled):
            first.result()
        set_delay(0)
        call.result()
        self.assertEqual(rows.result(), [(10,)])

    def test_what_waits_can_be_ended(self):
        limit(concurrent=1)
        self.hold()
        first = self.ask()
        self.wait_counts(1, 0)
        for end, error in ((lambda one: value(f"SELECT pg_cancel_backend({one.pid})"), psycopg.errors.QueryCanceled),
                           (lambda one: value("SELECT glm_cancel(request_id) FROM glm_stat_requests WHERE state = 'limited'"), psycopg.errors.QueryCanceled),
                           (lambda one: value(f"SELECT pg_terminate_backend({one.pid})"), psycopg.OperationalError)):
            one = self.ask()
            self.wait_counts(1, 1)
            end(one)
            with self.assertRaises(error):
                one.result()
            self.wait_counts(1, 0)
        with self.assertRaises(psycopg.DatabaseError) as caught:
            self.ask("""glm_generate('hi', options => '{"timeout_ms": 300}')""").result()
        self.assertEqual(caught.exception.sqlstate, "57T01")
        self.wait_counts(1, 0)
        set_delay(0)
        first.result()

    def test_each_has_its_own_time(self):
        """One that runs out of time does not make the worker forget the others'."""
        limit(concurrent=1)
        self.hold()
        first = self.ask()
        self.wait_counts(1, 0)
        held = [self.ask(f"""glm_generate('hi', options => '{{"timeout_ms": {ms}}}')""") for ms in (200, 600, 1000, 86400000)]
        for one in held[:3]:
            with self.assertRaises(psycopg.DatabaseError) as caught:
                one.result()
            self.assertEqual(caught.exception.sqlstate, "57T01")
        self.wait_counts(1, 1)
        set_delay(0)
        for one in first, held[3]:
            one.result()

    def test_a_stream_does_not_wait_for_itself(self):
        limit(concurrent=1)
        conn = self.session(user=ROLE, autocommit=False)
        conn.execute(f"DECLARE stream CURSOR FOR SELECT {STREAM}")
        conn.execute("FETCH 1 FROM stream")
        with self.assertRaises(psycopg.errors.ConfigurationLimitExceeded):
            conn.execute("SELECT glm_generate('hi', max_tokens => 2)")
        conn.rollback()

    def test_roles_and_databases_have_their_own(self):
        limit(concurrent=1)
        execute("DROP DATABASE IF EXISTS limited_other", "CREATE DATABASE limited_other")
        self.addCleanup(execute, "DROP DATABASE limited_other")
        with connect(dbname="limited_other") as conn:
            conn.execute("CREATE EXTENSION chatglm")
            conn.execute(f"INSERT INTO chatglm.limits (role, concurrent) VALUES ('{ROLE}', 2)")
        self.hold()
        here = [self.ask() for _ in range(2)]
        self.wait_counts(1, 1)
        there = [self.ask(dbname="limited_other") for _ in range(3)]
        self.wait_counts(3, 2)
        other = self.background("SELECT " + GENERATE, user=OTHER)
        wait_until(lambda: counts(OTHER) == (1, 0), "another role has no limits")
        set_delay(0)
        for one in here + there + [other]:
            one.result()
        for one in there:
            one.conn.close()

    def test_changes_count_from_the_next_request_on(self):
        limit(concurrent=1)
        self.hold()
        asking = [self.ask() for _ in range(3)]
        self.wait_counts(1, 2)
        limit()
        asking.append(self.ask())
        self.wait_counts(4, 0)
        set_delay(0)
        for one in asking:
            one.result()


class NotLifted(LimitsCase):
    def refused(self, conn, sql="SELECT glm_generate('hi', max_tokens => 1)"):
        with self.assertRaises(psycopg.errors.ConfigurationLimitExceeded) as caught:
            conn.execute(sql)
        return str(caught.exception)

    def test_by_no_role_that_it_can_become(self):
        with connect() as conn:
            conn.execute(f"GRANT {OTHER} TO {ROLE}")
            conn.execute("""CREATE OR REPLACE FUNCTION definer() RETURNS text SECURITY DEFINER LANGUAGE sql
                            AS $$SELECT glm_generate('hi', max_tokens => 1)$$""")
        self.addCleanup(execute, f"REVOKE {OTHER} FROM {ROLE}", "DROP FUNCTION definer()")
        limit(concurrent=0)
        with connect() as conn:
            conn.execute(f"INSERT INTO chatglm.limits (role, concurrent) VALUES ('{OTHER}', 100)")
        self.addCleanup(execute, "DELETE FROM chatglm.limits")
        conn = self.session(user=ROLE)
        self.assertIn(f'role "{ROLE}" has reached its limit concurrent (0 requests', self.refused(conn))
        for change in (f"SET ROLE {OTHER}", "RESET ROLE", "DISCARD ALL", "RESET ALL", "SET chatglm.max_tokens = 1",
                       f"SET SESSION AUTHORIZATION {ROLE}", "BEGIN", "SAVEPOINT s"):
            conn.execute(change)
            try:
                self.refused(conn)
            finally:
                if change == "BEGIN":
                    conn.rollback()
                    conn.execute("BEGIN")
        conn.rollback()
        self.refused(conn, "SELECT definer()")
        for denied in f"SET SESSION AUTHORIZATION {OTHER}", "UPDATE chatglm.limits SET concurrent = 1", "DELETE FROM chatglm.limits", \
                "DROP EXTENSION chatglm", "ALTER TABLE chatglm.limits DISABLE TRIGGER ALL", "SELECT glm_stat_reset()":
            with self.assertRaises(psycopg.errors.InsufficientPrivilege):
                conn.execute(denied)

    def test_a_role_that_is_set_has_its_own(self):
        """One login for many customers, as behind a pool."""
        limit(concurrent=1)
        conn = self.session()
        conn.execute(f"SET ROLE {ROLE}")
        self.hold()
        held = self.background(f"SET ROLE {ROLE}; SELECT {GENERATE}")
        self.wait_counts(1, 0)
        limit(concurrent=1, queued=0)
        self.refused(conn)
        conn.execute(f"SET ROLE {OTHER}")
        conn.execute("SELECT glm_count_tokens('a')")
        set_delay(0)
        held.result()


class Tokens(LimitsCase):
    def use_up(self, per_minute):
        """A request that takes more than the minute's tokens; hours of them are still to be paid off."""
        limit(tokens_per_minute=per_minute)
        self.ask(long_call("glm_generate", 600)).result()

    def hint(self):
        with self.assertRaises(psycopg.errors.ConfigurationLimitExceeded) as caught:
            self.session(user=ROLE).execute("SELECT " + GENERATE)
        return caught.exception.diag.message_hint

    def test_rows_in_flight_wait_for_the_minute(self):
        self.use_up(1)
        self.assert_refused("has used up its limit tokens_per_minute (", self.ask())
        rows = self.ask("count(glm_generate('hello ' || i, max_tokens => 2)) FROM generate_series(1, 4) i")
        wait_until(lambda: counts()[1] >= 4, "rows wait")
        batch = self.ask("""glm_generate('hi', max_tokens => 2, options => '{"priority": "batch"}')""")
        wait_until(lambda: counts()[1] >= 5, "and a call of class batch")
        self.assertIn("Try again after ", self.hint())
        limit(tokens_per_minute=1_000_000_000)
        self.ask("glm_count_tokens('a')").result()
        self.assertEqual(rows.result(), [(4,)])
        batch.result()

    def test_the_minute_refills(self):
        """Whatever the machine's pace, rows in flight get done: they wait as long as it takes."""
        limit(tokens_per_minute=600)
        self.ask(long_call("glm_generate", 600)).result()
        rows = self.ask("count(glm_generate('hello ' || i, max_tokens => 2)) FROM generate_series(1, 3) i")
        self.assertEqual(rows.result(), [(3,)])

    def test_class_batch_is_forced(self):
        self.use_up(1)
        limit(tokens_per_minute=1, priority="batch")
        one = self.ask("""glm_generate('hi', max_tokens => 2, options => '{"priority": "interactive"}')""")
        wait_until(lambda: counts()[1] == 1, "a call waits as batch does")
        limit()
        self.ask("glm_count_tokens('a')").result()
        one.result()


class Jobs(JobCase):
    """A job belongs to a role, and its rows count for that."""

    def setUp(self):
        super().setUp()
        with connect() as conn:
            conn.execute("DROP ROLE IF EXISTS job_limited")
            conn.execute("CREATE ROLE job_limited LOGIN")
        self.addCleanup(self.execute_in, "postgres", "DROP ROLE job_limited")
        self.addCleanup(self.execute_in, self.database, "DROP OWNED BY job_limited CASCADE")
        self.make_table(40)
        self.sql("ALTER TABLE ticket OWNER TO job_limited")
        self.owner = self.open(user="job_limited")

    def limit(self, column, figure):
        self.sql("DELETE FROM chatglm.limits")
        self.sql(f"INSERT INTO chatglm.limits (role, {column}) VALUES ('job_limited', {figure})")

    def make(self, call):
        self.owner.execute("SELECT glm_job_create('job', 'ticket', 'id', 'queue', %s)", [call])

    def test_rows_wait_for_the_minute(self):
        self.limit("tokens_per_minute", 1)
        self.owner.execute("SELECT " + long_call("glm_generate", 600))
        self.make("glm_generate(body, max_tokens => 4)")
        self.owner.execute("SELECT glm_job_start('job')")
        wait_until(lambda: "limited" in stages("job_limited"), "rows of the job wait")
        self.limit("tokens_per_minute", 1_000_000_000)
        self.owner.execute("SELECT glm_count_tokens('a')")
        self.wait_state("done")
        self.assertEqual((self.job("done"), self.job("failed")), (40, 0))

    def test_the_job_waits_for_the_day(self):
        for call in "glm_generate(body, max_tokens => 4)", "glm_try_generate(body, max_tokens => 4)":
            with self.subTest(call):
                self.limit("tokens_per_day", 0)
                self.make(call)
                self.owner.execute("SELECT glm_job_start('job')")
                wait_until(lambda: "tokens_per_day" in (self.job("reason") or ""), "the job says what it waits for")
                self.assertEqual((self.job("state"), self.job("failed")), ("running", 0))
                self.sql("DELETE FROM chatglm.limits")
                self.sql("UPDATE chatglm.job SET not_before = NULL")
                self.owner.execute("CALL glm_job_run('job')")
                self.assertEqual((self.job("state"), self.job("done"), self.job("failed")), ("done", 40, 0))
                self.owner.execute("SELECT glm_job_drop('job')")

    def test_no_more_rows_than_at_a_time(self):
        self.limit("concurrent", 2)
        self.make("glm_generate(body, max_tokens => 4)")
        set_delay(HELD)
        self.addCleanup(set_delay, 0)
        self.owner.execute("SELECT glm_job_start('job')")
        wait_until(lambda: counts("job_limited")[0] == 2 and counts("job_limited")[1] > 0, "two are computed, others wait")
        set_delay(0)
        self.wait_state("done")
        self.assertEqual((self.job("done"), self.job("failed")), (40, 0))


class Untrusted(LimitsCase):
    def test_a_backend_that_sends_nonsense_is_cut_off(self):
        """Its words are written over while the worker is stopped between their coming and its reading them."""
        oid = value(f"SELECT '{ROLE}'::regrole::oid::int8")
        good = struct.pack("=Iii", oid, -1, -1)
        for bad in (oid, -2, -1), (oid, -1, -2 ** 31), (0, -1, -1), (oid + 1, -1, -1):
            with self.subTest(bad):
                pid, before = worker_pid(), worker_segments()
                conn = self.session(user=ROLE)
                conn.execute("SELECT glm_count_tokens('a')")
                file, = wait_until(lambda: worker_segments() - before, "its segment")
                os.kill(pid, signal.SIGSTOP)
                try:
                    running = Background.__new__(Background)
                    threading.Thread.__init__(running, daemon=True)
                    running.sql, running.rows, running.error, running.conn = "SELECT glm_count_tokens('b')", None, None, conn
                    running.start()
                    with open(file, "r+b") as segment:
                        at = wait_until(lambda: segment.seek(0) or self.sent(segment.read(), good), "the request")
                        segment.seek(at)
                        segment.write(struct.pack("=Iii", bad[0], bad[1], bad[2]))
                finally:
                    os.kill(pid, signal.SIGCONT)
                with self.assertRaisesRegex(psycopg.errors.InternalError_, "could not read a message of this session"):
                    running.result()
                conn.execute("SELECT glm_count_tokens('a')")        # on another line
                self.assertEqual(worker_pid(), pid)

    @staticmethod
    def sent(segment, good):
        """Where the quota of a request stands whose bytes are in the queue."""
        at = segment.find(good)
        return at if at >= 0 and int.from_bytes(segment[at - 24:at - 16], "little") != 0 else None


class Usage(unittest.TestCase):
    """A cluster of its own, which is stopped and killed."""

    def setUp(self):
        self.cluster = Cluster({"shared_preload_libraries": "chatglm", "max_connections": 20})
        self.addCleanup(self.cluster.remove)
        with self.cluster.connect() as conn:
            conn.execute("CREATE EXTENSION chatglm")
        self.login()

    def login(self):
        self.conn = self.cluster.connect()
        self.addCleanup(self.conn.close)
        wait_until(lambda: value("SELECT glm_ready()", self.conn), "the worker is up", 60)

    def usage(self):
        return self.conn.execute("SELECT usename, datname, day, requests, prompt_tokens, completion_tokens, errors FROM glm_usage").fetchall()

    def restart(self, mode):
        self.conn.close()
        self.cluster.stop(mode)
        self.cluster.start()
        self.login()

    def test_it_outlives_worker_and_server_and_so_does_the_limit(self):
        self.conn.execute("SELECT glm_generate('hello', max_tokens => 4)")
        with self.assertRaises(psycopg.errors.InvalidParameterValue):
            self.conn.execute("SELECT glm_detokenize('{-1}')")
        row, = before = self.usage()
        self.assertEqual((row[0], row[1], row[3], row[5], row[6]), ("postgres", "postgres", 2, 4, 1))
        self.restart("fast")
        self.assertEqual(self.usage(), before)
        self.restart("immediate")
        self.assertEqual(self.usage(), before)
        self.conn.execute("INSERT INTO chatglm.limits (role, tokens_per_day) VALUES ('postgres', 4)")
        for _ in range(2):
            with self.assertRaises(psycopg.errors.ConfigurationLimitExceeded):
                self.conn.execute("SELECT glm_generate('hello', max_tokens => 4)")
            pid = health(self.conn)["worker_pid"]
            as_owner("kill", "-TERM", str(pid))
            wait_until(lambda: health(self.conn).get("worker_pid", pid) != pid, "another worker", 60)
        self.assertEqual(self.usage()[0][3:], (4, *before[0][4:6], 3))

    def test_a_dump_keeps_the_limits(self):
        self.conn.execute("CREATE ROLE kept")
        self.conn.execute("""INSERT INTO chatglm.limits (role, concurrent, models, priority) VALUES ('kept', 3, '{a,"b c"}', 'batch'), ('-', 1, NULL, NULL)""")
        rows = "SELECT role::text, concurrent, models, priority FROM chatglm.limits ORDER BY 1"
        before = self.conn.execute(rows).fetchall()
        place = ["--host", self.cluster.base, "--port", "5432", "--username", "postgres"]
        dump = os.path.join(self.cluster.base, "dump")
        as_owner(f"{BINDIR}/pg_dump", *place, "--file", dump, "postgres")
        self.conn.execute("CREATE DATABASE restored")
        as_owner(f"{BINDIR}/psql", *place, "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--file", dump, "restored")
        with self.cluster.connect("restored") as conn:
            self.assertEqual(conn.execute(rows).fetchall(), before)


if __name__ == "__main__":
    unittest.main()
