"""test_memory_limit.py - the worker in a control group with little memory: the kernel's OOM killer itself, and what it leaves.

It needs the right to make a group below or beside our own, of version 1 or 2, and is skipped with the reason elsewhere.
"""
import os
import shutil
import subprocess
import sys
import unittest

import psycopg

from harness import *

GREETING = "SELECT glm_generate('hello')"
LIMITED = "SELECT glm_generate('hello', model => 'limited')"
LARGE = "SELECT glm_count_tokens(repeat('hello ', 100000))"
LARGER = "SELECT glm_count_tokens(repeat('hello ', 1000000))"
ROOM = 128 << 10            # bytes; LARGER takes much more, even where the worker keeps what LARGE took
GROUP, TAKEN = 128 << 20, 100 << 20         # less than a quarter is left, and much more than the weights take
HOLDER = """if True:
    import os, sys
    with open(sys.argv[1], "w") as file:
        file.write(str(os.getpid()))
    taken = b"x" * int(sys.argv[2])
    print("taken", flush=True)
    sys.stdin.read()
"""


def mount_of(kind, option):
    """Where control groups of this kind are mounted; None: nowhere."""
    with open("/proc/self/mounts") as mounts:
        for line in mounts:
            _, place, found, options, *_ = line.split()
            if found == kind and (option is None or option in options.split(",")):
                return place
    return None


def own_group(controllers):
    with open("/proc/self/cgroup") as groups:
        return next((line.strip().split(":", 2)[2] for line in groups if line.split(":", 2)[1] == controllers), None)


def read(path):
    with open(path) as file:
        return file.read()


class Group:
    """A control group with a limit of memory; `place` is its directory."""

    def __init__(self, test):
        self.make(test)
        test.addCleanup(os.rmdir, self.place)

    def make(self, test):
        first, second = mount_of("cgroup", "memory"), mount_of("cgroup2", None)
        self.version = 1 if first else 2
        try:
            if first:
                parent = first + own_group("memory")
            elif second:            # beside ours: a group that hands memory down has no processes
                group = second + own_group("")
                parent = group if group == f"{second}/" else os.path.dirname(group)
                if "memory" not in read(f"{parent}/cgroup.subtree_control").split():
                    test.skipTest(f"{parent} does not hand down the memory controller")
            else:
                test.skipTest("no control groups are mounted here")
            self.place = f"{parent}/chatglm-{os.getpid()}"
            os.mkdir(self.place)
        except OSError as error:
            test.skipTest(f"no control group can be made here: {error}")

    def write(self, name, what):
        with open(f"{self.place}/{name}", "w") as file:
            file.write(str(what))

    def limit(self, room):
        """So much more than it has now."""
        used, most = ("memory.usage_in_bytes", "memory.limit_in_bytes") if self.version == 1 else ("memory.current", "memory.max")
        if os.path.exists(f"{self.place}/memory.swap.max"):
            self.write("memory.swap.max", 0)
        self.write(most, int(read(f"{self.place}/{used}")) + room)

    def kills(self):
        """How often the kernel ended a process of it."""
        found = read(f"{self.place}/" + ("memory.oom_control" if self.version == 1 else "memory.events"))
        return int(next(line.split()[1] for line in found.splitlines() if line.startswith("oom_kill ")))


class MemoryLimit(unittest.TestCase):
    def setUp(self):
        self.group = Group(self)
        self.cluster = Cluster({"shared_preload_libraries": "chatglm", "restart_after_crash": "on", "chatglm.threads": 2})
        self.addCleanup(self.cluster.remove)
        self.conn = self.cluster.connect()
        self.addCleanup(lambda: self.conn.close())
        self.conn.execute("CREATE EXTENSION chatglm")
        self.conn.execute("CREATE TABLE kept AS SELECT i FROM generate_series(1, 1000) i")
        wait_until(lambda: value("SELECT glm_ready()", self.conn), "the worker is up")
        self.answer, self.large = value(GREETING, self.conn), value(LARGE, self.conn)
        self.pid = health(self.conn)["worker_pid"]

    def session(self):
        try:
            return self.cluster.connect()
        except psycopg.OperationalError:
            return None

    def is_ready(self):
        conn = self.session()
        if conn is None:
            return False
        with conn:
            return value("SELECT glm_ready()", conn)

    def test_oom_killer(self):
        """As kill -9 of any process of the server: sessions end, what was committed is there, and all are served again."""
        other = self.cluster.connect()
        self.addCleanup(other.close)
        self.group.write("cgroup.procs", self.pid)
        self.assertEqual(value(GREETING, other), self.answer)
        self.group.limit(ROOM)
        self.assertEqual(value(GREETING, other), self.answer)       # what little it takes, it gets
        self.assertEqual(self.group.kills(), 0)
        for conn, sql in ((self.conn, LARGER), (other, "SELECT 1")):
            with self.assertRaises(psycopg.OperationalError) as caught:
                conn.execute(sql)
                wait_until(lambda: conn.execute("SELECT 1") is None, "the session ends", 60)
            self.assertIn(caught.exception.sqlstate, (None, "57P02"))
        self.assertEqual(self.group.kills(), 1)
        wait_until(self.is_ready, "the worker is ready")
        with self.cluster.connect() as conn:
            self.assertNotEqual(health(conn)["worker_pid"], self.pid)
            self.assertEqual(conn.execute("SELECT count(*), sum(i) FROM kept").fetchone(), (1000, 500500))
            self.assertEqual(value(GREETING, conn), self.answer)
            self.assertEqual(value(LARGE, conn), self.large)        # outside the group

    def is_copied(self, model):
        """To memory of its own: no page of its files is mapped any more."""
        return f"{model}/" not in as_owner("cat", f"/proc/{self.pid}/maps")

    def test_huge_pages(self):
        """Weights are copied to them where a quarter of the group's memory stays free, as much of the machine's as there may be."""
        model = directory_for_owner()
        self.addCleanup(shutil.rmtree, model)
        shutil.copytree(f"{ROOT}/models/tiny-chatglm3", model, dirs_exist_ok=True)
        subprocess.run(["chmod", "-R", "a+rX", model], check=True)
        self.group.write("cgroup.procs", self.pid)
        self.group.limit(GROUP)
        with subprocess.Popen([sys.executable, "-c", HOLDER, f"{self.group.place}/cgroup.procs", str(TAKEN)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            self.assertEqual(holder.stdout.readline(), "taken\n")
            self.conn.execute("SELECT glm_model_load('limited', %s)", [model])
            self.assertEqual(value(LIMITED, self.conn), self.answer)
            wait_until(lambda: not threads_named(self.pid, "glm loader"), "no loader is left")
            self.assertFalse(self.is_copied(model))
            self.conn.execute("SELECT glm_model_unload('limited')")
            holder.communicate()
        wait_until(lambda: self.is_copied(model), "it is closed")
        self.conn.execute("SELECT glm_model_load('limited', %s)", [model])
        self.assertEqual(value(LIMITED, self.conn), self.answer)
        wait_until(lambda: self.is_copied(model), "the weights are copied")
        self.assertEqual(self.group.kills(), 0)


if __name__ == "__main__":
    unittest.main()
