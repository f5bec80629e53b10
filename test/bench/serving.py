#!/usr/bin/python3
"""Measures how the embedded model is served: delays, round trips, leaks, equal answers.

Needs a running cluster (`eval "$(test/cluster.sh env)"`), a superuser, psycopg 3.
Prints one line a figure; test/bench/RESULTS.md keeps what landed versions gave.
Figures with a bound in them are checked by the fault tests; here they are only measured.
"""
import json
import os
import statistics
import sys
import threading
import time

import psycopg

PROMPTS = ["hi", "你好", "Who are you?", "你是谁?", "Hello there", "早上好", "Good evening", "介绍一下你自己"]


def connect():
    return psycopg.connect("", autocommit=True)


def one(conn, sql, *args):
    return conn.execute(sql, args).fetchone()[0]


def health(conn):
    return one(conn, "select glm_health()")


def settle(conn):
    """Waits until the worker has nothing to do, and returns its health."""
    while True:
        h = health(conn)
        if h["running"] == 0 and h["waiting"] == 0 and h["kv_used_bytes"] == 0:
            return h
        time.sleep(0.02)


def set_delay(conn, ms):
    conn.execute(f"alter system set chatglm.debug_step_delay = {ms}")
    conn.execute("select pg_reload_conf()")
    while int(one(conn, "select setting from pg_settings where name = 'chatglm.debug_step_delay'")) != ms:
        time.sleep(0.02)
    time.sleep(0.2)  # the worker reads its own copy at its next wake-up


def worker_rss(pid):
    """Resident bytes of the worker's private memory (kB in smaps_rollup)."""
    with open(f"/proc/{pid}/smaps_rollup") as f:
        kb = {line.split(":")[0]: int(line.split()[1]) for line in f if line.endswith("kB\n")}
    return (kb["Private_Dirty"] + kb["Private_Clean"]) * 1024


def segments():
    return len([n for n in os.listdir("/dev/shm") if n.startswith("PostgreSQL.")])


def streaming(conn):
    """Delay from a row's emission in the backend to its arrival, and the gaps between rows."""
    set_delay(conn, 100)
    forms = {
        "in FROM": "select extract(epoch from clock_timestamp())::float8 from glm_stream('hi', max_tokens => 12)",
        # the columns of one row are computed in order: the time is taken after the token
        "in the select list": "select glm_stream('hi', max_tokens => 12), "
                              "extract(epoch from clock_timestamp())::float8",
    }
    for name, sql in forms.items():
        delays, arrivals = [], []
        with connect() as c:
            for row in c.cursor().stream(sql):
                arrivals.append(time.time())
                delays.append(arrivals[-1] - row[-1])
        gaps = [b - a for a, b in zip(arrivals, arrivals[1:])]
        print(f"stream {name}: {len(arrivals)} rows, delay to the client max {max(delays) * 1e3:.2f} ms, "
              f"gaps {min(gaps) * 1e3:.1f} .. {max(gaps) * 1e3:.1f} ms at one token a 100 ms")
    set_delay(conn, 0)


def round_trip(conn):
    conn.execute("select glm_count_tokens('a')")
    conn.execute("""create or replace function pg_temp.round_trips(n int) returns float8[] language plpgsql as $$
        declare t timestamptz; us float8[] := '{}'; begin
          for i in 1 .. n loop
            t := clock_timestamp();
            perform glm_count_tokens('a');
            us := us || (extract(epoch from clock_timestamp() - t) * 1e6)::float8;
          end loop;
          return us; end $$""")
    server = statistics.median(one(conn, "select pg_temp.round_trips(5000)"))
    times = []
    for _ in range(2000):
        t = time.perf_counter()
        conn.execute("select glm_count_tokens('a')", prepare=True)
        times.append(time.perf_counter() - t)
    print(f"glm_count_tokens('a'): median {server:.0f} us in the backend, "
          f"{statistics.median(times) * 1e6:.0f} us from psycopg")


def concurrent(sessions):
    """Every session's answers, all at once, against the same ones by one."""
    def ask(c, i):
        return one(c, "select glm_generate(%s, temperature => 0.9, seed => %s, max_tokens => 40)",
                   PROMPTS[i % len(PROMPTS)], i)

    with connect() as c:
        t = time.time()
        alone = [ask(c, i) for i in range(sessions)]
        alone_s = time.time() - t
    together = [None] * sessions
    conns = [connect() for _ in range(sessions)]
    barrier = threading.Barrier(sessions)

    def run(i):
        barrier.wait()
        together[i] = ask(conns[i], i)

    workers = [threading.Thread(target=run, args=(i,)) for i in range(sessions)]
    t = time.time()
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    same = sum(a == b for a, b in zip(alone, together))
    print(f"{sessions} sessions at once: {same}/{sessions} answers as one by one "
          f"({alone_s:.2f} s one by one, {time.time() - t:.2f} s at once)")
    for c in conns:
        c.close()


def early_closed(conn, n):
    before = segments()
    t = time.time()
    for _ in range(n):
        conn.execute("select token from glm_stream('hi', max_tokens => 400) limit 2")
    h = settle(conn)
    print(f"{n} streams closed early: {time.time() - t:.1f} s; running {h['running']}, "
          f"KV bytes {h['kv_used_bytes']}, segments {segments() - before:+d}")


def many_short(conn, n):
    pid = health(conn)["worker_pid"]
    for _ in range(1000):
        conn.execute("select glm_generate('hi', max_tokens => 2)")
    before = worker_rss(pid)
    t = time.time()
    for _ in range(n):
        conn.execute("select glm_generate('hi', max_tokens => 2)", prepare=True)
    after = worker_rss(pid)
    print(f"{n} short calls: {(time.time() - t) / n * 1e6:.0f} us each; worker's private memory "
          f"{before / 2**20:.2f} MB before, {after / 2**20:.2f} MB after ({(after / before - 1) * 100:+.2f} %)")


def throughput(conn):
    for n in (1, 8, 32):
        t0 = health(conn)["completion_tokens"]
        conns = [connect() for _ in range(n)]
        t = time.time()
        ws = [threading.Thread(target=lambda c=c: [one(c, "select glm_complete('a', max_tokens => 200)")
                                                   for _ in range(2)]) for c in conns]
        for w in ws:
            w.start()
        for w in ws:
            w.join()
        s = time.time() - t
        tokens = settle(conn)["completion_tokens"] - t0
        print(f"{n} sessions: {tokens / s:.0f} tokens/s")
        for c in conns:
            c.close()


def main():
    quick = "--quick" in sys.argv
    with connect() as conn:
        conn.execute("create extension if not exists chatglm")
        h = health(conn)
        print(json.dumps({k: h[k] for k in ("version", "kernels", "threads")}))
        round_trip(conn)
        streaming(conn)
        concurrent(64)
        early_closed(conn, 100 if quick else 1000)
        many_short(conn, 1000 if quick else 10000)
        throughput(conn)


if __name__ == "__main__":
    main()
