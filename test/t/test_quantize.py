"""test_quantize.py - glm_quantize interrupted: cancelled, killed, out of space; nothing half-made stays."""
import json
import os
import shutil
import signal
import subprocess
import unittest

import psycopg

from harness import *

# Tokens enough for calibration to take many seconds.
SLOW = json.dumps({"calibration_query": "SELECT repeat('The colour of this lamp is not what I ordered. ', 150) "
                                        "FROM generate_series(1, 200)", "max_calibration_tokens": 200000})


def busiest(pid, tids):
    """The thread with most CPU time: OpenBLAS has threads that do nothing and inherited the job's name."""
    def ticks(tid):
        with open(f"/proc/{pid}/task/{tid}/stat") as stat:
            return int(stat.read().rsplit(")", 1)[1].split()[11])

    return max(tids, key=ticks)


class Quantize(Case):
    def setUp(self):
        super().setUp()
        self.place = directory_for_owner()
        self.addCleanup(shutil.rmtree, self.place)
        self.target = f"{self.place}/packed"

    def quantize(self, options="{}", target=None):
        literal = options.replace("'", "''")
        return f"SELECT * FROM glm_quantize('tiny-chatglm3', '{target or self.target}', '{literal}')"

    def start(self):
        """Starts a job in the background and waits until it is at work."""
        running = self.background(self.quantize(SLOW))
        wait_until(lambda: value("SELECT count(*) FROM glm_stat_progress WHERE phase = 'calibrating' AND percent < 100"),
                   "the job is at work")
        self.assertEqual(len(self.left()), 1)
        return running

    def left(self):
        return os.listdir(self.place)

    def assert_nothing_left(self):
        wait_until(lambda: not self.left() and value("SELECT count(*) = 0 FROM glm_stat_progress"), "the job is gone")

    def test_calibration_from_no_regular_file(self):
        """Such are refused at once: opening a FIFO would wait for a writer, /dev/zero has no end."""
        fifo = f"{self.place}/fifo"
        link = f"{self.place}/link"
        as_owner("mkfifo", fifo)
        as_owner("ln", "-s", fifo, link)
        with connect() as conn:
            conn.execute("SET statement_timeout = '60s'")
            for path in (fifo, link, "/dev/zero", "/dev/null", self.place, "/proc/self/fd"):
                with self.subTest(path):
                    with self.assertRaisesRegex(psycopg.errors.WrongObjectType, "is not a regular file"):
                        conn.execute(self.quantize(json.dumps({"calibration_file": path})))
        os.remove(link)
        os.remove(fifo)
        self.assert_nothing_left()

    def test_calibration_lines(self):
        """Lines however long, with any end, and none that is empty."""
        def calibrate(content):
            with open(f"{self.place}/texts", "wb") as file:
                file.write(content)
            os.chmod(f"{self.place}/texts", 0o644)
            try:
                return value(self.quantize(json.dumps({"calibration_file": f"{self.place}/texts"}))
                             .replace("*", "max(perplexity_before)"))
            finally:
                os.remove(f"{self.place}/texts")
                shutil.rmtree(self.target, ignore_errors=True)

        line = b"The colour of this lamp is not what I ordered. " * 300
        known = calibrate(line + b"\nGood.\n")
        self.assertEqual(known, calibrate(b"\r\n\n" + line + b"\r\n\n\nGood."))
        self.assertNotEqual(known, calibrate(line + b"\n"))
        for broken in (b"a\0b\n", b"a\0\n", b"\0" * 100000, b"\xff\n"):
            with self.subTest(broken[:5]):
                with self.assertRaises(psycopg.errors.CharacterNotInRepertoire):
                    calibrate(broken)
        with self.assertRaisesRegex(psycopg.errors.InvalidParameterValue, "no calibration texts"):
            calibrate(b"\n\r\n")

    def test_cancelled_by_its_session(self):
        running = self.start()
        value(f"SELECT pg_cancel_backend({running.pid})")
        with self.assertRaises(psycopg.errors.QueryCanceled):
            running.result()
        self.assert_nothing_left()
        self.assertEqual(len(value(self.quantize().replace("*", "array_agg(method)"))), 39)

    def test_cancelled_by_id(self):
        running = self.start()
        self.assertTrue(value("SELECT glm_cancel(request_id) FROM glm_stat_progress"))
        with self.assertRaises(psycopg.errors.QueryCanceled):
            running.result()
        self.assert_nothing_left()

    def test_serving_goes_on_and_a_second_job_waits_for_nobody(self):
        running = self.start()
        self.assertTrue(value("SELECT glm_generate('hello')"))
        with self.assertRaises(psycopg.errors.ConfigurationLimitExceeded):
            value(self.quantize(target=f"{self.place}/other"))
        row = self.session().execute("SELECT source, target, pid, bytes_done < bytes_total, elapsed_s > 0 "
                                     "FROM glm_stat_progress").fetchone()
        self.assertEqual(row, ("tiny-chatglm3", self.target, running.pid, True, True))
        value(f"SELECT pg_terminate_backend({running.pid})")
        self.assert_nothing_left()

    def test_worker_dies_in_the_middle(self):
        running = self.start()
        pid = worker_pid()
        signal_thread(pid, busiest(pid, threads_named(pid, "glm quantize")), signal.SIGSEGV)
        with self.assertRaisesRegex(psycopg.Error, "worker"):
            running.result()
        wait_until(lambda: worker_pid() not in (None, pid), "a new worker")
        self.assert_nothing_left()
        value(self.quantize())
        self.assertEqual(self.left(), ["packed"])

    def test_fault_in_a_thread_of_a_library(self):
        """OpenBLAS's ones, which do nothing for us, take down the worker at most, as ours do."""
        sleeper = self.session()
        sleeper.execute("CREATE TEMP TABLE kept AS SELECT 42 AS answer")
        running = self.start()
        pid = worker_pid()
        tids = threads_named(pid, "glm quantize")
        idle = [tid for tid in tids if tid != busiest(pid, tids)]
        if not idle:
            self.skipTest("this OpenBLAS has no threads of its own here")
        signal_thread(pid, idle[0], signal.SIGSEGV)
        with self.assertRaisesRegex(psycopg.Error, "worker"):
            running.result()
        wait_until(lambda: worker_pid() not in (None, pid), "a new worker")
        self.assertEqual(value("SELECT answer FROM kept", sleeper), 42)
        self.assert_nothing_left()

    def test_worker_is_stopped(self):
        """By a SIGTERM, as at a shutdown: the job ends with it, and takes its files along."""
        running = self.start()
        pid = worker_pid()
        os.kill(pid, signal.SIGTERM)
        with self.assertRaisesRegex(psycopg.Error, "worker"):
            running.result()
        wait_until(lambda: worker_pid() not in (None, pid), "a new worker")
        self.assert_nothing_left()

    def test_target_exists(self):
        value(self.quantize())
        before = sorted(os.listdir(self.target))
        with self.assertRaises(psycopg.errors.DuplicateFile):
            value(self.quantize())
        self.assertEqual(sorted(os.listdir(self.target)), before)
        self.assertEqual(self.left(), ["packed"])

    def test_no_parent(self):
        with self.assertRaisesRegex(psycopg.Error, "nonexistent"):
            value(self.quantize(target=f"{self.place}/nonexistent/packed"))

    def small_disk(self, size):
        small = f"{self.place}/small"
        os.mkdir(small)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", small],
                                 capture_output=True, check=False)
        if mounted.returncode != 0:
            self.skipTest(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
        self.addCleanup(subprocess.run, ["umount", small], check=True)
        return small

    @unittest.skipUnless(os.getuid() == 0, "only root can mount a file system that is too small")
    def test_too_little_space(self):
        small = self.small_disk("512k")
        with self.assertRaisesRegex(psycopg.errors.DiskFull, "the model will take"):
            value(self.quantize(target=f"{small}/packed"))
        wait_until(lambda: not os.listdir(small), "nothing is left")

    @unittest.skipUnless(os.getuid() == 0, "only root can mount a file system that is too small")
    def test_no_space_left(self):
        """Others fill the disk while the job is at work."""
        small = self.small_disk("4m")
        slow = json.dumps({**json.loads(SLOW), "max_calibration_tokens": 20000})
        running = self.background(self.quantize(slow, f"{small}/packed"))
        wait_until(lambda: os.listdir(small) or not running.is_alive(), "the job has begun to write")
        with open(f"{small}/other", "wb", buffering=0) as other, self.assertRaises(OSError):
            while True:
                other.write(bytes(4096))
        with self.assertRaisesRegex(psycopg.errors.DiskFull, "write file"):
            running.result()
        wait_until(lambda: os.listdir(small) == ["other"], "only the other's file is left")

    def test_long_name_in_the_progress(self):
        """It is cut between characters, so that the view can show it."""
        name = "a" + "模型" * 40
        source = f"{self.place}/{name}"
        shutil.copytree(f"{ROOT}/models/tiny-chatglm3", source)
        subprocess.run(["chmod", "-R", "a+rX", source], check=True)
        running = self.background(self.quantize(SLOW).replace("tiny-chatglm3", source))
        shown = wait_until(lambda: self.session().execute("SELECT source FROM glm_stat_progress").fetchone(),
                           "the job is at work")
        self.assertEqual(shown[0], name[:21])
        value(f"SELECT pg_terminate_backend({running.pid})")
        wait_until(lambda: self.left() == [name], "only the source is left")


if __name__ == "__main__":
    unittest.main()
