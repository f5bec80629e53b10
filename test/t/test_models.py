"""test_models.py - models on disk and in the server's log: who may not read them, when they come and go."""
import re
import unittest

from harness import *

MODEL = os.path.join(ROOT, "models", "tiny-chatglm3")


class Models(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        wait_until(lambda: value("SELECT glm_ready()"), "the worker is up")

    def copy_model(self):
        """A copy of the embedded model that the server's user may read, but does not own where we are root."""
        base = directory_for_owner()
        self.addCleanup(shutil.rmtree, base)
        path = os.path.join(base, "model")
        shutil.copytree(MODEL, path)
        os.chmod(path, 0o755)
        return path

    def forget(self, *names):
        with connect() as conn:
            for name in names:
                conn.execute("DELETE FROM chatglm.model WHERE name = %s", [name])
                conn.execute("SELECT glm_model_unload(%s)", [name])

    # ---- Permission ----

    def test_what_may_not_be_read_is_not_allowed(self):
        path = self.copy_model()
        self.addCleanup(self.forget, "closed")
        for name in ("config.json", "tokenizer.model", "model.safetensors", "."):
            with self.subTest(name), connect() as conn:
                closed = os.path.normpath(os.path.join(path, name))
                mode = os.stat(closed).st_mode
                if os.getuid() != 0 or name == ".":
                    os.chmod(closed, 0)
                else:
                    os.chmod(closed, 0o600)
                with self.assertRaises(psycopg.errors.InsufficientPrivilege) as caught:
                    conn.execute("SELECT glm_model_load('closed', %s)", [path])
                self.assertIn("ermission denied", str(caught.exception))
                os.chmod(closed, mode)
                conn.execute("SELECT glm_model_load('closed', %s)", [path])
                self.forget("closed")

    def test_where_may_not_be_written_is_not_allowed(self):
        base = directory_for_owner()
        self.addCleanup(shutil.rmtree, base)
        os.chmod(base, 0o555)
        if os.getuid() == 0:
            os.chown(base, 0, 0)
        with connect() as conn:
            with self.assertRaises(psycopg.errors.InsufficientPrivilege):
                conn.execute("SELECT * FROM glm_quantize('tiny-chatglm3', %s)", [base + "/packed"])

    # ---- The log ----

    def test_the_log_tells_when_they_come_and_go(self):
        cluster = Cluster({"shared_preload_libraries": "chatglm", "chatglm.memory_limit": "12MB"})
        self.addCleanup(cluster.remove)
        paths = [self.copy_model() for _ in range(2)]

        def told():
            found = re.findall(r'LOG:  chatglm model "([^"]*)" (loaded|unloaded: [a-z ]*)', cluster.log())
            return [(name, what.strip()) for name, what in found]

        def wait_told(*expected):
            wait_until(lambda: sorted(told()) == sorted(expected), f"the log says {expected}")

        with cluster.connect() as conn:
            conn.execute("CREATE EXTENSION chatglm")
            wait_until(lambda: value("SELECT glm_ready()", conn), "the worker is up")
            self.assertEqual(told(), [])
            log = [("tiny-chatglm3", "loaded")]
            conn.execute("SELECT glm_count_tokens('hi')")
            wait_told(*log)
            self.assertRegex(cluster.log(), r'loaded in [0-9.]+ ms from "/.*/tiny-chatglm3" \(F16, 4\.[0-9] MB\)')
            conn.execute("SELECT glm_count_tokens('hi')")
            conn.execute("SELECT glm_model_load('second', %s)", [paths[0]])
            log += [("second", "loaded")]
            wait_told(*log)
            # no room for a third one
            conn.execute("SELECT glm_model_load('third', %s)", [paths[1]])
            log += [("third", "loaded"), ("tiny-chatglm3", "unloaded: least recently used")]
            wait_told(*log)
            conn.execute("SELECT glm_model_unload('third')")
            log += [("third", "unloaded: on request")]
            wait_told(*log)
            # another directory for a name
            conn.execute("SELECT glm_model_load('second', %s)", [paths[1]])
            log += [("second", "loaded"), ("second", "unloaded: its name means another directory now")]
            wait_told(*log)
            # and of a directory without models
            conn.execute("ALTER SYSTEM SET chatglm.model_dir = '/nowhere'")
            conn.execute("SELECT pg_reload_conf()")
            wait_until(lambda: 'LOG:  chatglm.model_dir: the server cannot read directory "/nowhere"' in cluster.log(), "it is said")


if __name__ == "__main__":
    unittest.main()
