"""test_job_runs.py - jobs that run once: chunks, what others do meanwhile, faults, budgets."""
import unittest

import psycopg
import psycopg.types.json

from jobs import *


class Runs(JobCase):
    def test_call(self):
        self.make_table(200)
        self.make_job(where="queue IS NULL", chunk=60)
        self.sql("CALL glm_job_run('job')")
        self.assertEqual(self.wrong_answers(), 0)
        self.assertEqual(self.sql("SELECT state, done, failed, stale, rows_left, workers FROM glm_jobs"),
                         [("done", 200, 0, 0, 0, 0)])
        self.assertGreater(self.job("tokens"), 200)
        self.assertIn('job "job": 200 rows stored, 0 failed', self.notices)
        # again: rows that came since then
        self.sql("INSERT INTO ticket VALUES (1000, 'the app crashes')")
        self.sql("CALL glm_job_run('job')")
        self.assertEqual((self.job("done"), self.wrong_answers()), (1, 0))

    def test_background(self):
        self.make_table(400)
        self.make_job(chunk=40)
        self.sql("BEGIN")
        self.sql("SELECT glm_job_start('job')")
        self.assertEqual(job_pids(self.database), [])
        self.sql("COMMIT")
        self.wait_state("done")
        self.assertEqual((self.job("done"), self.wrong_answers()), (400, 0))

    def test_two_sessions_share_a_job(self):
        self.make_table(300)
        self.sql("CREATE TABLE hit (id bigint, by int)")
        self.sql("CREATE FUNCTION hit() RETURNS trigger LANGUAGE plpgsql AS "
                 "$$BEGIN INSERT INTO hit VALUES (new.id, pg_backend_pid()); RETURN NULL; END$$")
        self.sql("CREATE TRIGGER hit AFTER UPDATE OF queue ON ticket FOR EACH ROW EXECUTE FUNCTION hit()")
        self.make_job(chunk=20)
        set_delay(HELD)
        self.addCleanup(set_delay, 0)
        runs = [self.background("CALL glm_job_run('job')", dbname=self.database) for _ in range(2)]
        wait_until(lambda: self.job("workers") == 2, "both have a chunk")
        set_delay(0)
        for run in runs:
            run.result()
        self.assertEqual(self.sql("SELECT count(*), count(DISTINCT id), count(DISTINCT by) FROM hit"), [(300, 300, 2)])
        self.assertEqual(self.wrong_answers(), 0)

    def test_composite_and_keys_of_several_columns(self):
        self.sql("CREATE TABLE note (a text, b timestamptz, body text, answer text, prompt int, tokens int, finish text, PRIMARY KEY (a, b))")
        self.sql("INSERT INTO note SELECT 'k\",{' || i, now() + i * interval '1 h', 'text ' || i FROM generate_series(1, 50) i")
        self.make_job(source="note", key="a, b", target="answer, prompt, tokens, finish", call="glm_try_generate(body, max_tokens => 3)",
                      chunk=7)
        self.sql("SET datestyle = 'SQL, DMY'")
        self.sql("SET timezone = 'Asia/Tokyo'")
        self.sql("CALL glm_job_run('job')")
        self.assertEqual(self.sql("SELECT count(*), bool_and(prompt > 0 AND tokens BETWEEN 0 AND 3 AND finish IN ('stop', 'length')) "
                                  "FROM note WHERE answer = glm_generate(body, max_tokens => 3)"), [(50, True)])

    def test_dropped_columns_arrays_and_whole_rows(self):
        self.sql("CREATE TABLE odd (gone int, id uuid PRIMARY KEY DEFAULT gen_random_uuid(), tags text[], body text, more text, answer text[])")
        self.sql("ALTER TABLE odd DROP gone, ADD late int DEFAULT 7")
        self.sql("INSERT INTO odd (tags, body) SELECT ARRAY['a', 'b' || i], 'text ' || i FROM generate_series(1, 20) i")
        self.make_job(source="odd", target="answer", call="ARRAY[glm_generate(body || tags[2] || late, max_tokens => 2), odd.body]")
        self.sql("CALL glm_job_run('job')")
        self.assertEqual(self.one("SELECT count(*) FROM odd WHERE answer = ARRAY[glm_generate(body || tags[2] || late, max_tokens => 2), body]"), 20)
        self.make_job("row", source="odd", target="more", call="glm_generate(row_to_json(odd)->>'body', max_tokens => 2)")
        self.sql("CALL glm_job_run('row')")
        self.assertEqual(self.one("SELECT count(*) FROM odd WHERE more = glm_generate(body, max_tokens => 2)"), 20)

    def test_estimate(self):
        self.make_table(100)
        self.sql("ANALYZE ticket")
        self.make_job()
        start = time.monotonic()
        rows, tokens, seconds = self.sql("SELECT * FROM glm_job_estimate('job', 10)")[0]
        self.assertEqual(rows, 100)
        self.assertTrue(1000 < tokens < 20000, tokens)
        self.assertTrue(0 < seconds < 10 * (time.monotonic() - start), "what ten of the hundred rows took, ten times")
        self.assertEqual(self.one("SELECT count(queue) FROM ticket"), 0)

    def test_notices(self):
        self.make_table(1)
        self.make_job("a")
        self.assertEqual(self.notices, [])
        self.make_job("b", call="CASE WHEN other = 0 THEN glm_generate(body) WHEN other = 1 THEN 'x' END")
        self.sql("CREATE FUNCTION f(text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RETURN glm_generate($1); END$$")
        self.notices.clear()
        self.make_job("c", call="f(body)")
        self.assertEqual(self.notices, ["the call will ask the model for one row after the other",
                                        "a snapshot will be held while a chunk is computed"])


class Meanwhile(JobCase):
    """What others do while a chunk is computed: the engine is held."""

    delay = HELD

    def computing(self, sql="CALL glm_job_run('job')"):
        run = self.background(sql, dbname=self.database)
        wait_until(lambda: health()["running"] > 0, "the model computes")
        return run

    def holds(self, pid):
        return self.sql("SELECT backend_xmin IS NOT NULL, backend_xid IS NOT NULL FROM pg_stat_activity WHERE pid = %s", pid)[0]

    def test_no_snapshot_no_xid_no_row_lock(self):
        self.make_table(20)
        self.make_job()
        run = self.computing()
        self.assertEqual(self.holds(run.pid), (False, False))
        self.sql("SELECT * FROM ticket FOR UPDATE NOWAIT")
        set_delay(0)
        run.result()
        self.assertEqual(self.job("done"), 20)

    def test_a_snapshot_where_a_table_may_be_read(self):
        self.make_table(3)
        self.sql("CREATE FUNCTION f(text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RETURN glm_generate($1, max_tokens => 3); END$$")
        self.make_job(call="f(body)")
        run = self.computing()
        self.assertEqual(self.holds(run.pid), (True, False))
        set_delay(0)
        run.result()
        self.assertEqual(self.job("done"), 3)

    def test_a_row_that_changes_is_computed_again(self):
        self.make_table(10)
        self.make_job()
        run = self.computing()
        self.sql("UPDATE ticket SET body = 'I cannot log in' WHERE id = 3")
        self.sql("UPDATE ticket SET other = 5 WHERE id = 4")
        self.sql("DELETE FROM ticket WHERE id = 5")
        set_delay(0)
        run.result()
        self.assertEqual(self.sql("SELECT state, done, stale FROM glm_jobs"), [("done", 9, 1)])
        self.assertEqual(self.wrong_answers(), 0)

    def test_rows_that_are_truncated(self):
        self.make_table(10)
        self.make_job()
        run = self.computing()
        truncation = self.background("TRUNCATE ticket", dbname=self.database)
        wait_until(lambda: not truncation.is_alive() or
                   value(f"SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = {truncation.pid}"), "it is in the way")
        set_delay(0)
        truncation.result()
        run.result()
        self.assertEqual(self.sql("SELECT state, done, failed FROM glm_jobs"), [("done", 0, 0)])

    def test_a_locked_row_holds_nobody_up(self):
        self.make_table(10)
        self.make_job()
        other = self.open(autocommit=False)
        other.execute("SELECT * FROM ticket WHERE id = 3 FOR UPDATE")
        run = self.computing()
        set_delay(0)
        wait_until(lambda: self.one("SELECT count(queue) FROM ticket") == 9, "the others are stored")
        self.sql("SELECT * FROM ticket WHERE id <> 3 FOR UPDATE NOWAIT")
        other.rollback()
        run.result()
        self.assertEqual(self.sql("SELECT state, done FROM glm_jobs"), [("done", 10)])

    def test_cancel(self):
        self.make_table(50)
        self.make_job()
        run = self.computing()
        self.sql("SELECT glm_job_cancel('job')")
        with self.assertRaises(psycopg.errors.QueryCanceled):
            run.result()
        self.assertEqual((self.job("state"), self.job("rows_left"), self.one("SELECT count(*) FROM chatglm.job_queue")), ("cancelled", 0, 0))
        self.sql("SELECT glm_job_start('job')")
        wait_until(lambda: health()["running"] > 0, "the model computes")
        self.sql("SELECT glm_job_cancel('job')")
        wait_until(lambda: health()["running"] == 0, "it does not any more")

    def test_pg_cancel_gives_the_claim_back(self):
        self.make_table(10)
        self.make_job()
        run = self.computing()
        self.sql("SELECT pg_cancel_backend(%s)", run.pid)
        with self.assertRaises(psycopg.errors.QueryCanceled):
            run.result()
        self.assertEqual(self.sql("SELECT worker, tries, claims FROM chatglm.job_queue"), [(None, 0, 0)])
        set_delay(0)
        self.sql("CALL glm_job_run('job')")
        self.assertEqual(self.job("done"), 10)

    def test_pause_and_resume(self):
        self.make_table(40)
        self.make_job(chunk=10)
        self.sql("SELECT glm_job_start('job')")
        wait_until(lambda: health()["running"] > 0, "the model computes")
        self.sql("SELECT glm_job_pause('job')")
        set_delay(0)
        wait_until(lambda: self.job("workers") == 0, "the chunk is stored")
        done = self.job("done")
        self.assertLess(done, 40)
        with self.assertRaises(psycopg.errors.ObjectNotInPrerequisiteState):
            self.sql("CALL glm_job_run('job')")
        self.assertEqual(self.job("done"), done)
        self.sql("SELECT glm_job_resume('job')")
        self.wait_state("done")
        self.assertEqual(self.job("done"), 40)

    def test_a_chunk_is_cut_by_seconds(self):
        set_delay(100)
        self.make_table(12)
        self.sql("CREATE FUNCTION f(text) RETURNS text LANGUAGE plpgsql AS $$BEGIN RETURN glm_generate($1, max_tokens => 2); END$$")
        self.make_job(chunk_seconds=0.5, call="f(body)")
        self.sql("CALL glm_job_run('job')")
        self.assertEqual(self.job("done"), 12)
        self.assertGreater(self.one("SELECT count(DISTINCT xmin::text) FROM ticket"), 1, "transactions that stored rows")

    def test_worker_that_goes_takes_no_attempt(self):
        self.make_table(30)
        self.make_job(call=TRY, attempts=1)
        run = self.computing()
        os.kill(worker_pid(), 15)
        set_delay(0)
        run.result()
        self.assertEqual(self.sql("SELECT state, done, failed FROM glm_jobs"), [("done", 30, 0)])


class Faults(JobCase):
    def test_rows_fail_alone(self):
        self.make_table(60)
        self.sql("ALTER TABLE ticket ADD n text")
        self.sql("UPDATE ticket SET n = CASE WHEN id IN (7, 33, 34) THEN 'x' ELSE '1' END")
        self.make_job(call="glm_generate(body, max_tokens => 4) || n::int", attempts=3, backoff=0.05)
        self.sql("CALL glm_job_run('job')")
        self.assertEqual(self.sql("SELECT key, attempts, sqlstate FROM glm_job_errors ORDER BY 1"),
                         [("33", 3, "22P02"), ("34", 3, "22P02"), ("7", 3, "22P02")])
        self.assertEqual(self.sql("SELECT state, done, failed FROM glm_jobs"), [("done", 57, 3)])
        self.sql("UPDATE ticket SET n = '2'")
        self.sql("CALL glm_job_run('job')")
        self.assertEqual((self.sql("SELECT * FROM glm_job_errors"), self.job("done")), ([], 60))

    def test_errors_as_values_are_failures(self):
        self.make_table(20)
        self.sql("UPDATE ticket SET body = repeat('parcel ', 100000) WHERE id = 7")
        self.make_job(call=TRY, attempts=2, backoff=0.05)
        self.sql("CALL glm_job_run('job')")
        self.assertEqual(self.sql("SELECT key, attempts, sqlstate FROM glm_job_errors"), [("7", 2, "54000")])
        self.assertEqual(self.one("SELECT count(queue) FROM ticket"), 19)

    def test_a_constraint_of_the_table(self):
        self.make_table(20)
        self.sql("ALTER TABLE ticket ADD CHECK (queue IS NULL OR id <> 5)")
        self.make_job(attempts=2, backoff=0.05)
        self.sql("CALL glm_job_run('job')")
        self.assertEqual(self.sql("SELECT key, attempts, sqlstate FROM glm_job_errors"), [("5", 2, "23514")])
        self.assertEqual(self.job("done"), 19)

    def run_and_fail(self, error):
        with self.assertRaises(error):
            self.sql("CALL glm_job_run('job')")
        self.assertEqual(self.job("state"), "paused")
        self.assertEqual(self.one("SELECT coalesce(sum(tries + claims), 0) FROM chatglm.job_queue"), 0)

    def test_faults_of_the_job_pause_it(self):
        self.make_table(10)
        self.make_job()
        for change, back, error in (
                ("ALTER TABLE ticket RENAME body TO content", "ALTER TABLE ticket RENAME content TO body", psycopg.errors.UndefinedColumn),
                ("ALTER TABLE ticket RENAME queue TO q", "ALTER TABLE ticket RENAME q TO queue", psycopg.errors.UndefinedColumn),
                ("ALTER TABLE ticket RENAME id TO k", "ALTER TABLE ticket RENAME k TO id", psycopg.errors.UndefinedColumn),
                ("ALTER TABLE ticket ALTER queue TYPE int USING 1", "ALTER TABLE ticket ALTER queue TYPE text USING NULL",
                 psycopg.errors.DatatypeMismatch),
                ("ALTER TABLE ticket DROP queue", "ALTER TABLE ticket ADD queue text", psycopg.errors.UndefinedColumn),
                ("ALTER TABLE ticket DROP body", "ALTER TABLE ticket ADD body text DEFAULT 'hello'", psycopg.errors.UndefinedColumn)):
            with self.subTest(change):
                self.sql(change)
                self.run_and_fail(psycopg.errors.Error if error is None else error)
                self.assertIn("column", self.job("reason"))
                self.sql(back)
                self.sql("SELECT glm_job_resume('job')")
        # what follows along
        self.sql("ALTER TABLE ticket RENAME TO tickets")
        self.sql("ALTER TABLE tickets ALTER id TYPE int")
        self.sql("CALL glm_job_run('job')")
        self.assertEqual(self.job("done"), 10)
        self.sql("DROP TABLE tickets")
        with self.assertRaises(psycopg.errors.UndefinedTable):
            self.sql("CALL glm_job_run('job')")
        self.sql("SELECT glm_job_drop('job')")
        self.assertEqual(self.sql("SELECT * FROM glm_jobs"), [])

    def test_unknown_model_pauses(self):
        self.make_table(5)
        self.make_job(call="glm_try_generate(body, model => 'nosuch')")
        self.run_and_fail(psycopg.errors.UndefinedObject)

    def test_a_row_that_ends_its_session_is_dead_in_the_end(self):
        self.make_table(30)
        self.sql("CREATE FUNCTION bomb(id bigint, answer text) RETURNS text LANGUAGE plpgsql AS $$BEGIN "
                 "IF id = 13 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN answer; END$$")
        self.make_job(call=f"bomb(id, {CALL})", chunk=10)
        self.sql("SELECT glm_job_start('job')")
        self.wait_state("done", timeout=300)
        self.assertEqual(self.sql("SELECT key, sqlstate FROM glm_job_errors"), [("13", "57P02")])
        self.assertEqual(self.one("SELECT count(*) FROM ticket WHERE queue IS NULL"), 1)

    def test_deadline(self):
        self.make_table(10)
        self.make_job("late", deadline="2020-01-01")
        self.sql("CALL glm_job_run('late')")
        self.assertEqual(self.sql("SELECT state, reason, done FROM glm_jobs"), [("paused", "its deadline has passed", 0)])

    def keeps_budget(self, first, minutes, **options):
        """The next chunk may begin so many minutes after this one began, by what it used."""
        self.make_table(100)
        self.make_job(**options)
        self.sql("SELECT glm_job_start('job')")
        wait_until(lambda: self.job("done") == first, "a first chunk")
        used = minutes()
        self.assertGreaterEqual(used, 1)
        self.assertEqual(self.sql("SELECT not_before >= started + %s * interval '1 min', not_before <= now() + %s * interval '1 min' "
                                  "FROM chatglm.job", used, used), [(True, True)])
        self.sql("SELECT glm_job_resume('job')")     # as if they had passed
        wait_until(lambda: self.job("done") >= 2 * first, "another, perhaps two at once")
        self.sql("SELECT glm_job_cancel('job')")

    def test_budget_of_rows(self):
        self.keeps_budget(20, lambda: 1, rows_per_minute=20)

    def test_budget_of_tokens(self):
        self.keeps_budget(30, lambda: self.job("tokens") / 100, tokens_per_minute=100, chunk=30)

    def test_priority(self):
        self.make_table(60)
        self.sql("CREATE TABLE urgent AS SELECT * FROM ticket")
        self.sql("ALTER TABLE urgent ADD PRIMARY KEY (id)")
        self.make_job("a", chunk=20)
        self.make_job("b", source="urgent", chunk=20, priority=5)
        self.sql("BEGIN")
        self.sql("SELECT glm_job_start('a'), glm_job_start('b')")
        self.sql("COMMIT")
        self.wait_state("done", "a")
        self.wait_state("done", "b")
        self.assertEqual(self.one("SELECT name FROM glm_jobs ORDER BY finished LIMIT 1"), "b")


if __name__ == "__main__":
    unittest.main()
