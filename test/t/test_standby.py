"""test_standby.py - a hot standby answers as its primary does."""
import unittest

import psycopg

from harness import *


class Standby(Case):
    def test_hot_standby(self):
        standby = Cluster({}, primary=tuple(os.environ[name] for name in ("PGHOST", "PGPORT", "PGUSER")))
        self.addCleanup(standby.remove)
        with standby.connect() as conn:
            self.assertTrue(value("SELECT pg_is_in_recovery()", conn))
            wait_until(lambda: value("SELECT glm_ready()", conn), "the standby's worker is up")
            self.assertNotEqual(health(conn)["worker_pid"], worker_pid())
            for sql in (f"SELECT {GENERATE}", f"SELECT string_agg(token, '' ORDER BY seq) FROM {STREAM}"):
                self.assertEqual(value(sql, conn), value(sql))
            # a name that is known can be loaded, a new one would have to be written down
            conn.execute("SELECT glm_model_load('tiny-chatglm3')")
            with self.assertRaises(psycopg.errors.ReadOnlySqlTransaction):
                conn.execute("SELECT glm_model_load('other', path) FROM glm_models WHERE name = 'tiny-chatglm3'")


if __name__ == "__main__":
    unittest.main()
