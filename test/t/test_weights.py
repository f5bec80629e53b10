"""test_weights.py - weight files that change between loading a model and mapping its chunks.

What the worker finds out before it maps is an ERROR of the request: the worker
goes on, and so do all other models.  (test_faults.py cuts off a file that is mapped.)
"""
import os
import unittest

import psycopg

from harness import *

GREETING = "SELECT glm_generate('hello')"
ASK = "SELECT glm_generate('hello', model => 'weights')"


class Weights(Case):
    def setUp(self):
        super().setUp()
        self.model = directory_for_owner()
        self.addCleanup(shutil.rmtree, self.model)
        for name in os.listdir(f"{ROOT}/models/tiny-chatglm3"):
            shutil.copy(f"{ROOT}/models/tiny-chatglm3/{name}", self.model)
        self.file = f"{self.model}/model.safetensors"
        self.conn = self.session()
        self.conn.execute("SELECT glm_model_load('weights', %s)", [self.model])
        self.addCleanup(self.unload)
        self.pid = worker_pid()

    def unload(self):
        value("SELECT glm_model_unload('weights')")
        value("DELETE FROM chatglm.model WHERE name = 'weights' RETURNING name")

    def mapped(self):
        maps = as_owner("cat", f"/proc/{worker_pid()}/maps")
        return sum(self.file in line for line in maps.splitlines())

    def assert_refused(self, pattern):
        for _ in range(2):
            with self.assertRaisesRegex(psycopg.errors.Error, pattern):
                self.conn.execute(ASK)
            self.assertTrue(value(GREETING, self.conn))
        self.assertEqual(worker_pid(), self.pid)
        self.assertEqual(self.mapped(), 0)

    def test_mapped_by_the_first_pass_alone(self):
        set_system("chatglm.huge_pages", "off")     # where they are no mappings of the file
        self.addCleanup(set_system, "chatglm.huge_pages", None)
        value("SELECT 1")
        self.assertEqual(self.mapped(), 0)
        self.assertGreater(value("SELECT glm_count_tokens('hello', model => 'weights')", self.conn), 0)
        self.assertEqual(self.mapped(), 0)
        self.assertEqual(value(ASK, self.conn), value(GREETING))
        self.assertEqual(self.mapped(), 1)
        self.assertTrue(value("SELECT glm_model_unload('weights')", self.conn))
        wait_until(lambda: self.mapped() == 0, "its file is mapped no more")

    def test_cut_off(self):
        os.truncate(self.file, 65536)
        self.assert_refused("model.safetensors")

    def test_changed(self):
        with open(self.file, "r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\1")
        self.assert_refused("has changed since")
        self.assertTrue(value("SELECT glm_model_unload('weights')", self.conn))
        self.assertTrue(value(ASK, self.conn))


if __name__ == "__main__":
    unittest.main()
