"""test_processes.py - what happens to processes from outside: stopped, ended in each of their threads, without room in shared
memory, the server stopped under load.

docs/faults.md has what each of it means.
"""
import os
import shutil
import signal
import subprocess
import threading
import time
import unittest

import psycopg

from harness import *

GREETING = "SELECT glm_generate('hello')"
SOURCE = f"{ROOT}/models/tiny-chatglm3"


def lent(place):
    """A copy of the embedded model that the server can read."""
    shutil.copytree(SOURCE, place)
    subprocess.run(["chmod", "-R", "a+rX", place], check=True)
    return place


class Stopped(Case):
    """SIGSTOP, as by a debugger or a frozen virtual machine."""

    def stop(self, pid):
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(os.kill, pid, signal.SIGCONT)

    def test_the_worker(self):
        """Nobody gets an answer, everybody can leave; then all goes on as if nothing had been."""
        answer = value(GREETING)
        streaming = self.session(autocommit=False)
        streaming.execute(f"DECLARE c CURSOR FOR SELECT * FROM {STREAM}")
        rows = streaming.execute("FETCH 1 FROM c").fetchall()
        pid = worker_pid()
        self.stop(pid)
        waiting = self.background(GREETING)
        conn = self.session()
        conn.execute("SET statement_timeout = '300ms'")
        with self.assertRaises(psycopg.errors.QueryCanceled):
            conn.execute(GREETING)
        self.assertTrue(value(f"SELECT pg_cancel_backend({waiting.pid})"))
        with self.assertRaises(psycopg.errors.QueryCanceled):
            waiting.result()
        self.assertEqual(worker_pid(), pid)
        later = self.background(GREETING)
        os.kill(pid, signal.SIGCONT)
        self.assertEqual(later.result(), [(answer,)])
        conn.execute("RESET statement_timeout")
        for each in (conn, waiting.conn):
            self.assertEqual(value(GREETING, each), answer)
        rows += streaming.execute("FETCH ALL FROM c").fetchall()
        self.assertEqual(rows, self.session().execute(f"SELECT * FROM {STREAM}").fetchall())
        streaming.rollback()

    def test_a_backend(self):
        """Its own answer waits for it; others are answered, and end."""
        answer = value(GREETING)
        waiting = self.background(f"SELECT count(*) FROM {STREAM}")
        set_delay(50)
        self.addCleanup(set_delay, 0)
        self.stop(waiting.pid)
        for _ in range(3):
            self.assertEqual(value(GREETING), answer)
        os.kill(waiting.pid, signal.SIGCONT)
        set_delay(0)
        self.assertEqual(waiting.result(), self.session().execute(f"SELECT count(*) FROM {STREAM}").fetchall())


class Killed(unittest.TestCase):
    """In a cluster of their own, as all sessions of the server end with some of it."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster({"shared_preload_libraries": "chatglm", "restart_after_crash": "on", "chatglm.threads": 2})
        cls.addClassCleanup(cls.cluster.remove)
        with cls.cluster.connect() as conn:
            conn.execute("CREATE EXTENSION chatglm")
            conn.execute("CREATE TABLE kept AS SELECT i FROM generate_series(1, 1000) i")
            cls.answer = value(GREETING, conn)

    def setUp(self):
        self.wait_ready()
        self.conn = self.cluster.connect()
        self.addCleanup(lambda: self.conn.close())
        self.pid = health(self.conn)["worker_pid"]

    def delay(self, ms):
        change = "RESET chatglm.debug_step_delay" if ms is None else f"SET chatglm.debug_step_delay = {ms}"
        self.conn.execute(f"ALTER SYSTEM {change}")
        self.conn.execute("SELECT pg_reload_conf()")
        self.cluster.connect().close()      # the postmaster tells the worker before it accepts it

    def connect_again(self):
        try:
            return self.cluster.connect()
        except psycopg.OperationalError:
            return None

    def is_ready(self):
        conn = self.connect_again()
        if conn is None:
            return False
        with conn:
            return value("SELECT glm_ready()", conn)

    def wait_ready(self):
        wait_until(self.is_ready, "the worker is ready")

    def assert_well(self, same_worker=False):
        self.wait_ready()
        with self.cluster.connect() as conn:
            self.assertEqual(value(GREETING, conn), self.answer)
            self.assertEqual(conn.execute("SELECT count(*), sum(i) FROM kept").fetchone(), (1000, 500500))
            self.assertEqual(health(conn)["worker_pid"] == self.pid, same_worker)

    def test_every_thread(self):
        """SIGSEGV, SIGBUS and SIGABRT in each of the engine's threads end the worker alone; in the main one, the server's sessions."""
        names = {}
        for tid in os.listdir(f"/proc/{self.pid}/task"):
            if int(tid) != self.pid:
                with open(f"/proc/{self.pid}/task/{tid}/comm") as comm:
                    names.setdefault(comm.read().strip(), []).append(tid)
        self.assertGreaterEqual(set(names), {"glm engine", "glm intake", "glm compute"})
        for name in sorted(names):
            for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT):
                with self.subTest(thread=name, signal=number.name):
                    signal_thread(self.pid, threads_named(self.pid, name)[0], number)
                    wait_until(lambda: health(self.conn).get("worker_pid") not in (None, self.pid), "a new worker")
                    self.assertEqual(value(GREETING, self.conn), self.answer)   # in a session from before
                    self.assert_well()
                    self.pid = health(self.conn)["worker_pid"]

    def test_signals_that_mean_nothing(self):
        """To the worker: it goes on, and goes back to sleep."""
        for number in (signal.SIGALRM, signal.SIGINT, signal.SIGPIPE, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD, signal.SIGHUP,
                       signal.SIGURG, signal.SIGWINCH, signal.SIGCONT):
            with self.subTest(number.name):
                os.kill(self.pid, number)
                self.assert_well(same_worker=True)
        wait_until(self.sleeps, "it sleeps")

    def sleeps(self):
        """Nothing wakes the worker's main thread for half a second; what it shows it writes once more, a second after a request."""
        def wakes():
            with open(f"/proc/{self.pid}/task/{self.pid}/status") as status:
                return next(line for line in status if line.startswith("voluntary_ctxt_switches"))

        before = wakes()
        time.sleep(0.5)
        return wakes() == before

    def assert_server_restarts(self, pid, number):
        os.kill(pid, number)

        def is_gone():
            try:
                self.conn.execute("SELECT 1")
            except psycopg.OperationalError as error:
                self.assertIn(error.sqlstate, (None, "57P02"))
                return True

        wait_until(is_gone, "the session ends")
        self.assert_well()

    def test_sigstop_of_the_postmaster(self):
        """Sessions go on, their first requests too; who connects waits, and so does who needs a worker that has ended."""
        late = self.cluster.connect()
        self.addCleanup(late.close)
        with open(f"{self.cluster.data}/postmaster.pid") as file:
            postmaster = int(file.readline())
        os.kill(postmaster, signal.SIGSTOP)
        self.addCleanup(os.kill, postmaster, signal.SIGCONT)
        for conn in (self.conn, late):
            self.assertEqual(value(GREETING, conn), self.answer)
        os.kill(self.pid, signal.SIGTERM)
        with open(f"/proc/{self.pid}/stat") as stat:
            wait_until(lambda: stat.seek(0) == 0 and stat.read().rsplit(")", 1)[1].split()[0] == "Z", "the worker has ended")
        found = {}
        threads = [threading.Thread(target=lambda: found.update(late=value(GREETING, late)), daemon=True),
                   threading.Thread(target=lambda: found.update(new=self.cluster.connect()), daemon=True)]
        for thread in threads:
            thread.start()
        asks = f"SELECT state = 'active' AND wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = {late.info.backend_pid}"
        wait_until(lambda: value(asks, self.conn), "it waits for a worker")
        self.assertEqual(found, {})
        os.kill(postmaster, signal.SIGCONT)
        for thread in threads:
            thread.join(PATIENCE)
        self.addCleanup(found["new"].close)
        self.assertEqual(found["late"], self.answer)
        self.assertEqual(value(GREETING, found["new"]), self.answer)
        self.assert_well()

    def test_kill_9_of_the_worker(self):
        self.assert_server_restarts(self.pid, signal.SIGKILL)

    def test_segv_in_the_main_thread(self):
        self.assert_server_restarts(self.pid, signal.SIGSEGV)

    def test_kill_9_of_a_backend(self):
        """As of any backend: the server restarts, and its request is no more."""
        self.delay(HELD)
        waiting = Background(f"SELECT {ENDLESS}", host=self.cluster.base, port=5432, user="postgres", dbname="postgres")
        wait_until(lambda: health(self.conn)["running"] + health(self.conn)["waiting"] > 0, "it runs")
        self.delay(None)
        self.assert_server_restarts(waiting.pid, signal.SIGKILL)
        with self.assertRaises(psycopg.OperationalError):
            waiting.result()
        with self.cluster.connect() as conn:
            self.assertEqual(health(conn)["running"], 0)

    def load(self, n=4):
        """Sessions that ask again and again; -> (over, errors by SQLSTATE, threads)"""
        over, errors = threading.Event(), {}

        def ask():
            while not over.is_set():
                conn = self.connect_again()
                if conn is None:
                    time.sleep(0.02)
                    continue
                try:
                    while not over.is_set():
                        if conn.execute(GREETING).fetchone()[0] != self.answer:
                            errors["another answer"] = errors.get("another answer", 0) + 1
                except psycopg.Error as error:
                    errors[error.sqlstate] = errors.get(error.sqlstate, 0) + 1
                conn.close()

        threads = [threading.Thread(target=ask, daemon=True) for _ in range(n)]
        for thread in threads:
            thread.start()
        return over, errors, threads

    def test_stopping_under_load(self):
        """In every mode; sessions end as they always do, nothing keeps the server from its end, and all is there again."""
        for mode in ("fast", "immediate", "smart"):
            with self.subTest(mode):
                completed = health(self.conn)["completed"]
                over, errors, threads = self.load()
                wait_until(lambda: health(self.conn)["completed"] > completed + 3, "they are answered")
                self.conn.close()
                if mode == "smart":         # which waits for sessions to end by themselves
                    over.set()
                self.cluster.stop(mode)
                self.assertFalse(os.path.exists(f"/proc/{self.pid}"))
                over.set()
                for thread in threads:
                    thread.join()
                self.assertLessEqual(set(errors), {None, "57P01", "57P02", "57P03", "58000"})
                self.cluster.start()
                self.assert_well()
                self.conn = self.cluster.connect()
                self.pid = health(self.conn)["worker_pid"]

    def test_dropping_under_load(self):
        """DROP EXTENSION, DROP DATABASE and ALTER EXTENSION while calls run."""
        self.conn.execute("CREATE DATABASE other")
        other = self.cluster.connect("other")
        other.execute("CREATE EXTENSION chatglm")
        reader = connect(host=self.cluster.base, port=5432, user="postgres", dbname="other", autocommit=False)
        self.addCleanup(reader.close)
        reader.execute(f"DECLARE c CURSOR FOR SELECT * FROM {STREAM}")
        rows = reader.execute("FETCH 1 FROM c").fetchall()
        over, errors, threads = self.load(2)
        other.execute("ALTER EXTENSION chatglm UPDATE")
        other.execute("DROP EXTENSION chatglm")         # functions that run are not locked
        with self.assertRaises(psycopg.errors.UndefinedFunction):
            other.execute(GREETING)
        other.execute("CREATE EXTENSION chatglm")
        self.assertEqual(value(GREETING, other), self.answer)
        rows += reader.execute("FETCH ALL FROM c").fetchall()
        self.assertEqual(rows, other.execute(f"SELECT * FROM {STREAM}").fetchall())
        reader.rollback()
        reader.execute(f"DECLARE c CURSOR FOR SELECT * FROM {STREAM}")
        reader.execute("FETCH 1 FROM c")
        other.close()
        with self.assertRaises(psycopg.errors.ObjectInUse):
            self.conn.execute("DROP DATABASE other")
        self.conn.execute("DROP DATABASE other WITH (FORCE)")
        with self.assertRaises(psycopg.OperationalError) as caught:
            reader.execute("FETCH ALL FROM c")
        self.assertIn(caught.exception.sqlstate, (None, "57P01"))
        over.set()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, {})
        wait_until(lambda: health(self.conn)["running"] == 0, "its request has ended")
        self.assert_well(same_worker=True)

    def test_crash_recovery(self):
        """What was committed before a crash is there after it, with the rows of chatglm's own tables."""
        place = lent(f"{self.cluster.base}/registered")
        self.conn.execute("SELECT glm_model_load('registered', %s)", [place])
        self.conn.execute("CREATE TABLE answers AS SELECT i, glm_generate('hello') FROM generate_series(1, 20) i")
        self.conn.execute("BEGIN")
        self.conn.execute("INSERT INTO answers SELECT i, glm_generate('hello') FROM generate_series(21, 30) i")
        self.conn.execute("SELECT glm_route_set('unsaved', '{\"registered\": 1}')")
        self.cluster.stop("immediate")
        self.conn.close()
        self.cluster.start()
        self.wait_ready()
        with self.cluster.connect() as conn:
            self.assertEqual(conn.execute("SELECT count(*), min(glm_generate), max(glm_generate) FROM answers").fetchone(),
                             (20, self.answer, self.answer))
            self.assertEqual(value("SELECT glm_generate('hello', model => 'registered')", conn), self.answer)
            self.assertEqual(value("SELECT count(*) FROM chatglm.route", conn), 0)
            conn.execute("DROP TABLE answers")
            conn.execute("SELECT glm_model_unregister('registered')")
        self.conn = self.cluster.connect()

    def test_promotion_under_load(self):
        """A standby's worker goes on, with the requests it has, when it becomes a primary."""
        standby = Cluster({"shared_preload_libraries": "chatglm"}, primary=(self.cluster.base, 5432, "postgres"))
        self.addCleanup(standby.remove)
        conn = standby.connect()
        self.addCleanup(conn.close)
        wait_until(lambda: value("SELECT glm_ready()", conn), "the standby's worker is up")
        pid = health(conn)["worker_pid"]
        streaming = connect(host=standby.base, port=5432, user="postgres", dbname="postgres", autocommit=False)
        self.addCleanup(streaming.close)
        streaming.execute(f"DECLARE c CURSOR FOR SELECT * FROM {STREAM}")
        rows = streaming.execute("FETCH 1 FROM c").fetchall()
        value("SELECT pg_promote()", conn)
        wait_until(lambda: not value("SELECT pg_is_in_recovery()", conn), "it is promoted")
        rows += streaming.execute("FETCH ALL FROM c").fetchall()
        self.assertEqual(rows, conn.execute(f"SELECT * FROM {STREAM}").fetchall())
        streaming.rollback()
        self.assertEqual(health(conn)["worker_pid"], pid)
        conn.execute("CREATE TABLE new AS SELECT glm_generate('hello') AS answer")
        self.assertEqual(value("SELECT answer FROM new", conn), self.answer)


class Storage(Case):
    """Files of a model that change under the worker, which has them mapped."""

    def setUp(self):
        super().setUp()
        self.model = directory_for_owner()
        os.rmdir(self.model)
        lent(self.model)
        self.addCleanup(shutil.rmtree, self.model)
        self.sql = "SELECT glm_generate('hello', model => 'changing')"
        self.conn = self.session()
        self.conn.execute("SELECT glm_model_load('changing', %s)", [self.model])
        self.addCleanup(value, "SELECT glm_model_unregister('changing')")
        self.answer = value(self.sql, self.conn)
        self.pid = worker_pid()

    def test_replaced(self):
        """By another file of that name, as tools do it: what is loaded stays what it was, until it is loaded again."""
        config = f"{self.model}/model.safetensors"
        with open(config, "rb") as file:
            weights = file.read()
        with open(config + ".new", "wb") as file:
            file.write(weights[:-4096] + bytes(4096))
        os.chmod(config + ".new", 0o644)
        os.replace(config + ".new", config)
        self.assertEqual(value(self.sql, self.conn), self.answer)
        self.conn.execute("SELECT glm_model_unload('changing')")
        self.assertIsNotNone(value(self.sql, self.conn))
        self.assertEqual(worker_pid(), self.pid)

    def overwrite(self, change):
        """In place, as cp does it: the same file with other contents."""
        with open(f"{self.model}/model.safetensors", "r+b") as file:
            whole = file.read()
            file.seek(0)
            file.write(change(whole))
        return whole

    @staticmethod
    def zeros(whole):
        """Weights of 0 behind the header, which a safetensors file begins with the length of."""
        begin = 8 + int.from_bytes(whole[:8], "little")
        return whole[:begin] + bytes(len(whole) - begin)

    def test_overwritten(self):
        """Its pages are the model's: it answers by what they have now, and nothing else does."""
        set_system("chatglm.huge_pages", "off")
        self.addCleanup(set_system, "chatglm.huge_pages", None)
        value("SELECT 1")
        self.conn.execute("SELECT glm_model_unload('changing')")
        self.assertEqual(value(self.sql, self.conn), self.answer)
        whole = self.overwrite(self.zeros)
        zero = value(self.sql, self.conn)
        self.assertNotEqual(zero, self.answer)
        self.assertEqual(value(GREETING), self.answer)
        self.conn.execute("SELECT glm_model_unload('changing')")
        self.assertEqual(value(self.sql, self.conn), zero)
        self.overwrite(lambda _: whole)
        self.conn.execute("SELECT glm_model_unload('changing')")
        self.assertEqual(value(self.sql, self.conn), self.answer)
        self.assertEqual(worker_pid(), self.pid)

    def test_overwritten_in_huge_pages(self):
        """What has been copied is what it was."""
        maps = f"/proc/{self.pid}/maps"
        wait_until(lambda: f"{self.model}/" not in as_owner("cat", maps), "the weights are copied")
        self.overwrite(self.zeros)
        self.assertEqual(value(self.sql, self.conn), self.answer)
        self.conn.execute("SELECT glm_model_unload('changing')")
        self.assertNotEqual(value(self.sql, self.conn), self.answer)
        self.assertEqual(worker_pid(), self.pid)

    def test_unreadable(self):
        """What is loaded goes on; it cannot be loaded again, and the ERROR says why."""
        os.chmod(f"{self.model}/model.safetensors", 0)
        self.assertEqual(value(self.sql, self.conn), self.answer)
        self.conn.execute("SELECT glm_model_unload('changing')")
        with self.assertRaises(psycopg.errors.InsufficientPrivilege):
            self.conn.execute(self.sql)
        os.chmod(f"{self.model}/model.safetensors", 0o644)
        self.assertEqual(value(self.sql, self.conn), self.answer)
        self.assertEqual(worker_pid(), self.pid)

    def test_removed(self):
        shutil.rmtree(self.model)
        os.mkdir(self.model, 0o755)
        self.assertEqual(value(self.sql, self.conn), self.answer)
        self.conn.execute("SELECT glm_model_unload('changing')")
        with self.assertRaises(psycopg.errors.UndefinedFile):
            self.conn.execute(self.sql)
        self.assertTrue(value(GREETING, self.conn))
        self.assertEqual(worker_pid(), self.pid)


class Heap(Case):
    SIZE = 64 << 20     # that glibc reserves for a thread's heap, at a multiple of it

    def of_threads(self):
        """Where heaps of threads begin: a part in use and the rest, which is reserved."""
        found, begun, end = [], None, None
        with open(f"/proc/{worker_pid()}/maps") as maps:
            for line in maps:
                place, rights, *name = line.split(maxsplit=5)
                start, stop = (int(address, 16) for address in place.split("-"))
                if begun is not None and (start, rights) == (end, "---p") and stop % self.SIZE == 0:
                    found.append(hex(begun))
                begun = start if rights == "rw-p" and start % self.SIZE == 0 else None
                end = stop
        return found

    def test_is_one(self):
        """Threads of requests, loads and quantizations share it: malloc_trim() leaves the ends of theirs alone (worker.c)."""
        place = directory_for_owner()
        self.addCleanup(shutil.rmtree, place)
        conn = self.session()
        conn.execute("SELECT glm_model_unload(name) FROM glm_models WHERE loaded")
        conn.execute(GREETING)
        conn.execute("SELECT glm_quantize('tiny-chatglm3', %s)", [f"{place}/int4"])
        conn.execute("SELECT glm_json('hello', '{\"type\": \"object\"}')")
        self.assertEqual(self.of_threads(), [])


class SharedMemory(unittest.TestCase):
    def test_dev_shm_is_full(self):
        """A session that finds no room for its queues gets 53100; those that have theirs go on."""
        cluster = Cluster({"shared_preload_libraries": "chatglm", "dynamic_shared_memory_type": "mmap"})
        self.addCleanup(cluster.remove)
        place = f"{cluster.data}/pg_dynshmem"
        cluster.stop()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700,uid=%d,gid=%d" % (
            os.stat(cluster.data).st_uid, os.stat(cluster.data).st_gid), "tmpfs", place], capture_output=True, check=False)
        if mounted.returncode != 0:
            self.skipTest(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
        self.addCleanup(subprocess.run, ["umount", "-l", place], check=False)
        cluster.start()
        with cluster.connect() as conn, cluster.connect() as late:
            conn.execute("CREATE EXTENSION chatglm")
            wait_until(lambda: value("SELECT glm_ready()", conn), "the worker is up")
            answer = value(GREETING, conn)
            as_owner("sh", "-c", f"cat /dev/zero > {place}/other", check=False)
            with self.assertRaises(psycopg.errors.DiskFull):
                late.execute(GREETING)
            self.assertEqual(value(GREETING, conn), answer)
            pid = health(conn)["worker_pid"]
            as_owner("rm", f"{place}/other")
            self.assertEqual(value(GREETING, late), answer)
            self.assertEqual(health(conn)["worker_pid"], pid)


if __name__ == "__main__":
    unittest.main()
