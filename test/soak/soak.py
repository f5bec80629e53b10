#!/usr/bin/python3
"""Hours of everything at once: do answers stay the same, and does nothing pile up?

    soak.py [--minutes N] [--sessions N] [--no-faults]

Makes a cluster of its own.  Sessions of four roles ask a fixed set of statements, compared with what they gave at the
start, alone; others end before their time in every way there is.  Beside them models come and go, are quantized, jobs
run, and somebody watches.  A quarter of the time the worker is killed now and then, and after another quarter, the
warm-up of the last worker, it is measured what there is. That is compared with the end.

Prints requests, errors, latencies after the warm-up as the client saw them, and a table of what was measured.  Ends with
1 when an answer was another, an error came that was not asked for, or something grew: memory by more than 1 % (judged
from five minutes on, as buffers still find their sizes before), anything else at all.
"""
import argparse
import asyncio
import os
import resource
import shutil
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "test", "t"))
from harness import Cluster, directory_for_owner  # noqa: E402
import psycopg  # noqa: E402

import calls  # noqa: E402
import chores  # noqa: E402
from gauges import Gauges, grown, show  # noqa: E402
from sessions import ROLES, Session, Tally, asking  # noqa: E402

SETTINGS = {"shared_preload_libraries": "chatglm", "chatglm.kv_cache_size": "32MB", "max_worker_processes": 16}
PATIENCE = 900          # s, for what never comes; behind 500 sessions a batch takes minutes
STAY = 4                # sessions that are never cut off; their memory is measured
ENOUGH = 5              # minutes from which on memory is judged
IDLE = "SELECT (glm_health()->>'kv_used_bytes')::bigint = 0 AND NOT EXISTS (SELECT FROM glm_stat_requests) " \
       "AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'chatglm job')"


class Soak:
    def __init__(self, sessions, judge_memory):
        self.cluster = Cluster({**SETTINGS, "max_connections": sessions + 40, "chatglm.max_queue": 1024 + 8 * sessions})
        self.place = directory_for_owner()
        self.gauges, self.tally = Gauges(self.cluster, self.place), Tally()
        self.go, self.busy = asyncio.Event(), 0
        self.worker, self.faults, self.striking = None, 0, False
        self.measurements = 3 if judge_memory else 1
        self.still = []         # s, each time that this program, so probably the machine, did not get on
        self.work = [(Session(self, f"role{i % ROLES}", i < STAY), asking(i)) for i in range(sessions)] + \
                    [(Session(self), chores.doing(chore)) for chore in chores.CHORES]
        self.tasks = []

    def path(self, name):
        return os.path.join(self.place, name)

    def quantize(self, conn, name, bits):
        conn.execute("SELECT count(*) FROM glm_quantize('tiny-chatglm3', %s, %s)", (self.path(name), f'{{"bits": {bits}}}'))

    def prepare(self):
        """Tables, roles, packed models, and what every statement answers when nobody else asks."""
        with self.cluster.connect() as conn:
            conn.execute("CREATE EXTENSION chatglm")
            conn.execute(calls.TABLES)
            conn.cursor().executemany("INSERT INTO ticket VALUES (%s, %s)", calls.table_rows())
            for i in range(ROLES):
                conn.execute(f"CREATE ROLE role{i} LOGIN")
            for bits in (4, 8):
                self.quantize(conn, f"int{bits}", bits)
                conn.execute("SELECT glm_model_load(%s, %s)", (f"int{bits}", self.path(f"int{bits}")))
            for _, sql in calls.fixed():
                self.tally.check(sql, conn.execute(sql).fetchall())
            self.worker = conn.execute("SELECT glm_health()").fetchone()[0]["worker_pid"]

    async def run(self, minutes, with_faults):
        """-> what was measured after the warm-up and at the end"""
        self.prepare()
        self.tasks = [asyncio.ensure_future(session.run(work)) for session, work in self.work]
        self.tasks.append(asyncio.ensure_future(self.beat()))
        quarter = 15 * minutes
        self.go.set()
        await self.during(chores.faults(self, quarter) if with_faults else asyncio.sleep(quarter))
        await self.during(asyncio.sleep(quarter))
        start = await self.measure()
        self.tally.forget_times()
        self.go.set()
        await self.during(asyncio.sleep(2 * quarter))
        self.seconds = time.monotonic() - self.tally.begin
        end = await self.measure()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        return start, end

    async def during(self, work):
        """Fails at once when a session's own code does."""
        work = asyncio.ensure_future(work)
        while not work.done():
            done, _ = await asyncio.wait([work, *self.tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()

    async def measure(self):
        """Stops all, waits until nothing runs, and measures; of a few times the least, as malloc's blocks lie differently each time."""
        self.go.clear()
        await self.wait(lambda: self.busy == 0, "requests end")
        for session, _ in self.work:
            await session.open()
            await session.conn.execute("SELECT glm_count_tokens('a')")
        taken = [await self.measure_once() for _ in range(self.measurements)]
        return {what: min(each[what] for each in taken) for what in taken[0]}

    async def measure_once(self):
        """After the same statements, by the same roles, of models just loaded."""
        stay, anybody = [session.conn for session, _ in self.work[:STAY]], self.work[-1][0].conn
        await anybody.execute("SELECT glm_model_unload(name) FROM glm_models WHERE loaded")
        for conn in [*stay, anybody]:
            for _, sql in calls.fixed():
                self.tally.check(sql, await (await conn.execute(sql)).fetchall())
        with self.cluster.connect() as conn:
            conn.execute(calls.FILL)
            # at the end of this the worker gives back what others have freed, too
            self.quantize(conn, "last", 4)
            shutil.rmtree(self.path("last"))
            await self.wait(lambda: conn.execute(IDLE).fetchone()[0], "the worker is idle")
            await asyncio.sleep(1)      # sessions that have gone
            return self.gauges.measure(conn, [c.info.backend_pid for c in stay])

    async def wait(self, condition, what):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                with self.cluster.connect() as conn:
                    for view in ("glm_stat_requests", "glm_jobs", "glm_job_errors"):
                        print(view, *conn.execute(f"SELECT * FROM {view} LIMIT 20").fetchall(), sep="\n")
                raise SystemExit(f"waited {PATIENCE} s in vain: {what}; {self.busy} sessions are busy")
            await asyncio.sleep(0.05)

    async def beat(self):
        while True:
            begin = time.monotonic()
            await asyncio.sleep(0.1)
            late = time.monotonic() - begin - 0.1
            if late > 1:
                self.still.append(late)

    async def strike(self, fault):
        """Returns when a new worker is ready."""
        self.faults += 1
        self.striking, before = True, self.worker
        fault(self)
        while self.striking:
            await asyncio.sleep(0.01)
            try:
                with self.cluster.connect() as conn:
                    health = conn.execute("SELECT glm_health()").fetchone()[0]
            except psycopg.Error:
                continue
            self.striking = health.get("worker_pid") in (None, before)
        self.worker = health["worker_pid"]


def percentiles(values):
    values = sorted(values)
    return [1000 * values[min(len(values) - 1, len(values) * p // 100)] for p in (50, 95, 99)]


def report(soak, start, end):
    latencies = soak.tally.latencies
    together = [v for values in latencies.values() for v in values]
    print(f"{'answered after the warm-up':26} {'requests':>9} {'P50':>8} {'P95':>8} {'P99':>8} ms")
    for kind, values in [*sorted(latencies.items()), ("together", together)]:
        print("%-26s %9d %8.1f %8.1f %8.1f" % (kind, len(values), *percentiles(values)))
    print(f"{len(together) / soak.seconds:.0f} answers a second; {soak.tally.requests} requests in all; the client took "
          f"{resource.getrusage(resource.RUSAGE_SELF).ru_utime / (time.monotonic() - BEGIN):.0%} of a CPU")
    if soak.still:
        print(f"the machine stood still {len(soak.still)} times, {sum(soak.still):.0f} s in all, {max(soak.still):.0f} s the longest; "
              "that is in the latencies")
    print("as asked for: " + ", ".join(f"{n} {what}" for what, n in sorted(soak.tally.ended.items())))
    print(f"{soak.faults} faults, by which {soak.tally.lost} requests were lost")
    show(start, end)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--sessions", type=int, default=32)
    parser.add_argument("--no-faults", action="store_true")
    arguments = parser.parse_args()
    judge_memory = arguments.minutes >= ENOUGH
    soak = Soak(arguments.sessions, judge_memory)
    try:
        start, end = asyncio.run(soak.run(arguments.minutes, not arguments.no_faults))
    except BaseException:
        print(soak.cluster.log()[-4000:], file=sys.stderr)
        raise
    finally:
        soak.cluster.remove()
        shutil.rmtree(soak.place, ignore_errors=True)
    report(soak, start, end)
    failures = soak.tally.bad + [f"grown: {what}: {a} to {b}" for what, a, b in grown(start, end, judge_memory)]
    for failure in failures[:20]:
        print(failure[:2000], file=sys.stderr)
    print(f"{len(failures)} failures")
    return 1 if failures else 0


BEGIN = time.monotonic()
if __name__ == "__main__":
    sys.exit(main())
