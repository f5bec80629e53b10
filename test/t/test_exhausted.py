"""test_exhausted.py - the worker has no descriptor, no thread or no address left to take: prlimit(1) of it, while it runs.

Who needs one gets an ERROR; everybody else goes on, and so do they when there are some again.
"""
import os
import shutil
import subprocess
import unittest

import psycopg

from harness import *

GREETING = "SELECT glm_generate('hello')"
COLD = "SELECT glm_generate('hello', model => 'cold')"
LONG_TEXT = "SELECT glm_count_tokens(repeat('hello ', 20000))"


class Exhausted(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster({"shared_preload_libraries": "chatglm", "chatglm.threads": 2})
        cls.addClassCleanup(cls.cluster.remove)
        with cls.cluster.connect() as conn:
            wait_until(lambda: conn.execute("CREATE EXTENSION IF NOT EXISTS chatglm"), "the server is up")
            wait_until(lambda: value("SELECT glm_ready()", conn), "the worker is up")
            place = f"{cls.cluster.base}/cold"
            shutil.copytree(f"{ROOT}/models/tiny-chatglm3", place)
            subprocess.run(["chmod", "-R", "a+rX", place], check=True)
            conn.execute("SELECT glm_model_load('cold', %s)", [place])
            cls.answer, cls.long = value(GREETING, conn), value(LONG_TEXT, conn)

    def setUp(self):
        self.conn, self.late = self.cluster.connect(), self.cluster.connect()
        self.addCleanup(self.conn.close)
        self.addCleanup(self.late.close)
        self.conn.execute("SELECT glm_model_unload('cold')")
        self.assertEqual(value(GREETING, self.conn), self.answer)       # has its line to the worker
        self.pid = health(self.conn)["worker_pid"]
        maps = f"/proc/{self.pid}/maps"
        wait_until(lambda: "/cold/" not in as_owner("cat", maps) and not threads_named(self.pid, "glm loader"),
                   "it is unloaded")

    def limit(self, what, most):
        before = as_owner("prlimit", f"--pid={self.pid}", f"--{what}", "--output=SOFT", "--noheadings").strip()
        as_owner("prlimit", f"--pid={self.pid}", f"--{what}={most}:")
        self.addCleanup(as_owner, "prlimit", f"--pid={self.pid}", f"--{what}={before}:")

    def lift(self):
        self.doCleanups()
        self.conn, self.late = self.cluster.connect(), self.cluster.connect()
        self.addCleanup(self.conn.close)
        self.addCleanup(self.late.close)

    def assert_fails(self, conn, sql, state):
        with self.assertRaises(psycopg.Error) as caught:
            conn.execute(sql)
        self.assertEqual(caught.exception.sqlstate, state, caught.exception)

    def assert_well(self):
        for conn in (self.conn, self.late):
            self.assertEqual(value(GREETING, conn), self.answer)
            self.assertEqual(value(COLD, conn), self.answer)
            self.assertEqual(value(LONG_TEXT, conn), self.long)
        self.assertEqual(health(self.conn)["worker_pid"], self.pid)

    def test_descriptors(self):
        """A new session needs one in the worker, and a model does."""
        taken = {int(fd) for fd in as_owner("ls", f"/proc/{self.pid}/fd").split()}
        self.limit("nofile", min(set(range(len(taken) + 1)) - taken))
        self.assert_fails(self.late, GREETING, "58000")
        self.assert_fails(self.conn, COLD, "58P01")
        self.assertEqual(value(GREETING, self.conn), self.answer)
        self.assertIn("Too many open files", self.cluster.log())
        self.lift()
        self.assert_well()

    def test_threads(self):
        """A model that is to be loaded needs one; a long text would have a lane of its own, and goes on in the one that there is."""
        if as_owner("id", "-u").strip() == "0":
            self.skipTest("the kernel does not count root's threads")
        self.limit("nproc", 1)
        self.assert_fails(self.conn, COLD, "53200")
        self.assert_fails(self.conn, f"SELECT glm_quantize('tiny-chatglm3', '{self.cluster.base}/packed')", "53200")
        for conn in (self.late, self.conn):
            self.assertEqual(value(LONG_TEXT, conn), self.long)
            self.assertEqual(value(GREETING, conn), self.answer)
        self.assertFalse(os.path.exists(f"{self.cluster.base}/packed"))
        self.lift()
        self.assert_well()

    def test_addresses(self):
        """What does not fit is refused; what fits is not disturbed."""
        with open(f"/proc/{self.pid}/statm") as statm:
            taken = int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        self.limit("as", taken + (4 << 20))
        self.assert_fails(self.conn, COLD, "53200")
        self.assertEqual(value(GREETING, self.conn), self.answer)
        self.assertEqual(value(GREETING, self.late), self.answer)
        self.lift()
        self.assert_well()


if __name__ == "__main__":
    unittest.main()
