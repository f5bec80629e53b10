"""test_job_changes.py - continuous jobs: nothing that is written to their tables is missed."""
import unittest

import psycopg
import psycopg.types.json

from jobs import *


class Changes(JobCase):
    def follow(self, name="job", **arguments):
        self.make_job(name, mode="continuous", **arguments)
        self.sql("SELECT glm_job_start(%s)", name)
        self.wait_quiet(name)

    def quiet_and_right(self, **arguments):
        self.wait_quiet()
        self.assertEqual(self.wrong_answers(**arguments), 0)

    def merges(self, *statements):
        return statements if self.conn.info.server_version >= 150000 else ()

    def test_plain_writes(self):
        self.make_table(50)
        self.follow()
        self.quiet_and_right()
        self.assertEqual(self.job(), "running")
        for sql in ("INSERT INTO ticket VALUES (100, 'a new one')", "UPDATE ticket SET body = body || '!' WHERE id < 5",
                    "UPDATE ticket SET id = id + 1000 WHERE id = 7",
                    "INSERT INTO ticket VALUES (8, 'x'), (200, 'y') ON CONFLICT (id) DO UPDATE SET body = 'from a conflict'",
                    *self.merges("MERGE INTO ticket t USING (VALUES (9, 'm'), (300, 'n')) v (id, body) ON t.id = v.id "
                    "WHEN MATCHED THEN UPDATE SET body = v.body WHEN NOT MATCHED THEN INSERT (id, body) VALUES (v.id, v.body)")):
            with self.subTest(sql):
                self.sql(sql)
                self.quiet_and_right()
        with self.conn.cursor().copy("COPY ticket (id, body) FROM STDIN") as copy:
            copy.write("400\tcopied\n401\tcopied too\n")
        self.quiet_and_right()
        self.sql("DELETE FROM ticket WHERE id = 400")
        self.sql("UPDATE ticket SET body = 'soon gone' WHERE id = 401")
        self.sql("TRUNCATE ticket")
        self.wait_quiet()

    def test_what_is_no_change_is_not_queued(self):
        self.make_table(20)
        self.follow()
        done = self.job("done")
        self.sql("UPDATE ticket SET other = other + 1, body = body, id = id")
        self.assertEqual(self.queued(), 0)
        self.sql("BEGIN; UPDATE ticket SET body = 'x'; ROLLBACK")
        self.wait_quiet()
        self.assertEqual(self.job("done"), done)

    def test_a_row_before_trigger_and_a_renamed_table(self):
        self.make_table(5)
        self.sql("CREATE FUNCTION low() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN new.body := lower(new.body); RETURN new; END$$")
        self.sql("CREATE TRIGGER low BEFORE INSERT OR UPDATE OF other ON ticket FOR EACH ROW EXECUTE FUNCTION low()")
        self.follow()
        self.sql("UPDATE ticket SET other = 1")             # the trigger changes body
        self.quiet_and_right()
        self.sql("ALTER TABLE ticket RENAME TO renamed")
        self.sql("INSERT INTO renamed VALUES (10, 'NEW')")
        self.quiet_and_right(table="renamed")

    def test_chain_of_jobs(self):
        self.make_table(20)
        self.sql("ALTER TABLE ticket ADD tone text")
        self.follow("a")
        self.follow("b", target="tone", call="glm_generate(queue, max_tokens => 4)", where="queue IS NOT NULL")
        self.sql("UPDATE ticket SET body = 'the parcel is lost ' || id")
        self.wait_quiet("a")
        self.wait_quiet("b")
        self.assertEqual(self.wrong_answers(), 0)
        self.assertEqual(self.wrong_answers("glm_generate(queue, max_tokens => 4)", "tone"), 0)

    def test_partitions(self):
        self.sql("CREATE TABLE part (id bigint, body text, queue text, PRIMARY KEY (id)) PARTITION BY RANGE (id)")
        self.sql("CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (100)")
        self.follow(source="part")
        owner = "jobs_partition_owner"
        self.sql(f"DROP ROLE IF EXISTS {owner}")
        self.sql(f"CREATE ROLE {owner}")
        self.addCleanup(self.execute_in, "postgres", f"DROP ROLE {owner}")
        self.addCleanup(self.sql, f"REASSIGN OWNED BY {owner} TO postgres; DROP OWNED BY {owner}")
        self.sql(f"GRANT CREATE ON SCHEMA public TO {owner}; ALTER TABLE part OWNER TO {owner}; SET ROLE {owner}")
        self.sql("CREATE TABLE part2 (queue text, body text, id bigint NOT NULL)")       # other numbers of columns
        self.sql("ALTER TABLE part ATTACH PARTITION part2 FOR VALUES FROM (100) TO (200)")
        self.sql("RESET ROLE")
        for sql in ("INSERT INTO part VALUES (1, 'a'), (101, 'b')", "INSERT INTO part1 VALUES (2, 'direct')",
                    "INSERT INTO part2 VALUES (NULL, 'direct', 102)", "UPDATE part SET id = 150 WHERE id = 1",
                    "UPDATE part2 SET body = 'again' WHERE id = 102",
                    "CREATE TABLE part3 PARTITION OF part FOR VALUES FROM (200) TO (300); INSERT INTO part3 VALUES (201, 'new', NULL)"):
            with self.subTest(sql):
                self.sql(sql)
                self.quiet_and_right(table="part")
        with self.conn.cursor().copy("COPY part3 (id, body) FROM STDIN") as copy:
            copy.write("202\tcopied into it\n")
        self.quiet_and_right(table="part")
        # nobody writes the rows that a table brings along
        self.sql("CREATE TABLE part4 AS SELECT 301::bigint AS id, 'brought along' AS body, NULL AS queue")
        self.sql("ALTER TABLE part4 ALTER id SET NOT NULL; ALTER TABLE part ATTACH PARTITION part4 FOR VALUES FROM (300) TO (400)")
        self.sql("SELECT glm_job_sync('job')")
        self.quiet_and_right(table="part")
        self.assertEqual(self.one("SELECT count(queue) FROM part"), 7)

    def test_writers_meanwhile(self):
        self.make_table(200)
        self.follow(chunk=50)
        stop = threading.Event()

        def write(number):
            conn, pick = self.open(), random.Random(number)
            while not stop.is_set():
                conn.execute("UPDATE ticket SET body = %s WHERE id = %s", (f"the parcel {pick.random()} is lost", pick.randint(1, 200)))
                if pick.random() < 0.2:
                    conn.execute("INSERT INTO ticket VALUES (%s, 'new') ON CONFLICT DO NOTHING", (pick.randint(201, 400),))

        writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for writer in writers:
            writer.start()
        time.sleep(float(os.environ.get("WRITERS", "5")))
        stop.set()
        for writer in writers:
            writer.join()
        self.quiet_and_right()
        self.assertGreater(self.job("done"), 200)

    def test_pause_keeps_and_cancel_forgets(self):
        self.make_table(5)
        self.follow()
        self.sql("SELECT glm_job_pause('job')")
        self.sql("UPDATE ticket SET body = 'x' WHERE id = 1")
        self.assertEqual(self.job("rows_left"), 1)
        self.sql("SELECT glm_job_resume('job')")
        self.quiet_and_right()
        self.sql("SELECT glm_job_cancel('job')")
        self.sql("UPDATE ticket SET body = 'y' WHERE id = 1")
        self.assertEqual(self.queued(), 0)
        self.sql("SELECT glm_job_start('job')")
        self.quiet_and_right()

    def test_sync(self):
        self.make_table(30)
        self.follow()
        done = self.job("done")
        self.sql("SET session_replication_role = replica")
        self.sql("UPDATE ticket SET body = 'missed ' || id WHERE id < 4")
        self.sql("RESET session_replication_role")
        self.assertGreater(self.wrong_answers(), 0)
        self.sql("SELECT glm_job_sync('job')")
        self.quiet_and_right()
        self.assertEqual(self.job("done"), done + 3)

    def use_model(self, name):
        """In the background, too."""
        self.sql(f"ALTER DATABASE {self.database} SET chatglm.model = '{name}'")
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'chatglm job' AND datname = current_database()")
        wait_until(lambda: not job_pids(self.database), "the worker is gone")

    def test_sync_of_another_model(self):
        """What counts are its files, not its name."""
        self.make_table(30)
        self.sql("ALTER TABLE ticket ADD tone text")
        base = directory_for_owner()
        self.addCleanup(shutil.rmtree, base)
        as_owner("cp", "-r", self.one("SELECT path FROM glm_models WHERE name = 'tiny-chatglm3'"), f"{base}/model")
        self.sql("SELECT glm_model_load('other', %s)", f"{base}/model")
        self.addCleanup(value, "SELECT glm_model_unload('other')")
        self.make_job("named", target="tone", call="glm_generate(body, max_tokens => 2, model => 'other')")
        self.sql("CALL glm_job_run('named')")
        self.follow()
        self.use_model("other")

        def sync():
            for name in ("job", "named"):
                self.sql("SELECT glm_job_sync(%s)", name)
            self.sql("CALL glm_job_run('named')")
            self.wait_quiet()
            return self.job("done"), self.job("done", "named")

        self.assertEqual(sync(), (30, 30))
        as_owner("sh", "-c", f"echo >> {base}/model/config.json")
        self.assertEqual(sync(), (60, 60))
        self.assertEqual(sync(), (60, 60))

    def test_the_queue_of_a_job_that_is_called(self):
        self.make_table(10)
        self.make_job(mode="continuous")
        self.sql("CALL glm_job_run('job')")
        self.sql("UPDATE ticket SET body = 'changed' WHERE id < 3")
        self.assertEqual(self.job("rows_left"), 2)
        self.sql("CALL glm_job_run('job')")
        self.assertEqual((self.job("rows_left"), self.wrong_answers()), (0, 0))

    def test_a_renamed_input_does_not_disturb_writers(self):
        self.make_table(5)
        self.follow()
        self.sql("ALTER TABLE ticket RENAME body TO content")
        self.sql("UPDATE ticket SET content = 'x' WHERE id = 1")
        self.wait_state("paused")
        self.assertIn("body", self.job("reason"))
        self.sql("ALTER TABLE ticket RENAME content TO body")
        self.sql("SELECT glm_job_resume('job')")
        self.quiet_and_right()

    def test_drop_extension_takes_the_triggers(self):
        self.make_table(5)
        self.follow()
        self.sql("DROP EXTENSION chatglm")
        self.assertEqual(self.one("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'ticket'::regclass"), 0)
        self.sql("INSERT INTO ticket VALUES (6, 'x')")
        wait_until(lambda: not job_pids(self.database), "the worker is gone")


class Replication(unittest.TestCase):
    """What logical replication brings, where a job asks for it."""

    def test_replicated(self):
        cluster = Cluster({"wal_level": "logical", "shared_preload_libraries": "chatglm", "max_worker_processes": 16})
        self.addCleanup(cluster.remove)
        with cluster.connect() as conn:
            for name in ("pub", "sub"):
                conn.execute(f"CREATE DATABASE {name}")
        table = "CREATE TABLE ticket (id bigint PRIMARY KEY, body text, queue text, mine text)"
        pub = connect(host=cluster.base, port=5432, user="postgres", dbname="pub")
        sub = connect(host=cluster.base, port=5432, user="postgres", dbname="sub")
        for conn in (pub, sub):
            self.addCleanup(conn.close)
            conn.execute(table)
        pub.execute("INSERT INTO ticket VALUES (1, 'copied')")
        pub.execute("CREATE PUBLICATION p FOR TABLE ticket")
        pub.execute("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
        sub.execute("CREATE EXTENSION chatglm")
        sub.execute("SELECT glm_job_create('here', 'ticket', 'id', 'queue', 'glm_generate(body, max_tokens => 4)', "
                    """'{"mode": "continuous", "replicated": true}')""")
        sub.execute("SELECT glm_job_create('not', 'ticket', 'id', 'mine', 'glm_generate(body, max_tokens => 4)', '{\"mode\": \"continuous\"}')")
        sub.execute("SELECT glm_job_start('here'), glm_job_start('not')")
        sub.execute(f"CREATE SUBSCRIPTION s CONNECTION 'host={cluster.base} port=5432 user=postgres dbname=pub' "
                    "PUBLICATION p WITH (create_slot = false, slot_name = 's')")
        wait_until(lambda: value("SELECT count(*) FROM ticket", sub) == 1, "the first copy")
        pub.execute("INSERT INTO ticket VALUES (2, 'replicated')")
        pub.execute("UPDATE ticket SET body = 'changed' WHERE id = 1")
        wait_until(lambda: value("SELECT count(*) FROM ticket WHERE queue = glm_generate(body, max_tokens => 4)", sub) == 2,
                   "both are answered")
        self.assertEqual(value("SELECT count(*) FROM ticket WHERE id = 2 AND mine IS NULL", sub), 1)
        sub.execute("ALTER SUBSCRIPTION s DISABLE")
        sub.execute("ALTER SUBSCRIPTION s SET (slot_name = NONE)")
        sub.execute("DROP SUBSCRIPTION s")


if __name__ == "__main__":
    unittest.main()
