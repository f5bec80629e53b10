"""test_faults.py - the worker breaks: requests in flight get an ERROR, nobody else notices, it comes back.

A fault is injected with tgkill(2) into the engine's threads, or made by
cutting a weight file off under the running worker, which the kernel answers
with SIGBUS.
"""
import os
import shutil
import signal
import unittest

import psycopg

from harness import *

GREETING = "SELECT glm_generate('hello')"


class Faults(Case):
    delay = HELD

    def setUp(self):
        super().setUp()
        self.pid = worker_pid()
        self.bystander = self.session()
        self.bystander.execute("CREATE TEMP TABLE kept AS SELECT 42 AS answer")
        self.bystander.execute("SELECT pg_advisory_lock(1)")
        self.sleeper = self.background("SELECT pg_advisory_lock_shared(1), 'slept'")

    def assert_survived(self):
        """A new worker comes; sessions that did not wait for the old one live on."""
        wait_until(lambda: worker_pid() not in (None, self.pid), "a new worker")
        set_delay(0)
        self.assertTrue(self.sleeper.is_alive())
        self.bystander.execute("SELECT pg_advisory_unlock(1)")
        self.assertEqual(self.sleeper.result()[0][1], "slept")
        self.assertEqual(value("SELECT answer FROM kept", self.bystander), 42)
        self.assertTrue(value(GREETING, self.bystander))

    def assert_lost(self, waiting):
        with self.assertRaisesRegex(psycopg.Error, "worker") as caught:
            waiting.result()
        self.assertNotIsInstance(caught.exception, psycopg.errors.QueryCanceled)
        # the session itself is as good as before, and so is its next request
        set_delay(0)
        self.assertTrue(value(GREETING, waiting.conn))

    def strike(self, thread, signum):
        waiting = self.background(f"SELECT {GENERATE}")
        stream = self.background(f"SELECT * FROM {STREAM}")
        self.wait_running(2)
        tids = threads_named(self.pid, thread)
        self.assertTrue(tids, f"a thread named {thread}")
        signal_thread(self.pid, tids[0], signum)
        self.assert_lost(waiting)
        self.assert_lost(stream)
        self.assert_survived()

    def test_segv_in_the_engine_thread(self):
        self.strike("glm engine", signal.SIGSEGV)

    def test_bus_in_the_engine_thread(self):
        self.strike("glm engine", signal.SIGBUS)

    def test_fpe_in_the_front_thread(self):
        self.strike("glm intake", signal.SIGFPE)

    @unittest.skipUnless(len(os.sched_getaffinity(0)) > 1, "one core: no compute thread beside the engine's")
    def test_segv_in_a_compute_thread(self):
        self.strike("glm compute", signal.SIGSEGV)

    def test_segv_while_idle(self):
        signal_thread(self.pid, threads_named(self.pid, "glm engine")[0], signal.SIGSEGV)
        self.assert_survived()
        self.assertIn("SEGV", health()["last_error"].upper())

    def test_worker_terminated(self):
        waiting = self.background(f"SELECT {GENERATE}")
        self.wait_running()
        os.kill(self.pid, signal.SIGTERM)
        self.assert_lost(waiting)
        self.assert_survived()


class CutOffWeights(Case):
    """A model's file is truncated while the worker has it mapped."""

    def lent(self):
        model = directory_for_owner()
        self.addCleanup(shutil.rmtree, model)
        for name in os.listdir(f"{ROOT}/models/tiny-chatglm3"):
            shutil.copy(f"{ROOT}/models/tiny-chatglm3/{name}", model)
        as_owner("test", "-r", f"{model}/config.json")
        conn = self.session()
        conn.execute("SELECT glm_model_load('cut_off', %s)", [model])
        self.addCleanup(value, "SELECT glm_model_unregister('cut_off')")
        sql = "SELECT glm_generate('hello', model => 'cut_off')"
        self.assertEqual(value(sql, conn), value(GREETING))
        return model, conn, sql

    def test_truncated_in_huge_pages(self):
        """What has been copied does not need the file any more."""
        model, conn, sql = self.lent()
        pid = worker_pid()

        def is_copied():
            with open(f"/proc/{pid}/maps") as maps:
                return not any(f"{model}/" in line for line in maps)

        wait_until(is_copied, "the weights are copied")
        os.truncate(f"{model}/model.safetensors", 65536)
        self.assertEqual(value(sql, conn), value(GREETING))
        self.assertEqual(worker_pid(), pid)

    def test_truncated_under_the_worker(self):
        set_system("chatglm.huge_pages", "off")
        self.addCleanup(set_system, "chatglm.huge_pages", None)
        value("SELECT 1")
        model, conn, sql = self.lent()
        pid = worker_pid()
        os.truncate(f"{model}/model.safetensors", 65536)
        with self.assertRaisesRegex(psycopg.Error, "worker"):
            conn.execute(sql)
        wait_until(lambda: worker_pid() not in (None, pid), "a new worker")
        self.assertTrue(value(GREETING, conn))
        # the new worker sees what has become of the file before it maps a tensor
        with self.assertRaisesRegex(psycopg.Error, "model.safetensors"):
            conn.execute(sql)
        self.assertTrue(value(GREETING, conn))
        self.assertNotEqual(worker_pid(), pid)


if __name__ == "__main__":
    unittest.main()
