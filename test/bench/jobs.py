#!/usr/bin/python3
"""Measures batch jobs: what writers pay, what stays behind them, how fast they are.

    jobs.py [--quick] [--pairs N] [--seconds S] [--rows N] [--only WRITE] [writers bulk bloat throughput]

Needs a running cluster (`eval "$(test/cluster.sh env)"`), a superuser, psycopg 3, and pgbench where PG_CONFIG's programs are. All of it
happens in a database of its own, chatglm_jobs_bench. Without a name, all parts:

    writers     one client (pgbench) that writes single rows in turns into a table that a continuous job follows, and one that none
                follows; the job is paused, or runs and finds that it is about none of the rows
    bulk        statements over 10,000 rows, the same way, beside a paused job
    bloat       pages of 20 rows that a client goes on updating, and its rate: alone, beside a job that computes, beside one UPDATE
                of the job's rows
    throughput  a job with two workers, one plain UPDATE, and a client that has batches computed over two connections, of the same rows

Speeds move with the machine, so what is compared runs right after each other and the order turns; ratios are medians of such pairs,
with quartiles. Prints one line a figure; test/bench/RESULTS.md keeps what landed versions gave.
"""
import argparse
import os
import queue
import statistics
import subprocess
import tempfile
import threading
import time

import psycopg
from psycopg.types.json import Jsonb

DATABASE = "chatglm_jobs_bench"
CALL = "glm_generate(body, system => 'Route the ticket to a queue.', max_tokens => 8)"
TEXTS = "ARRAY['I was charged twice for order ', 'The parcel never came, order ', 'I want to send back item ', " \
        "'The app crashes on start, version ', 'I cannot log in as user ', 'Do you have a discount for ']"
PGBENCH = os.path.join(subprocess.check_output([os.environ.get("PG_CONFIG", "pg_config"), "--bindir"], text=True).strip(), "pgbench")
BULK = 10000
BATCH = 500             # rows, of chunks and of the client's statements
ENOUGH = 15             # pairs, for a median that says something


def connect(database=DATABASE):
    return psycopg.connect(dbname=database, autocommit=True)


def one(conn, sql, *parameters):
    return conn.execute(sql, parameters or None).fetchone()[0]


def show(what, values, unit=""):
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    print(f"{what}: {middle:.3f}{unit} (quartiles {low:.3f} to {high:.3f}, {len(values)} times)", flush=True)


def in_turns(pairs, *measures):
    """-> of each measure, what it gave; each round runs them all, in another order."""
    found = [[] for _ in measures]
    for turn in range(pairs):
        for i in range(len(measures)):
            which = (turn + i) % len(measures)
            found[which].append(measures[which]())
    return found


def ratios(ours, theirs):
    return [a / b for a, b in zip(ours, theirs)]


# ---- Tables ----------------------------------------------------------------------

def make_database():
    with connect("postgres") as conn:
        conn.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
        conn.execute(f"CREATE DATABASE {DATABASE}")
    with connect() as conn:
        conn.execute("CREATE EXTENSION chatglm")


def make_table(conn, name, rows):
    conn.execute(f"CREATE TABLE {name} (id bigint PRIMARY KEY, body text, queue text, n int DEFAULT 0)")
    conn.execute(f"INSERT INTO {name} SELECT i, ({TEXTS})[1 + i % 6] || i FROM generate_series(1, {rows}) i")
    conn.execute(f"ANALYZE {name}")


def make_job(conn, name, table, **options):
    conn.execute("SELECT glm_job_create(%s, %s, 'id', 'queue', %s, %s)", (name, table, CALL, Jsonb(options)))


def make_written(conn):
    """Tables plain and followed, all rows of which are answered; a job follows the latter and is about none of its rows."""
    for table in ("plain", "followed"):
        make_table(conn, table, BULK)
        conn.execute(f"UPDATE {table} SET queue = 'x'")
    make_job(conn, "follow", "followed", mode="continuous", where="false")
    conn.execute("SELECT glm_job_start('follow')")
    while not one(conn, "SELECT walked FROM chatglm.job WHERE name = 'follow'"):
        time.sleep(0.01)


def let(conn, run):
    """Whether the job runs, with nothing in its queue."""
    conn.execute("SELECT glm_job_pause('follow')")
    while one(conn, "SELECT workers FROM glm_jobs WHERE name = 'follow'") > 0:
        time.sleep(0.01)
    conn.execute("TRUNCATE chatglm.job_queue, chatglm.job_change")
    if run:
        conn.execute("SELECT glm_job_resume('follow')")
    for table in ("plain", "followed"):
        conn.execute(f"DELETE FROM {table} WHERE id > {BULK}")
        conn.execute(f"VACUUM {table}")


# ---- Writers ---------------------------------------------------------------------

WRITES = {"update of another column": "UPDATE {table} SET n = n + 1 WHERE id = :id;",
          "update of the text": "UPDATE {table} SET body = 'The parcel never came, order ' || :n WHERE id = :id;",
          "insert": "INSERT INTO {table} (id, body) VALUES (nextval('ids'), 'The parcel never came, order ' || :n);"}


def pgbench(sql, seconds):
    """-> what it says of one client."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(f"\\set id random(1, {BULK})\n\\set n random(1, 1000000000)\n{sql}\n")
        script.flush()
        done = subprocess.run([PGBENCH, "-n", "-r", "-M", "prepared", "-T", str(seconds), "-f", script.name, DATABASE],
                              check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return done.stdout


def latencies(sql, seconds):
    """-> mean milliseconds of a statement on table plain, and of the same on table followed, which take turns."""
    told = pgbench("\n".join(sql.format(table=table) for table in ("plain", "followed")), seconds)
    return [next(float(line.split()[0]) for line in told.splitlines() if f" {table} " in line) for table in ("plain", "followed")]


def writers(arguments):
    with connect() as conn:
        make_written(conn)
        conn.execute(f"CREATE SEQUENCE ids START {BULK + 1}")

        def write(sql, run):
            let(conn, run)
            return latencies(sql, arguments.seconds)

        for what, sql in WRITES.items():
            if arguments.only not in what:
                continue
            paused, running = in_turns(arguments.pairs, lambda: write(sql, False), lambda: write(sql, True))
            show(f"single rows, {what}, without a job", [1000 * plain for plain, _ in paused], " us")
            show("    beside a paused job / without", [followed / plain for plain, followed in paused])
            show("    beside one that runs / without", [followed / plain for plain, followed in running])


BULKS = {"update of another column": "UPDATE {table} SET n = n + 1",
         "update of the text": "UPDATE {table} SET body = body || '!'",
         "insert": "INSERT INTO {table} (id, body) SELECT i, 'text ' || i FROM generate_series(100001, 110000) i"}


def bulk(arguments):
    with connect() as conn:
        if one(conn, "SELECT to_regclass('followed') IS NULL"):
            make_written(conn)

        def run(sql, table):
            let(conn, False)
            begin = time.perf_counter()
            conn.execute(sql.format(table=table))
            return time.perf_counter() - begin

        for what, sql in BULKS.items():
            if arguments.only not in what:
                continue
            plain, followed = in_turns(arguments.pairs, lambda: run(sql, "plain"), lambda: run(sql, "followed"))
            show(f"{BULK} rows, {what}: time beside a paused job / without", ratios(followed, plain))


# ---- What stays behind -----------------------------------------------------------

def hot_writer(seconds):
    """-> pages of 20 rows after so many seconds of updates, and updates a second."""
    with connect() as conn:
        conn.execute("DROP TABLE IF EXISTS hot")
        conn.execute("CREATE TABLE hot (id int PRIMARY KEY, n int)")
        conn.execute("INSERT INTO hot SELECT i, 0 FROM generate_series(1, 20) i")
        told = pgbench("UPDATE hot SET n = n + 1 WHERE id = 1 + :id % 20;", seconds)
        rate = next(float(line.split()[2]) for line in told.splitlines() if line.startswith("tps"))
        return one(conn, "SELECT pg_relation_size('hot') / 8192"), rate


def beside(prepare, sql, seconds):
    """The same while this statement, or the job that it starts, computes."""
    with connect() as conn, connect() as other:
        prepare(conn)
        failures = []

        def run():
            try:
                conn.execute(sql)
            except psycopg.errors.QueryCanceled:
                pass
            except psycopg.Error as error:
                failures.append(error)

        running = threading.Thread(target=run)
        running.start()
        while one(other, "SELECT (glm_health()->>'running')::int") == 0:
            time.sleep(0.02)
        found = hot_writer(seconds)
        busy = one(other, "SELECT (glm_health()->>'running')::int") > 0
        other.execute("SELECT glm_job_cancel('big')")
        other.execute("SELECT pg_cancel_backend(%s)", (conn.info.backend_pid,))
        running.join()
        while one(other, "SELECT (glm_health()->>'running')::int") > 0:
            time.sleep(0.02)
        if failures or not busy:
            raise SystemExit(f"nothing was computed beside the writer for as long as it wrote: {failures}")
        return found


def bloat(arguments):
    with connect() as conn:
        make_table(conn, "big", max(arguments.rows, 2000 * arguments.seconds * 3))
        make_job(conn, "big", "big", chunk=BATCH)
    seconds = arguments.seconds * 3
    measures = {"beside nothing": lambda: hot_writer(seconds),
                "beside a job": lambda: beside(lambda conn: conn.execute("UPDATE chatglm.job SET state = 'created'"),
                                               "SELECT glm_job_start('big')", seconds),
                "beside one UPDATE": lambda: beside(lambda conn: None, f"UPDATE big SET queue = {CALL}", seconds)}
    for what, found in zip(measures, in_turns(max(2, arguments.pairs // 5), *measures.values())):
        show(f"a hot table, {what}, {seconds} s: pages", [pages for pages, _ in found])
        show("    updates/s", [rate for _, rate in found])


# ---- Throughput ------------------------------------------------------------------

def by_job(conn):
    """Seldom asked whether it is done: when it was it knows itself."""
    conn.execute("SELECT glm_job_start('big')")
    while one(conn, "SELECT state FROM chatglm.job WHERE name = 'big'") != "done":
        time.sleep(0.2)
    return one(conn, "SELECT extract(epoch FROM finished)::float8 FROM chatglm.job WHERE name = 'big'")


def by_update(conn):
    conn.execute(f"UPDATE tickets SET queue = {CALL}")


def by_client(conn):
    """Batches by key over two connections: one is in flight while the other is stored."""
    keys = [row[0] for row in conn.execute("SELECT id FROM tickets ORDER BY id")]
    batches = queue.SimpleQueue()
    for i in range(0, len(keys), BATCH):
        batches.put(keys[i:i + BATCH])

    def work():
        with connect() as own:
            while True:
                try:
                    batch = batches.get_nowait()
                except queue.Empty:
                    return
                own.execute(f"UPDATE tickets SET queue = {CALL} WHERE id = ANY (%s)", (batch,))

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def throughput(arguments):
    with connect() as conn:
        make_table(conn, "tickets", arguments.rows)
        conn.execute("SELECT glm_job_drop(name) FROM glm_jobs WHERE name = 'big'")
        make_job(conn, "big", "tickets", chunk=BATCH)

        def timed(run):
            conn.execute("UPDATE tickets SET queue = NULL")
            conn.execute("VACUUM tickets")
            conn.execute("CHECKPOINT")
            begin = time.time()
            seconds = (run(conn) or time.time()) - begin
            if one(conn, "SELECT count(*) FROM tickets WHERE queue IS NULL") > 0:
                raise SystemExit(f"{run.__name__} left rows out")
            return seconds

        job, update, client = in_turns(arguments.pairs, lambda: timed(by_job), lambda: timed(by_update), lambda: timed(by_client))
        show(f"{arguments.rows} rows, one UPDATE", update, " s")
        show("    a job with two workers / one UPDATE, times", ratios(job, update))
        show("    a job with two workers / a client with two connections, times", ratios(job, client))


def main():
    parts = {"writers": writers, "bulk": bulk, "bloat": bloat, "throughput": throughput}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a try of everything: 2 pairs of 1 second, 1,000 rows")
    parser.add_argument("--pairs", type=int, default=ENOUGH)
    parser.add_argument("--seconds", type=int, default=4, help="of a client's writing")
    parser.add_argument("--only", default="", help="of writers and bulk, those whose names have this in them")
    parser.add_argument("--rows", type=int, default=5000, help="that are computed")
    parser.add_argument("parts", metavar="PART", nargs="*", choices=[*parts, []])
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.pairs, arguments.seconds, arguments.rows = 2, 1, 1000
    make_database()
    try:
        for part in arguments.parts or parts:
            parts[part](arguments)
    finally:
        with connect("postgres") as conn:
            conn.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")
    if arguments.pairs < ENOUGH:
        print(f"fewer than {ENOUGH} pairs: for a try only")


if __name__ == "__main__":
    main()
