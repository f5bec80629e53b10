"""test_job_servers.py - jobs where servers come to their limits, crash by them, or take over from each other."""
import unittest

import psycopg
import psycopg.types.json

from jobs import *

SETTINGS = {"shared_preload_libraries": "chatglm"}
STORED = """
    CREATE TABLE stored (id bigint);
    CREATE FUNCTION stored() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO stored VALUES (new.id); RETURN NULL; END$$;
    CREATE TRIGGER stored AFTER UPDATE OF queue ON ticket FOR EACH ROW EXECUTE FUNCTION stored()"""


def make_job(conn, rows, call=CALL, **options):
    """Table ticket, and the job "job" on it."""
    conn.execute("CREATE EXTENSION chatglm")
    conn.execute("CREATE TABLE ticket (id bigint PRIMARY KEY, body text, queue text)")
    conn.execute(f"INSERT INTO ticket SELECT i, ({TEXTS})[1 + i % 6] || i FROM generate_series(1, {rows}) i")
    conn.execute("SELECT glm_job_create('job', 'ticket', 'id', 'queue', %s, %s)", (call, psycopg.types.json.Jsonb(options)))


def job(conn, column="state"):
    return value(f"SELECT {column} FROM glm_jobs", conn)


class Promotion(unittest.TestCase):
    def test_a_promoted_standby_goes_on(self):
        rows = 1000
        primary = Cluster({**SETTINGS, "chatglm.debug_step_delay": 100})    # 31 times 32 rows of some 8 steps
        self.addCleanup(primary.remove)
        with primary.connect() as conn:
            make_job(conn, rows, chunk=50)
            conn.execute(STORED)
        standby = Cluster(SETTINGS, primary=(primary.base, 5432, "postgres"))
        self.addCleanup(standby.remove)
        with primary.connect() as conn:
            conn.execute("SELECT glm_job_start('job')")
        with standby.connect() as conn:
            wait_until(lambda: job(conn, "done") > 0, "the standby hears of rows")
            self.assertEqual(value("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'chatglm job'", conn), 0)
            with self.assertRaises(psycopg.errors.ReadOnlySqlTransaction):
                conn.execute("CALL glm_job_run('job')")
            primary.stop("immediate")
            self.assertLess(job(conn, "done"), rows)
            conn.execute("SELECT pg_promote()")
            wait_until(lambda: job(conn) == "done", "it goes on, and ends", 300)
            self.assertEqual(job(conn, "done"), rows)
            self.assertEqual(conn.execute("SELECT count(*), count(DISTINCT id) FROM stored").fetchall(), [(rows, rows)])
            self.assertEqual(value("SELECT count(*) FROM chatglm.job_queue", conn), 0)
            self.assertEqual(value(f"SELECT count(*) FROM ticket WHERE queue IS DISTINCT FROM {CALL}", conn), 0)


class Crashes(unittest.TestCase):
    def test_a_row_that_crashes_the_server(self):
        """Twice with the rest of its chunk, then alone until it is dead; the others are stored, once each."""
        cluster = Cluster({**SETTINGS, "restart_after_crash": "on"})
        self.addCleanup(cluster.remove)
        with cluster.connect() as conn:
            conn.execute("CREATE FUNCTION bomb(id bigint, answer text) RETURNS text LANGUAGE plpgsql AS $$BEGIN IF id = 13 THEN "
                         "EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', 'kill -SEGV ' || pg_backend_pid()); END IF; RETURN answer; END$$")
            make_job(conn, 30, f"bomb(id, {CALL})", chunk=10)
            conn.execute(STORED)
            conn.execute("SELECT glm_job_start('job')")

        def state():
            try:
                with cluster.connect() as conn:
                    return job(conn)
            except psycopg.OperationalError:
                return None     # it recovers

        wait_until(lambda: state() == "done", "the job ends", 600)
        with cluster.connect() as conn:
            self.assertEqual(conn.execute("SELECT key, attempts, sqlstate FROM glm_job_errors").fetchall(), [("13", 3, "57P02")])
            self.assertEqual(conn.execute("SELECT count(*), count(DISTINCT id) FROM stored").fetchall(), [(29, 29)])
            self.assertEqual((job(conn, "done"), job(conn, "failed")), (29, 1))
        self.assertEqual(cluster.log().count("was terminated by signal 11"), 4)


class Slots(unittest.TestCase):
    def start(self, **settings):
        cluster = Cluster({**SETTINGS, "max_logical_replication_workers": 0, **settings})
        self.addCleanup(cluster.remove)
        return cluster

    def test_more_databases_than_workers_and_none(self):
        cluster = self.start(max_worker_processes=3)
        conns = []
        with cluster.connect() as conn:
            conn.execute("ALTER SYSTEM SET chatglm.job_workers = 1")
            conn.execute("SELECT pg_reload_conf()")
            for i in range(4):
                conn.execute(f"CREATE DATABASE d{i}")
                conns.append(cluster.connect(f"d{i}"))
                self.addCleanup(conns[-1].close)
        for conn in conns:
            make_job(conn, 100, mode="continuous")
            conn.execute("SELECT glm_job_start('job')")
        for conn in conns:
            wait_until(lambda: job(conn, "done") == 100, "each is served")
        with cluster.connect() as conn:
            conn.execute("ALTER SYSTEM SET chatglm.job_workers = 0")
            conn.execute("SELECT pg_reload_conf()")
        wait_until(lambda: value("SHOW chatglm.job_workers", conns[0]) == "0", "the setting is there")
        notices = []
        conns[0].add_notice_handler(lambda diag: notices.append((diag.severity, diag.sqlstate)))
        conns[0].execute("SELECT glm_job_start('job')")
        self.assertEqual(notices, [("WARNING", "53400")])
        conns[0].execute("UPDATE ticket SET body = 'other' WHERE id = 1")
        conns[0].execute("CALL glm_job_run('job')")
        wait_until(lambda: job(conns[0], "done") == 101, "by whoever saw it first")

    def test_no_process_is_free(self):
        """The one for requests and the launcher have both."""
        cluster = self.start(max_worker_processes=2)
        notices = []
        with cluster.connect() as conn:
            conn.add_notice_handler(lambda diag: notices.append((diag.severity, diag.sqlstate, diag.message_detail)))
            make_job(conn, 50, mode="continuous")

            def warned():
                conn.execute("SELECT glm_job_start('job')")
                return ("WARNING", "53400", "All of max_worker_processes are in use.") in notices

            wait_until(warned, "a WARNING names the setting")
            self.assertEqual((job(conn), job(conn, "done")), ("running", 0))
            conn.execute("CALL glm_job_run('job')")
            self.assertEqual(job(conn, "done"), 50)
            conn.execute("UPDATE ticket SET body = 'other' WHERE id = 1")
        self.assertEqual(cluster.log().count("chatglm cannot start a process for jobs"), 1)
        cluster.stop()
        cluster.settings["max_worker_processes"] = 8
        cluster.start()
        with cluster.connect() as conn:
            wait_until(lambda: job(conn, "done") == 51, "it goes on where there are some")


if __name__ == "__main__":
    unittest.main()
