"""test_injection.py - whatever fails, ends or stalls, at each point that was made for it: who asked gets an ERROR that says so, nobody
else loses more than is said in docs/faults.md, the worker is ready again, nothing leaks.

A cluster of its own runs the library of `make injection`.
"""
import os
import shutil
import signal
import subprocess
import unittest

import psycopg

from harness import *
from injected import LIBRARY, InjectedCluster

GREETING = "SELECT glm_generate('hello')"
COLD = "SELECT glm_generate('hello', model => 'cold')"      # is not loaded when something happens
CONSTRAINED = "SELECT glm_generate('hello', max_tokens => 8, response_format => '{\"type\": \"json_object\"}')"
LONG_TEXT = "SELECT glm_count_tokens(repeat('hello ', 20000))"                  # takes a lane of its own
PACK = "SELECT count(*) FROM glm_quantize('tiny-chatglm3', 'BASE/packed')"      # BASE: the cluster's directory
VERIFIED = "SELECT glm_model_load('verified', 'BASE/verified', '{\"verify\": \"full\"}') IS NULL"
LONG_RESULT = "SELECT cardinality(glm_tokenize(repeat('hello ', 20000)))"       # more than a queue holds
LOST, INTERNAL, NO_MEMORY, NO_FILE, NO_SPACE, IO_ERROR = "58000", "XX000", "53200", "58P01", "53100", "58030"
LONG = os.environ.get("LONG") == "1"      # kill -9 of the worker at each point, too


class Point:
    """Where something happens, and what does.

    state: SQLSTATE of the request for which it fails, None: it is answered all the same; words: of its message; where: one of the engine's
    threads, which takes the worker down when it ends, and the main one or a backend, the server; alone: others go on while it stalls;
    late: it is met when the request has been answered, or about to be.
    """

    def __init__(self, name, state, sql=GREETING, where="engine", alone=False, late=False, words=""):
        self.name, self.state, self.sql, self.where, self.alone, self.late, self.words = name, state, sql, where, alone, late, words


POINTS = [
    # files and memory of models
    Point("file-open", NO_FILE, COLD, alone=True),
    Point("file-read", NO_FILE, COLD, alone=True),
    Point("chunk-map", NO_MEMORY, COLD, alone=True),
    Point("chunk-read", None, COLD, alone=True),
    Point("loader", NO_MEMORY, COLD, alone=True),
    Point("loader-thread", NO_MEMORY, COLD),
    Point("device-load", NO_MEMORY, COLD, alone=True),
    Point("verify", None, VERIFIED, alone=True),
    Point("settle", None, COLD, alone=True, late=True),
    # files that are written
    Point("job-thread", NO_MEMORY, PACK),
    Point("pack-write", NO_SPACE, PACK, alone=True),
    Point("pack-sync", IO_ERROR, PACK, alone=True),
    Point("pack-publish", NO_SPACE, PACK, alone=True),
    # the engine
    Point("intake", NO_MEMORY),
    Point("intake-thread", None, LONG_TEXT),
    Point("pass", INTERNAL),
    Point("compute", None, alone=True),
    # memory
    Point("request", NO_MEMORY, where="main"),
    Point("sequence", NO_MEMORY),
    Point("buffer", NO_MEMORY),
    Point("arena", NO_MEMORY, CONSTRAINED),
    Point("kv-block", None),
    # queues
    Point("outbox", None),
    Point("worker-attach", LOST, where="main", words="line to the chatglm worker broke"),
    Point("worker-receive", INTERNAL, where="main", words="could not read a message of this session"),
    Point("worker-send", None, where="main"),
    Point("worker-event", NO_MEMORY, LONG_RESULT, where="main", words="out of memory in the chatglm worker"),
    Point("session-send", LOST, where="backend", alone=True, words="line to the chatglm worker broke"),
    Point("session-receive", INTERNAL, where="backend", alone=True, words="message of the chatglm worker could not be read"),
]
POINTS_BY_NAME = {point.name: point for point in POINTS}
# points at which a thread of this name stops, so that it can be found
THREADS = {"intake": "glm intake", "pass": "glm engine", "compute": "glm compute", "chunk-read": "glm loader", "settle": "glm loader",
           "verify": "glm verify", "pack-write": "glm quantize"}
# a queue never fails by itself, and a mask that is only tried is done without
NEVER = {("outbox", "fail_once"), ("worker-send", "fail_once"), ("arena", "fail_once")}


@unittest.skipUnless(os.path.exists(LIBRARY), "without the library of `make injection`")
class Injection(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = InjectedCluster({"chatglm.threads": 2, "restart_after_crash": "on"})
        cls.addClassCleanup(cls.cluster.remove)
        with cls.cluster.connect() as conn:
            conn.execute("CREATE EXTENSION chatglm")
            conn.execute("CREATE FUNCTION inject(point text, action text) RETURNS void LANGUAGE C AS '$libdir/chatglm', "
                         "'chatglm_inject'")
            conn.execute("CREATE FUNCTION injected() RETURNS boolean LANGUAGE C AS '$libdir/chatglm', 'chatglm_injected'")
            conn.execute("CREATE TABLE kept AS SELECT i FROM generate_series(1, 1000) i")
            cold = f"{cls.cluster.base}/cold"
            shutil.copytree(f"{ROOT}/models/tiny-chatglm3", cold)
            subprocess.run(["chmod", "-R", "a+rX", cold], check=True)
            conn.execute("SELECT glm_model_load('cold', %s)", [cold])
            conn.execute("SELECT * FROM glm_quantize('tiny-chatglm3', %s)", [f"{cls.cluster.base}/verified"])
            cls.answers = {sql: conn.execute(sql.replace("BASE", cls.cluster.base)).fetchone()
                           for sql in (GREETING, COLD, CONSTRAINED, LONG_TEXT, PACK, VERIFIED, LONG_RESULT)}
            cls.stream = conn.execute(f"SELECT * FROM {STREAM}").fetchall()

    def setUp(self):
        self.sessions = []
        self.wait_ready()
        self.arm(None, None)
        self.remove_packed()
        with self.cluster.connect() as conn:
            self.check_answer(conn)
            self.check_answer(conn, COLD)
            self.before = health(conn)
            self.unload(conn, "verified")
        self.descriptors = self.count_descriptors()
        self.wait_alone()
        self.segments = len(self.cluster.segments())     # one may be of a session that has just ended
        self.idle = self.session()
        self.idle.execute("CREATE TEMP TABLE own AS SELECT 42 AS answer")
        self.reader = self.session(autocommit=False)
        self.reader.execute(f"DECLARE c CURSOR FOR SELECT * FROM {STREAM}")
        self.read = self.reader.execute("FETCH 1 FROM c").fetchall()
        self.wait(lambda h: h["paused"] == 1, "the other's stream pauses")

    def session(self, autocommit=True):
        conn = connect(host=self.cluster.base, port=5432, user="postgres", dbname="postgres", autocommit=autocommit)
        self.sessions.append(conn)
        self.addCleanup(conn.close)
        return conn

    def wait(self, condition, what):
        with self.cluster.connect() as conn:
            wait_until(lambda: condition(health(conn)), what)

    def wait_ready(self):
        def ready():
            try:
                with self.cluster.connect() as conn:
                    return value("SELECT glm_ready()", conn)
            except psycopg.OperationalError:
                return False

        wait_until(ready, "the worker is ready")

    def wait_alone(self):
        """Until sessions that were closed have ended; the worker lets go of their segments a moment later."""
        with self.cluster.connect() as conn:
            wait_until(lambda: value("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'", conn) == 1, "all have gone")

    def arm(self, point, action):
        with self.cluster.connect() as conn:
            for model in ("cold", "verified"):
                if point and f"'{model}'" in point.sql:
                    self.unload(conn, model)
            conn.execute("SELECT inject(%s, %s)", [point and point.name, action])

    def unload(self, conn, model):
        conn.execute("SELECT glm_model_unload(%s)", [model])
        maps = f"/proc/{health(conn)['worker_pid']}/maps"
        wait_until(lambda: f"/{model}/" not in as_owner("cat", maps), "its file is not mapped any more")

    def count_descriptors(self):
        return len(as_owner("ls", f"/proc/{self.before['worker_pid']}/fd").split())

    def check_answer(self, conn, sql=GREETING):
        answer = wait_until(lambda: self.answer_unless_busy(conn, sql), "the job before it has ended")
        self.assertEqual(answer, self.answers[sql])

    def answer_unless_busy(self, conn, sql):
        """None: another job runs, which the views tell a moment later."""
        if sql == PACK:
            self.remove_packed()
        try:
            return conn.execute(sql.replace("BASE", self.cluster.base)).fetchone()
        except psycopg.errors.ConfigurationLimitExceeded:
            if sql != PACK:
                raise

    # ---- glm_quantize's directories ----

    def packed(self):
        return [name for name in as_owner("ls", "-A", self.cluster.base).split() if "packed" in name]

    def remove_packed(self):
        shutil.rmtree(f"{self.cluster.base}/packed", ignore_errors=True)

    def ask(self, point, action):
        """Arms the point and has a new session meet it; -> that session, which may still be waiting"""
        if point.sql == LONG_RESULT:
            return self.ask_without_reading(point, action)
        self.arm(point, action)
        return self.asked(point)

    def asked(self, point):
        asked = Background(point.sql.replace("BASE", self.cluster.base), host=self.cluster.base, port=5432, user="postgres", dbname="postgres")
        self.sessions.append(asked.conn)
        self.addCleanup(asked.conn.close)
        return asked

    def ask_without_reading(self, point, action):
        """Its session is stopped before there is a result, which the queue has no room for."""
        self.arm(POINTS_BY_NAME["intake"], "stall")
        asked = self.asked(point)
        self.wait_met()
        os.kill(asked.pid, signal.SIGSTOP)
        self.arm(point, action)
        self.wait_met()
        os.kill(asked.pid, signal.SIGCONT)
        return asked

    def wait_met(self):
        def met():
            try:
                return value("SELECT injected()", self.idle)
            except psycopg.OperationalError:
                return True             # and was killed

        wait_until(met, "it is met")

    # ---- afterwards ----

    def assert_well(self, same_worker):
        """Ready, data as they were, everybody is answered, and nothing is left of it."""
        self.wait_ready()
        with self.cluster.connect() as conn:
            self.assertEqual(conn.execute("SELECT count(*), sum(i) FROM kept").fetchone(), (1000, 500500))
            self.check_answer(conn)
            self.unload(conn, "verified")
            self.assertEqual(conn.execute(f"SELECT * FROM {STREAM}").fetchall(), self.stream)
            self.assertEqual(health(conn)["worker_pid"] == self.before["worker_pid"], same_worker)
        for conn in self.sessions:
            conn.close()
        self.wait(lambda h: h["running"] == h["waiting"] == h["kv_used_bytes"] == 0, "no request is left")
        wait_until(lambda: len(self.cluster.segments()) <= self.segments, "no segment is left")
        if same_worker:
            wait_until(lambda: self.count_descriptors() == self.descriptors, "no descriptor is left")

    def assert_others_undisturbed(self):
        self.assertEqual(value("SELECT answer FROM own", self.idle), 42)
        self.check_answer(self.idle)
        self.assertEqual(self.read + self.reader.execute("FETCH ALL FROM c").fetchall(), self.stream)
        self.reader.commit()

    def assert_state(self, caught, state):
        self.assertEqual(caught.exception.sqlstate, state, caught.exception)

    # ---- the actions ----

    def fail_once(self, point):
        asked = self.ask(point, "fail")
        if point.state is None:
            self.assertEqual(asked.result(), [self.answers[point.sql]])
        else:
            with self.assertRaises(psycopg.Error) as caught:
                asked.result()
            self.assert_state(caught, point.state)
            self.assertIn(point.words, caught.exception.diag.message_primary)
        self.wait_met()
        if point.sql == PACK:
            wait_until(lambda: not self.packed(), "its files are removed")
        self.check_answer(asked.conn, point.sql)
        self.assert_others_undisturbed()
        self.assert_well(same_worker=True)

    def test_a_line_that_breaks_takes_all_of_its_requests_along(self):
        """Each of a session's requests is told the same; a stream that is read on later, too, when there is another line."""
        for point in (POINTS_BY_NAME[name] for name in ("worker-receive", "session-receive", "session-send")):
            with self.subTest(point.name):
                conn = self.session(autocommit=False)
                conn.execute(f"DECLARE c CURSOR FOR SELECT * FROM {STREAM}")
                conn.execute("FETCH 1 FROM c")
                conn.execute("SAVEPOINT before")
                self.arm(point, "fail")
                self.assert_lost(conn, GREETING, point)
                conn.execute("ROLLBACK TO before")
                self.check_answer(conn)
                self.assert_lost(conn, "FETCH ALL FROM c", point)
                conn.rollback()
                conn.close()

    def assert_lost(self, conn, sql, point):
        with self.assertRaises(psycopg.Error) as caught:
            conn.execute(sql)
        self.assert_state(caught, point.state)
        self.assertIn(point.words, caught.exception.diag.message_primary)

    def end_thread(self, point):
        asked = self.ask(point, "segv")
        if point.where != "engine":
            self.assert_crashed(asked)
            return
        self.assert_worker_restarts(asked, point)

    def strike(self, point, number):
        """The thread that stops there gets a signal, as the kernel would report its fault."""
        asked = self.ask(point, "stall")
        self.wait_met()
        thread, = threads_named(self.before["worker_pid"], THREADS[point.name])
        signal_thread(self.before["worker_pid"], thread, number)
        self.assert_worker_restarts(asked, point, number)

    def assert_worker_restarts(self, asked, point, number=signal.SIGSEGV):
        """Requests in flight are lost, sessions do not notice, and nothing is left."""
        if point.late or point.name == "compute":       # the other threads do its share, and may have done all
            self.wait_met()
            self.assert_answered_or_lost(asked)
        else:
            with self.assertRaises(psycopg.Error) as caught:
                asked.result()
            self.assert_state(caught, LOST)
            self.assertIn("worker restarted", caught.exception.diag.message_primary)
            self.assertIn(f"The last worker ended: an engine thread died of {number.name}", caught.exception.diag.message_detail)
        self.wait_ready()
        if point.sql == PACK:
            self.assertEqual(self.packed(), [], "the next worker removes what it left")
        self.check_answer(asked.conn, point.sql)
        self.assertEqual(value("SELECT answer FROM own", self.idle), 42)
        with self.assertRaises(psycopg.Error) as caught:
            self.reader.execute("FETCH ALL FROM c")
        self.assert_state(caught, LOST)
        self.reader.rollback()
        self.check_answer(self.reader)
        self.assert_well(same_worker=False)

    def assert_answered_or_lost(self, asked):
        try:
            self.assertEqual(asked.result(), [self.answers[asked.sql]])
        except psycopg.Error as error:
            self.assertEqual(error.sqlstate, LOST)

    def assert_crashed(self, asked):
        """The server restarts: all sessions end, as they always do."""
        with self.assertRaises(psycopg.OperationalError) as caught:
            asked.result()
        self.assertIn(caught.exception.sqlstate, (None, "57P02"))
        for conn in (self.idle, self.reader):
            wait_until(lambda conn=conn: self.is_gone(conn), "the session ends")
        self.assert_well(same_worker=False)

    def is_gone(self, conn):
        try:
            conn.execute("SELECT 1")
            return False
        except psycopg.OperationalError as error:
            self.assertIn(error.sqlstate, (None, "57P02"))
            return True

    def kill(self, point):
        self.assert_crashed(self.ask(point, "kill"))
        if point.sql == PACK:           # what was left goes when somebody writes there again
            with self.cluster.connect() as conn:
                self.check_answer(conn, PACK)
            self.assertEqual(self.packed(), ["packed"])

    def stall(self, point):
        asked = self.ask(point, "stall")
        self.wait_met()
        if point.alone:
            self.check_answer(self.idle)
        else:
            self.assert_waits_in_vain()
        if point.name == "compute" or point.late:       # the other threads do its share, or nobody waits for it
            self.assertEqual(asked.result(), [self.answers[point.sql]])
        else:
            self.assert_can_be_cancelled(asked, point)
        self.arm(None, None)
        self.check_answer(asked.conn, point.sql)
        self.assert_others_undisturbed()
        self.assert_well(same_worker=True)

    def assert_waits_in_vain(self):
        self.idle.execute("SET statement_timeout = '200ms'")
        with self.assertRaises(psycopg.errors.QueryCanceled):
            self.idle.execute(GREETING)
        self.idle.execute("RESET statement_timeout")

    def assert_can_be_cancelled(self, asked, point):
        """While it stalls, unless it is the backend itself."""
        value(f"SELECT pg_cancel_backend({asked.pid})", self.idle)
        if point.where == "backend":
            self.arm(None, None)
        with self.assertRaises(psycopg.errors.QueryCanceled):
            asked.result()


    # ---- what no request meets ----

    def restart_worker(self, until):
        os.kill(self.before["worker_pid"], signal.SIGTERM)
        wait_until(until, "the next worker")

    def has_new_worker(self):
        return health(self.idle).get("worker_pid") not in (None, self.before["worker_pid"])

    def test_compiling_a_schema_without_memory(self):
        """Before there is a first token, as the model's vocabulary is new."""
        sql = CONSTRAINED.replace("'hello',", "'hello', model => 'cold',")
        self.answers[sql] = self.answers[CONSTRAINED]
        self.fail_once(Point("arena", NO_MEMORY, sql))

    def test_starting_without_memory(self):
        """The worker stays down and says why, to whoever asks too, until it tries again."""
        self.arm(Point("engine-open", None), "fail")
        self.restart_worker(lambda: value("SELECT glm_health()::text", self.idle).find("cannot start") >= 0)
        self.assertIn("out of memory", health(self.idle)["last_error"])
        with self.assertRaises(psycopg.errors.ObjectNotInPrerequisiteState) as caught:
            self.idle.execute(GREETING)
        self.assertIn("out of memory", caught.exception.diag.message_detail)
        self.assertEqual(value("SELECT answer FROM own", self.idle), 42)
        self.idle.execute("SELECT pg_reload_conf()")
        wait_until(self.has_new_worker, "a worker starts")
        self.assert_well(same_worker=False)

    def statistics(self):
        return as_owner("sh", "-c", f"cd {self.cluster.data}/pg_stat; ls | grep chatglm").split()

    def completed(self, conn):
        return value("SELECT completed FROM glm_stat_worker", conn)

    def test_fail_once_at_measures_write(self):
        """The counters are in the server's memory still, and the next time they are written."""
        completed = self.completed(self.idle)
        logged = self.cluster.log().count('could not write file "pg_stat/chatglm.stat": No space left on device')
        self.arm(Point("measures-write", None), "fail")
        self.restart_worker(self.has_new_worker)
        self.assertEqual(self.cluster.log().count('could not write file "pg_stat/chatglm.stat": No space left on device'),
                         logged + 1)
        self.assertNotIn("chatglm.stat.tmp", self.statistics())
        self.assertGreaterEqual(self.completed(self.idle), completed)
        self.assertGreater(completed, 0)
        self.assert_well(same_worker=False)

    def test_kill_at_measures_write(self):
        """The server restarts, as it does, with the counters that were written before."""
        self.restart_worker(self.has_new_worker)
        written = self.completed(self.idle)
        self.before = health(self.idle)
        self.arm(Point("measures-write", None), "kill")
        os.kill(self.before["worker_pid"], signal.SIGTERM)
        wait_until(lambda: self.is_gone(self.idle), "the session ends")
        self.wait_ready()
        with self.cluster.connect() as conn:
            self.assertEqual(self.completed(conn), written)
        self.assert_well(same_worker=False)


def add_tests():
    for point in POINTS:
        for action in ("fail_once", "end_thread", "stall", *(["kill"] if LONG or point.where != "engine" else [])):
            def test(self, point=point, action=action):
                getattr(self, action)(point)

            if (point.name, action) not in NEVER:
                setattr(Injection, f"test_{action}_at_{point.name.replace('-', '_')}", test)
    for name, thread in THREADS.items():
        for number in (signal.SIGSEGV, signal.SIGBUS):
            def test_strike(self, name=name, number=number):
                self.strike(POINTS_BY_NAME[name], number)

            setattr(Injection, f"test_{number.name.lower()}_in_{thread.replace(' ', '_')}_at_{name.replace('-', '_')}", test_strike)


add_tests()

if __name__ == "__main__":
    unittest.main()
