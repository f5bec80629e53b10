#!/usr/bin/python3
"""How long nobody is answered: from a fault of the worker, and from a new worker's start, to ready and to an answer.

    ready.py [--times N]

Makes a cluster of its own with the embedded model and an idle session that asks glm_ready() every two milliseconds, over
and over. Prints for each fault the median and the worst of N, in milliseconds. A worker's start is what the kernel knows
of its process, to 10 ms.
"""
import argparse
import os
import signal
import statistics
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "test", "t"))
from harness import Cluster, signal_thread, threads_named  # noqa: E402
import psycopg  # noqa: E402

SETTINGS = {"shared_preload_libraries": "chatglm"}


def one(conn, sql):
    return conn.execute(sql).fetchone()[0]


def now():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def started(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")


def fault_of_engine(pid):
    signal_thread(pid, threads_named(pid, "glm engine")[0], signal.SIGSEGV)


FAULTS = {"SIGSEGV in the engine's thread": fault_of_engine,
          "SIGTERM to the worker": lambda pid: os.kill(pid, signal.SIGTERM),
          "SIGKILL to the worker, the server restarts": lambda pid: os.kill(pid, signal.SIGKILL)}


class Ready:
    def __init__(self):
        self.cluster = Cluster(SETTINGS)
        self.conn = self.cluster.connect()
        self.conn.execute("CREATE EXTENSION chatglm")

    def wait(self, before):
        """-> (when a worker other than that was ready, its process)"""
        while True:
            try:
                if one(self.conn, "SELECT glm_ready()"):
                    ready, pid = now(), one(self.conn, "SELECT glm_health()").get("worker_pid")
                    if pid not in (None, before):
                        return ready, pid
            except psycopg.Error:
                self.reconnect()
            time.sleep(0.002)

    def reconnect(self):
        try:
            self.conn = self.cluster.connect()
        except psycopg.Error:
            pass                # the server is in recovery

    def strike(self, fault):
        """-> ms from fault to ready, from the new worker's start to ready, and from there to an answer"""
        pid = one(self.conn, "SELECT glm_health()").get("worker_pid")
        begin = now()
        fault(pid)
        ready, new = self.wait(pid)
        asked = now()
        one(self.conn, "SELECT glm_generate('hello', max_tokens => 1)")
        return [1000 * t for t in (ready - begin, ready - started(new), now() - asked)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    times = parser.parse_args().times
    ready = Ready()
    try:
        one(ready.conn, "SELECT glm_generate('hello')")
        print(f"{'ms, median and worst of ' + str(times):44} {'fault to ready':>16} {'start to ready':>16} {'to an answer':>16}")
        for name, fault in FAULTS.items():
            columns = zip(*(ready.strike(fault) for _ in range(times)))
            print(f"{name:44}" + "".join(f" {statistics.median(c):8.0f} {max(c):7.0f}" for c in columns), flush=True)
    finally:
        ready.cluster.remove()


if __name__ == "__main__":
    main()
