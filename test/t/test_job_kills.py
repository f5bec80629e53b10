"""test_job_kills.py - a continuous job while processes are killed and a writer changes texts: nothing is lost, stored twice or old,
and rows that cannot be answered have the attempts that they are given.

Eight kills of a small table; LONG=1: fifty, of 20,000 rows.
"""
import os
import random
import signal
import threading
import time
import unittest

import psycopg
import psycopg.types.json

from harness import *
from jobs import CALL, TEXTS

LONG = os.environ.get("LONG") == "1"
ROWS, KILLS = (20000, 50) if LONG else (1200, 8)
POISON = (ROWS // 3, ROWS // 2)      # their texts are too long


class Kills(Case):
    def setUp(self):
        self.cluster = Cluster({"shared_preload_libraries": "chatglm", "fsync": "off", "chatglm.job_workers": "2",
                                "restart_after_crash": "on", "autovacuum_naptime": "10min"})
        self.addCleanup(self.cluster.remove)
        self.sql("CREATE EXTENSION chatglm")
        self.over = threading.Event()
        self.changed = 0

    def sql(self, text, *parameters):
        """Again while the server recovers; what runs here may be run twice."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                with self.cluster.connect() as conn:
                    cursor = conn.execute(text, parameters or None)
                    return cursor.fetchall() if cursor.description else None
            except psycopg.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def pids(self, backend_type):
        return [pid for pid, in self.sql("SELECT pid FROM pg_stat_activity WHERE backend_type = %s", backend_type)]

    def write(self):
        """New texts, each of them once: a lost connection leaves open which the last one was."""
        n, chance = 0, random.Random(1)
        while not self.over.is_set():
            try:
                with self.cluster.connect() as conn:
                    while not self.over.wait(0.01):
                        n += 1
                        row = chance.randrange(ROWS)
                        if row in POISON:
                            continue
                        conn.execute("UPDATE ticket SET body = split_part(body, '#', 1) || '#' || %s WHERE id = %s", (n, row))
                        self.changed += 1
            except psycopg.OperationalError:
                time.sleep(0.1)

    def kill(self, what):
        """-> whether there was one to kill"""
        if what == "postmaster":
            as_owner(f"{BINDIR}/pg_ctl", "stop", "--pgdata", self.cluster.data, "--mode=immediate", "--silent")
            self.cluster.start()
            return True
        backend_type, number = what
        victims = self.pids(backend_type)
        for pid in victims[:1]:
            try:
                as_owner("kill", f"-{int(number)}", str(pid), check=False)
            except OSError:
                return False
        return bool(victims)

    def left(self):
        return self.sql("SELECT (SELECT count(*) FROM chatglm.job_queue) + (SELECT count(*) FROM chatglm.job_change), walked "
                        "FROM chatglm.job")[0]

    def test_nothing_is_lost_or_stored_twice_or_old(self):
        self.sql("CREATE TABLE ticket (id bigint PRIMARY KEY, body text, queue text)")
        self.sql(f"INSERT INTO ticket SELECT i, ({TEXTS})[1 + i % 6] || i FROM generate_series(0, {ROWS - 1}) i")
        self.sql("UPDATE ticket SET body = repeat('parcel ', 3000) WHERE id = ANY (%s)", list(POISON))
        self.sql("CREATE TABLE stored (id bigint, body text)")
        self.sql("CREATE FUNCTION stored() RETURNS trigger LANGUAGE plpgsql AS "
                 "$$BEGIN INSERT INTO stored VALUES (new.id, new.body); RETURN NULL; END$$")
        self.sql("CREATE TRIGGER stored AFTER UPDATE OF queue ON ticket FOR EACH ROW EXECUTE FUNCTION stored()")
        self.sql("SELECT glm_job_create('job', 'ticket', 'id', 'queue', %s, %s)", CALL,
                 psycopg.types.json.Jsonb({"mode": "continuous", "chunk": 50, "attempts": 3, "backoff": 0.1}))
        self.sql("SELECT glm_job_start('job')")
        writer = threading.Thread(target=self.write)
        writer.start()
        self.addCleanup(writer.join)
        self.addCleanup(self.over.set)
        kinds = [("chatglm job", signal.SIGKILL), ("chatglm worker", signal.SIGSEGV), ("chatglm job launcher", signal.SIGKILL),
                 ("client backend", signal.SIGKILL), "postmaster", ("chatglm worker", signal.SIGKILL), ("chatglm job", signal.SIGTERM),
                 ("chatglm job", signal.SIGSEGV)]
        killed = 0
        for n in range(KILLS):
            before = self.sql("SELECT count(*) FROM stored")[0][0]
            wait_until(lambda: self.sql("SELECT count(*) FROM stored")[0][0] > before, "the job goes on")
            killed += self.kill(kinds[n % len(kinds)])
        self.assertGreaterEqual(killed, KILLS * 2 // 3)
        self.over.set()
        writer.join()
        self.assertGreater(self.changed, 0)
        wait_until(lambda: self.left() == (0, True), "everything is computed", 1800 if LONG else 600)
        self.assertEqual(self.sql("SELECT key, attempts, sqlstate FROM glm_job_errors ORDER BY key::int"),
                         [(str(row), 3, "54000") for row in POISON])
        self.assertEqual(self.sql("SELECT count(*) FROM (SELECT FROM stored GROUP BY id, body HAVING count(*) > 1) AS twice"), [(0,)])
        wait_until(lambda: self.sql("SELECT glm_ready()") == [(True,)], "the worker is up")
        self.assertEqual(self.sql(f"SELECT count(*) FROM (SELECT * FROM ticket WHERE id <> ALL (%s) OFFSET 0) AS ticket "
                                  f"WHERE queue IS DISTINCT FROM {CALL}", list(POISON)), [(0,)])
        self.assertEqual(self.sql("SELECT count(queue) FROM ticket WHERE id = ANY (%s)", list(POISON)), [(0,)])


if __name__ == "__main__":
    unittest.main()
