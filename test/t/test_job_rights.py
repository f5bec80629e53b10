"""test_job_rights.py - as whom jobs run, what of them leaks, and databases that come and go."""
import unittest

import psycopg
import psycopg.types.json

from jobs import *


class Rights(JobCase):
    def setUp(self):
        super().setUp()
        for name, may in (("jobs_ann", "LOGIN"), ("jobs_group", "NOLOGIN")):
            self.sql(f"DROP ROLE IF EXISTS {name}")
            self.sql(f"CREATE ROLE {name} {may}")
            self.addCleanup(self.execute_in, "postgres", f"DROP ROLE {name}")
            self.addCleanup(self.execute_in, self.database, f"DROP OWNED BY {name} CASCADE")
            self.sql(f"GRANT CREATE ON SCHEMA public TO {name}")

    def as_role(self, role, sql):
        self.sql(f"SET ROLE {role}")
        try:
            return self.sql(sql)
        finally:
            self.sql("RESET ROLE")

    def make_spied_table(self, role):
        self.as_role(role, "CREATE TABLE ticket (id int PRIMARY KEY, body text, queue text)")
        self.as_role(role, "INSERT INTO ticket SELECT i, 'text ' || i FROM generate_series(1, 5) i")
        self.sql("CREATE TABLE who (what text, cu text, su text)")
        self.sql("GRANT ALL ON who TO PUBLIC")
        self.as_role(role, "CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
                           "INSERT INTO who VALUES (tg_name, current_user, session_user); RETURN NULL; END$$")
        self.as_role(role, "CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON ticket DEFERRABLE INITIALLY DEFERRED "
                           "FOR EACH ROW EXECUTE FUNCTION spy()")
        self.as_role(role, "CREATE TRIGGER soon AFTER UPDATE ON ticket FOR EACH ROW EXECUTE FUNCTION spy()")
        # asks who is asking, and tries to become somebody else
        self.as_role(role, "CREATE FUNCTION try(body text) RETURNS text LANGUAGE plpgsql AS $$BEGIN "
                           "INSERT INTO public.who VALUES ('call', current_user, session_user); "
                           "BEGIN EXECUTE 'RESET ROLE'; EXCEPTION WHEN OTHERS THEN NULL; END; "
                           "BEGIN EXECUTE 'SET SESSION AUTHORIZATION DEFAULT'; EXCEPTION WHEN OTHERS THEN NULL; END; "
                           "INSERT INTO public.who VALUES ('then', current_user, 'x'); "
                           "PERFORM set_config('chatglm.model', 'nosuch', false), set_config('search_path', 'pg_temp', false); "
                           "CREATE TEMP TABLE leak ON COMMIT PRESERVE ROWS AS SELECT 1; RETURN body; "
                           "EXCEPTION WHEN duplicate_table THEN RETURN body; END$$")

    def run_as(self, role):
        self.make_spied_table(role)
        self.as_role(role, "SELECT glm_job_create('spy', 'ticket', 'id', 'queue', 'public.try(body)', '{\"chunk\": 2}')")
        self.as_role(role, "SELECT glm_job_start('spy')")
        self.wait_state("done", "spy")
        self.assertEqual(self.job("done", "spy"), 5)
        found = self.sql("SELECT DISTINCT what, cu FROM who")
        self.assertEqual({row[1] for row in found}, {role})
        self.assertEqual({row[0] for row in found} >= {"late", "soon", "call", "then"}, True)
        # a job of the same role in the same process finds no settings of the other's expression
        self.as_role(role, f"SELECT glm_job_create('plain', 'ticket', 'id', 'queue', $${CALL}$$)")
        self.as_role(role, "SELECT glm_job_start('plain')")
        self.wait_state("done", "plain")
        self.assertEqual(self.wrong_answers(), 0)

    def test_an_owner_who_may_log_in(self):
        self.run_as("jobs_ann")
        self.assertEqual(self.sql("SELECT DISTINCT su FROM who WHERE what <> 'then'"), [("jobs_ann",)])

    def test_an_owner_who_may_not(self):
        self.run_as("jobs_group")

    def test_row_security(self):
        self.sql("CREATE TABLE rls (id int PRIMARY KEY, tenant name, body text, queue text)")
        self.sql("INSERT INTO rls SELECT i, CASE WHEN i % 2 = 0 THEN 'jobs_ann' ELSE 'x' END, 'text ' || i FROM generate_series(1, 10) i")
        self.sql("ALTER TABLE rls ENABLE ROW LEVEL SECURITY")
        self.sql("CREATE POLICY own ON rls USING (tenant = current_user)")
        self.sql("GRANT SELECT, UPDATE (queue) ON rls TO jobs_ann, jobs_group")
        self.as_role("jobs_ann", f"SELECT glm_job_create('mine', 'rls', 'id', 'queue', $${CALL}$$)")
        self.as_role("jobs_ann", "CALL glm_job_run('mine')")
        self.assertEqual(self.sql("SELECT count(queue), bool_and(id % 2 = 0) FROM rls WHERE queue IS NOT NULL"), [(5, True)])
        # whoever calls, it is what its owner sees
        self.sql("UPDATE rls SET queue = NULL")
        self.sql("CALL glm_job_run('mine')")
        self.assertEqual(self.sql("SELECT count(queue), bool_and(id % 2 = 0) FROM rls WHERE queue IS NOT NULL"), [(5, True)])

    def test_members_run_it_as_its_owner(self):
        self.make_spied_table("jobs_group")
        self.as_role("jobs_group", "SELECT glm_job_create('spy', 'ticket', 'id', 'queue', 'public.try(body)', '{\"chunk\": 2}')")
        with self.assertRaisesRegex(psycopg.errors.InsufficientPrivilege, "permission denied for job"):
            self.as_role("jobs_ann", "CALL glm_job_run('spy')")
        self.assertEqual(self.job("state", "spy"), "created")
        self.sql("GRANT jobs_group TO jobs_ann")
        with self.assertRaisesRegex(psycopg.errors.InsufficientPrivilege, "temporary table"):
            self.as_role("jobs_ann", "CALL glm_job_run('spy')")     # which would be left in ann's session
        self.assertEqual(self.sql("SELECT DISTINCT cu FROM who"), [])
        self.sql("ALTER FUNCTION try RENAME TO leaky")
        self.as_role("jobs_group", "CREATE FUNCTION try(body text) RETURNS text LANGUAGE plpgsql AS $$BEGIN "
                                   "INSERT INTO public.who VALUES ('call', current_user, session_user); "
                                   "BEGIN EXECUTE 'RESET ROLE'; EXCEPTION WHEN OTHERS THEN NULL; END; "
                                   "INSERT INTO public.who VALUES ('then', current_user, 'x'); "
                                   "PERFORM set_config('search_path', 'pg_temp', false); RETURN body; END$$")
        self.sql("SELECT glm_job_drop('spy')")
        self.as_role("jobs_group", "SELECT glm_job_create('spy', 'ticket', 'id', 'queue', 'public.try(body)', '{\"chunk\": 2}')")
        for role in ("jobs_ann", "postgres"):
            with self.subTest(role):
                self.sql("TRUNCATE who")
                self.as_role(role, "CALL glm_job_run('spy')")
                self.assertEqual(self.job("done", "spy"), 5)
                self.assertEqual(self.sql("SELECT DISTINCT what, cu FROM who ORDER BY 1"),
                                 [(what, "jobs_group") for what in ("call", "late", "soon", "then")])
                self.assertEqual(self.sql("SELECT current_user, current_setting('search_path')"), [("postgres", '"$user", public')])

    def test_who_starts_it_runs_nothing_of_its_owner(self):
        """The planner runs immutable functions, glm_job_estimate the call."""
        self.make_table(3)
        self.sql("GRANT ALL ON ticket TO jobs_ann")
        for returns, kind in (("boolean", "IMMUTABLE"), ("text", "VOLATILE")):
            self.as_role("jobs_ann", f"CREATE FUNCTION tell_{returns}() RETURNS {returns} LANGUAGE plpgsql {kind} AS "
                                     "$$BEGIN RAISE NOTICE 'by %', current_user; RETURN true; END$$")
        self.as_role("jobs_ann", "SELECT glm_job_create('mine', 'ticket', 'id', 'queue', 'tell_text()', '{\"where\": \"tell_boolean()\"}')")
        for call in ("SELECT glm_job_start('mine')", "SELECT glm_job_sync('mine')", "SELECT glm_job_estimate('mine')"):
            with self.subTest(call):
                self.notices.clear()
                self.sql(call)
                self.assertEqual(set(self.notices), {"by jobs_ann"})
                self.wait_state("done", "mine")

    def test_a_right_that_is_taken_away(self):
        self.make_table(5)
        self.sql("GRANT SELECT, UPDATE (queue) ON ticket TO jobs_ann")
        self.as_role("jobs_ann", f"SELECT glm_job_create('mine', 'ticket', 'id', 'queue', $${CALL}$$)")
        self.sql("REVOKE UPDATE (queue) ON ticket FROM jobs_ann")
        with self.assertRaises(psycopg.errors.InsufficientPrivilege):
            self.as_role("jobs_ann", "CALL glm_job_run('mine')")
        self.assertEqual((self.job("state", "mine"), self.one("SELECT count(queue) FROM ticket")), ("paused", 0))

    def test_names_are_those_of_the_one_who_made_it(self):
        self.make_table(3)
        self.sql("CREATE SCHEMA mine")
        self.sql("CREATE FUNCTION mine.classify(text) RETURNS text LANGUAGE sql AS $$SELECT 'mine'$$")
        self.sql("SET search_path = mine, public")
        self.make_job(call="classify(body)")
        self.sql("CREATE FUNCTION public.classify(text) RETURNS text LANGUAGE sql AS $$SELECT 'trap'$$")
        self.sql("CREATE FUNCTION public.upper(text) RETURNS text LANGUAGE sql AS $$SELECT 'trap'$$")
        self.sql("SET search_path = public, pg_catalog")
        self.sql("CALL glm_job_run('job')")
        self.assertEqual(self.sql("SELECT DISTINCT queue FROM ticket"), [("mine",)])

    def test_triggers_have_the_path_of_the_session(self):
        self.make_table(3)
        self.sql("CREATE TABLE log (id bigint)")
        self.sql("CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO log VALUES (new.id); RETURN NULL; END$$")
        self.sql("CREATE TRIGGER log AFTER UPDATE ON ticket FOR EACH ROW EXECUTE FUNCTION log()")
        self.make_job()
        self.sql("SELECT glm_job_start('job')")
        self.wait_state("done")
        self.assertEqual(self.one("SELECT count(*) FROM log"), 3)


class Databases(JobCase):
    """With the engine held, no chunk is ever done."""

    delay = HELD

    def busy(self, rows=100):
        self.make_table(rows)
        self.make_job(chunk=20)
        self.sql("SELECT glm_job_start('job')")
        wait_until(lambda: health()["running"] > 0, "the model computes")

    def test_drop_database(self):
        """It waits five seconds for others to go, which jobs do."""
        self.busy()
        self.conn.close()
        self.execute_in("postgres", f"DROP DATABASE {self.database}")

    def test_drop_database_force(self):
        self.busy()
        self.execute_in("postgres", f"DROP DATABASE {self.database} WITH (FORCE)")

    def test_drop_that_fails_lets_jobs_go_on(self):
        self.busy()
        with self.assertRaises(psycopg.errors.ObjectInUse):
            self.execute_in("postgres", f"DROP DATABASE {self.database}")
        set_delay(0)
        self.wait_state("done")
        self.assertEqual(self.job("done"), 100)

    def test_template_and_rename(self):
        self.busy()
        self.conn.close()
        copy = self.database + "_copy"
        self.addCleanup(self.execute_in, "postgres", f"DROP DATABASE IF EXISTS {copy}")
        self.execute_in("postgres", f"CREATE DATABASE {copy} TEMPLATE {self.database}")
        self.execute_in("postgres", f"ALTER DATABASE {self.database} RENAME TO {self.database}_x")
        self.execute_in("postgres", f"ALTER DATABASE {self.database}_x RENAME TO {self.database}")
        self.conn = self.open()
        set_delay(0)
        self.wait_state("done")
        # the copy has the job as it was, which waits to be started there
        with connect(dbname=copy) as conn:
            self.assertEqual(value("SELECT state FROM glm_jobs", conn), "running")
            self.assertEqual(job_pids(copy), [])
            conn.execute("SELECT glm_job_start('job')")
            wait_until(lambda: value("SELECT state FROM glm_jobs", conn) == "done", "the copy's job, too")
            self.assertEqual(value("SELECT count(*) FROM ticket WHERE queue IS NULL", conn), 0)

    def test_dump_and_restore_in_the_middle(self):
        set_delay(500)
        self.busy()
        wait_until(lambda: self.job("done") > 0, "some rows are stored")
        set_delay(HELD)
        dump = subprocess.run([f"{BINDIR}/pg_dump", self.database], check=True, stdout=subprocess.PIPE).stdout
        self.sql("SELECT glm_job_cancel('job')")
        set_delay(0)
        other = self.database + "_restored"
        self.execute_in("postgres", f"CREATE DATABASE {other}")
        self.addCleanup(self.execute_in, "postgres", f"DROP DATABASE IF EXISTS {other}")
        subprocess.run([f"{BINDIR}/psql", "-Xq", "-v", "ON_ERROR_STOP=1", other], input=dump, check=True, stdout=subprocess.DEVNULL)
        with connect(dbname=other) as conn:
            done = value("SELECT count(*) FROM ticket WHERE queue IS NOT NULL", conn)
            self.assertEqual((value("SELECT done FROM glm_jobs", conn), value("SELECT state FROM glm_jobs", conn)), (done, "running"))
            conn.execute("CALL glm_job_run('job')")
            self.assertEqual((value("SELECT done FROM glm_jobs", conn), value("SELECT state FROM glm_jobs", conn)), (100, "done"))
            self.assertEqual(value("SELECT count(*) FROM ticket WHERE queue IS NULL", conn), 0)


if __name__ == "__main__":
    unittest.main()
