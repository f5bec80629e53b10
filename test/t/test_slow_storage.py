"""test_slow_storage.py - a model on storage that hangs, or fails, while it is loaded and after: held_files.py, which needs root and FUSE.

Who needs the model waits and can leave at any time; everybody else is answered, as far as no page is missing that was there.
"""
import os
import shutil
import signal
import unittest

import psycopg

from harness import *
from held_files import HeldFiles

SOURCE = f"{ROOT}/models/tiny-chatglm3"
WEIGHTS = "model.safetensors"
FILES = (("config.json", 0), ("tokenizer.model", 0), (WEIGHTS, 0), (WEIGHTS, 1 << 20))      # and from which byte on
GREETING = "SELECT glm_generate('hello')"
SLOW = "SELECT glm_generate('hello', model => 'slow')"


def mounted(test):
    """-> files of the embedded model, in a file system of their own"""
    place = directory_for_owner()
    test.addCleanup(shutil.rmtree, place, ignore_errors=True)
    os.chmod(place, 0o755)
    files = HeldFiles(SOURCE, place)
    files.mount(test)
    return files


class SlowStorage(Case):
    def setUp(self):
        super().setUp()
        self.files = mounted(self)
        self.conn = self.session()
        self.conn.execute("SELECT glm_model_load('slow', %s)", [self.files.place])
        self.addCleanup(value, "SELECT glm_model_unregister('slow')")
        self.addCleanup(self.files.release)
        self.answer = value(GREETING)
        self.assertEqual(value(SLOW, self.conn), self.answer)
        self.pid = worker_pid()

    def unload(self):
        """Nothing of it is mapped or in the kernel's memory any more."""
        self.files.release()
        self.conn.execute("SELECT glm_model_unload('slow')")
        wait_let_go(worker_pid(), self.files.place)
        for name in os.listdir(SOURCE):
            self.files.drop(name)

    def ask_in_vain(self):
        """A request that the storage holds."""
        waiting = self.background(SLOW)
        wait_until(self.files.is_waited_for, "its file is being read")
        return waiting

    def assert_cancelled(self, waiting):
        value(f"SELECT pg_cancel_backend({waiting.pid})")
        with self.assertRaises(psycopg.errors.QueryCanceled):
            waiting.result()

    def assert_leaves_in_time(self, conn):
        conn.execute("SET statement_timeout = '200ms'")
        with self.assertRaises(psycopg.errors.QueryCanceled):
            conn.execute(SLOW)
        conn.execute("RESET statement_timeout")

    def assert_well(self):
        self.files.release()
        self.assertEqual(value(SLOW, self.conn), self.answer)
        self.assertEqual(worker_pid(), self.pid)
        wait_until(lambda: not threads_named(self.pid, "glm loader"), "no loader is left")

    def test_loading(self):
        """Whatever file it is that does not come."""
        for name, start in FILES:
            with self.subTest(name, start=start):
                self.unload()
                self.files.hold(name, start)
                waiting = self.ask_in_vain()
                self.assertEqual(value(GREETING), self.answer)
                wait_until(lambda: value("SELECT state FROM glm_stat_requests WHERE pid = %d" % waiting.pid) == "loading",
                           "the view tells what it waits for")
                self.assert_cancelled(waiting)
                self.assertEqual(value(GREETING, waiting.conn), self.answer)
                later = self.ask_in_vain()
                self.assert_leaves_in_time(waiting.conn)
                self.files.release()
                self.assertEqual(later.result(), [(self.answer,)])
                self.assert_well()

    def test_failing(self):
        """A file that cannot be read is an error that names it, and nobody else's."""
        for name, start in FILES:
            with self.subTest(name, start=start):
                self.unload()
                self.files.break_file(name, start)
                with self.assertRaisesRegex(psycopg.Error, name) as caught:
                    self.conn.execute(SLOW)
                self.assertIn("Input/output error", str(caught.exception))
                self.assertEqual(caught.exception.sqlstate, "58P01")
                self.assertEqual(value(GREETING), self.answer)
                self.files.mend()
                self.assert_well()

    def from_files(self):
        """Its pages are those of the file from now on, and nobody reads any."""
        set_system("chatglm.huge_pages", "off")
        self.addCleanup(set_system, "chatglm.huge_pages", None)
        value("SELECT 1")           # the postmaster tells the worker before it accepts this connection
        self.unload()
        self.assertEqual(value(SLOW, self.conn), self.answer)
        wait_until(lambda: not threads_named(self.pid, "glm loader"), "no loader is left")
        self.assertIn(f"{self.files.place}/{WEIGHTS}", as_owner("cat", f"/proc/{self.pid}/maps"))

    def test_pages_taken_away(self):
        """They are read again, by a pass, which all wait for; they can leave, and what is left goes on as if nothing had been."""
        self.from_files()
        self.files.drop(WEIGHTS)
        self.files.hold(WEIGHTS)
        waiting = self.ask_in_vain()
        other = self.background(GREETING)
        self.assert_cancelled(waiting)
        self.assert_leaves_in_time(self.session())
        self.files.release()
        self.assertEqual(other.result(), [(self.answer,)])
        self.assert_well()

    def test_pages_taken_away_and_broken(self):
        """As with weights that were cut off: the worker restarts, and the model is an error until its storage is well again."""
        self.from_files()
        self.files.drop(WEIGHTS)
        self.files.break_file(WEIGHTS)
        with self.assertRaisesRegex(psycopg.Error, "worker") as caught:
            self.conn.execute(SLOW)
        self.assertEqual(caught.exception.sqlstate, "58000")
        wait_until(lambda: worker_pid() not in (None, self.pid), "a new worker")
        self.pid = worker_pid()
        self.assertEqual(value(GREETING, self.conn), self.answer)
        with self.assertRaisesRegex(psycopg.Error, WEIGHTS):
            self.conn.execute(SLOW)
        self.files.mend()
        self.assert_well()

    def test_the_worker_ends(self):
        """It does not wait for its loader."""
        self.unload()
        self.files.hold(WEIGHTS)
        waiting = self.ask_in_vain()
        os.kill(self.pid, signal.SIGTERM)
        with self.assertRaisesRegex(psycopg.Error, "worker"):
            waiting.result()
        wait_until(lambda: worker_pid() not in (None, self.pid), "a new worker")
        self.pid = worker_pid()
        self.assertEqual(value(GREETING, waiting.conn), self.answer)
        self.assert_well()


class Stopping(unittest.TestCase):
    def test_while_a_model_is_loaded(self):
        """Nothing keeps the server from its end."""
        files = mounted(self)
        cluster = Cluster({"shared_preload_libraries": "chatglm"})
        self.addCleanup(cluster.remove)
        with cluster.connect() as conn:
            conn.execute("CREATE EXTENSION chatglm")
            wait_until(lambda: value("SELECT glm_ready()", conn), "the worker is up")
            conn.execute("SELECT glm_model_load('slow', %s)", [files.place])
            conn.execute("SELECT glm_model_unload('slow')")
        for mode in ("fast", "immediate"):
            with self.subTest(mode):
                with cluster.connect() as conn:
                    pid = health(conn)["worker_pid"]
                wait_let_go(pid, files.place)
                files.drop(WEIGHTS)
                files.hold(WEIGHTS)
                waiting = Background(SLOW, host=cluster.base, port=5432, user="postgres", dbname="postgres")
                wait_until(files.is_waited_for, "its file is being read")
                cluster.stop(mode)
                with self.assertRaises(psycopg.OperationalError):
                    waiting.result()
                self.assertFalse(os.path.exists(f"/proc/{pid}"))
                files.release()
                cluster.start()
                with cluster.connect() as conn:
                    wait_until(lambda: value("SELECT glm_ready()", conn), "the worker is up")
                    self.assertEqual(value(SLOW, conn), value(GREETING, conn))
                    conn.execute("SELECT glm_model_unload('slow')")


if __name__ == "__main__":
    unittest.main()
