#!/usr/bin/python3
"""What a glm_quantize job takes, through SQL: time, memory of the worker, cores, and how soon a cancel ends it.

    quantizing.py SOURCE [OPTIONS]     a model directory that the server may read; glm_quantize's options as JSON

    build/bench/make_random_model bits=16 /tmp/6b-f16          12.5 GB, of ChatGLM3-6B's shape
    test/bench/quantizing.py /tmp/6b-f16
    test/bench/quantizing.py /tmp/6b-f16 '{"method": "gptq", "max_calibration_tokens": 4096}'

Runs in the cluster that PGHOST and friends name (eval "$(test/cluster.sh env)"), as a superuser who may look into the
worker's /proc (root, or the server's user), beside which the packed copy must find room.  Prints a Markdown table and
removes what it made.  Calibration texts for gptq are training rows of the embedded model, as many as the tokens ask for.

A job is nice: whatever else the machine does takes its cores.  So beside the cores that it got stand those that it asked
for, that is with the time its threads spent in the run queue.
"""
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time

import psycopg

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "test", "bench"))

import quantization             # noqa: E402  (beside this file)

SAMPLE_S = 0.02
CANCELS = (0.5, 2, 4)           # percent of the work at which a job is cancelled


class Worker:
    """The worker process as the kernel sees it."""

    def __init__(self, pid):
        self.pid = pid

    def memory_mb(self):
        """Anonymous memory, and that with mapped files and shared memory."""
        with open(f"/proc/{self.pid}/status") as status:
            kb = {line.split(":")[0]: int(line.split()[1]) for line in status if line.startswith(("RssAnon", "VmRSS"))}
        return kb["RssAnon"] / 1024, kb["VmRSS"] / 1024

    def threads(self):
        """Seconds that each thread ran, and that it waited for a core."""
        found = {}
        for tid in os.listdir(f"/proc/{self.pid}/task"):
            try:
                with open(f"/proc/{self.pid}/task/{tid}/schedstat") as schedstat:
                    found[tid] = [int(ns) / 1e9 for ns in schedstat.read().split()[:2]]
            except FileNotFoundError:   # it has ended
                pass
        return found


def cores(before, now, seconds):
    """Cores that the threads had in between, and cores that they wanted; threads that ended are left out."""
    ran, waited = [sum(times[i] - before.get(tid, (0, 0))[i] for tid, times in now.items()) for i in (0, 1)]
    return ran / seconds, (ran + waited) / seconds


class Job(threading.Thread):
    """One call of glm_quantize in a session of its own."""

    def __init__(self, source, target, options):
        super().__init__(daemon=True)
        self.arguments = [source, target, json.dumps(options)]
        self.conn = psycopg.connect(autocommit=True)
        self.rows, self.error, self.end = None, None, None
        self.start()

    def run(self):
        try:
            self.rows = self.conn.execute("SELECT * FROM glm_quantize(%s, %s, %s)", self.arguments).fetchall()
        except psycopg.Error as error:
            self.error = error
        self.end = time.monotonic()


class Bench:
    def __init__(self, source, options):
        self.source, self.options = os.path.realpath(source), options
        if options.get("method") == "gptq" and "calibration" not in options:
            # a row has 60 tokens or more
            self.options = {**options, "calibration": quantization.training_rows(
                options.get("max_calibration_tokens", 16384) // 60 + 1)}
        self.conn = psycopg.connect(autocommit=True)
        self.worker = Worker(self.value("SELECT glm_health()")["worker_pid"])
        self.place = tempfile.mkdtemp(prefix="chatglm-bench-", dir=os.path.dirname(os.environ["PGHOST"]))
        if os.getuid() == 0:
            shutil.chown(self.place, "postgres")

    def value(self, sql):
        row = self.conn.execute(sql).fetchone()
        return row[0] if row else None

    def start(self):
        return Job(self.source, f"{self.place}/packed", self.options)

    def whole(self):
        """One job from end to end, looked at while it runs."""
        idle = self.worker.memory_mb()
        at = start = time.monotonic()
        before, peaks, seconds, phase = self.worker.threads(), {}, [], "opening"
        job = self.start()
        while job.is_alive():
            time.sleep(SAMPLE_S)
            peaks[phase] = [max(pair) for pair in zip(self.worker.memory_mb(), peaks.get(phase, (0, 0)))]
            if time.monotonic() - at >= 1:
                now, threads = time.monotonic(), self.worker.threads()
                seconds.append(cores(before, threads, now - at))
                at, before = now, threads
                phase = self.value("SELECT phase FROM glm_stat_progress") or phase
        if job.error is not None:
            raise job.error
        self.row("whole job", f"{job.end - start:.0f} s, {job.rows[-1][2]:.3f} bits a weight")
        if seconds:
            had, wanted = [statistics.median(values) for values in zip(*seconds)]
            self.row("cores, median of seconds: had; asked for", f"{had:.2f}; {wanted:.2f}")
        self.row("worker idle: anonymous; resident", f"{idle[0]:.0f}; {idle[1]:.0f} MB")
        for name, (anonymous, resident) in peaks.items():
            self.row(f"at most while {name}: anonymous; resident", f"{anonymous:.0f}; {resident:.0f} MB")
        self.row("afterwards: anonymous", f"{self.worker.memory_mb()[0]:.0f} MB")
        shutil.rmtree(f"{self.place}/packed")

    def cancelled(self, percent):
        """Milliseconds from a cancel to its ERROR, and what was going on."""
        job = self.start()
        while (self.value("SELECT percent FROM glm_stat_progress") or 0) < percent:
            if not job.is_alive():
                raise SystemExit(f"ended before {percent} %: {job.error}")
            time.sleep(SAMPLE_S)
        doing = self.value("SELECT phase || ' ' || coalesce(tensor, '') FROM glm_stat_progress")
        start = time.monotonic()
        self.value(f"SELECT pg_cancel_backend({job.conn.info.backend_pid})")
        job.join()
        if not isinstance(job.error, psycopg.errors.QueryCanceled):
            raise SystemExit(f"not cancelled: {job.error}")
        while self.value("SELECT count(*) FROM glm_stat_progress") or os.listdir(self.place):
            time.sleep(0.001)
        gone = time.monotonic()
        self.row(f"cancel in {doing}: ERROR; job and files gone",
                 f"{(job.end - start) * 1e3:.0f}; {(gone - start) * 1e3:.0f} ms")

    def row(self, what, figure):
        print(f"| {what} | {figure} |", flush=True)

    def close(self):
        self.conn.close()
        shutil.rmtree(self.place)


def main():
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    bench = Bench(sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {})
    try:
        print("| what | figure |\n|---|---|")
        bench.whole()
        for percent in CANCELS:
            bench.cancelled(percent)
    finally:
        bench.close()


if __name__ == "__main__":
    main()
