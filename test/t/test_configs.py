"""test_configs.py - checkpoints whose config.json does not say what they are are refused, or loaded as told."""
import json
import os
import shutil
import unittest

from harness import *

TINY = os.path.join(ROOT, "models", "tiny-chatglm3")
LOGITS = "SELECT (glm_logits(glm_tokenize(repeat('hello world ', 20), 'config'), 'config'))[1:50]"


class Configs(Case):
    def setUp(self):
        super().setUp()
        self.conn = self.session()
        self.path = directory_for_owner()
        self.addCleanup(shutil.rmtree, self.path)
        self.addCleanup(self.forget)

    def forget(self):
        with connect() as conn:
            conn.execute("DELETE FROM chatglm.model WHERE name = 'config'")
            conn.execute("SELECT glm_model_unload('config')")

    def write(self, **changed):
        """The embedded model with other keys in its config.json; None takes one out."""
        for file in os.listdir(TINY):
            shutil.copyfile(os.path.join(TINY, file), os.path.join(self.path, file))
        with open(os.path.join(TINY, "config.json")) as file:
            config = {**json.load(file), **changed}
        with open(os.path.join(self.path, "config.json"), "w") as file:
            json.dump({key: value for key, value in config.items() if value is not None}, file)

    def load(self, options=None):
        self.conn.execute("SELECT glm_model_load('config', %s, %s)", [self.path, options and json.dumps(options)])

    def test_rope_ratio(self):
        """What nothing tells, the option `rope` does, also where the model is loaded already."""
        def logits(**changed):
            options = changed.pop("options", None)
            self.write(rope_ratio=50, **changed)
            self.load(options)
            return value(LOGITS, self.conn)

        two, three = logits(_name_or_path="/data/ChatGLM2-6B-32K"), None
        self.forget()
        three = logits(_name_or_path="THUDM/chatglm3-6b-32k")
        self.assertNotEqual(two, three)
        self.forget()

        self.write(rope_ratio=50, _name_or_path="./out/merged")
        os.remove(os.path.join(self.path, "tokenizer_config.json"))
        with self.assertRaisesRegex(psycopg.errors.FeatureNotSupported, "rope_ratio") as caught:
            self.load()
        self.assertIn('"rope"', caught.exception.diag.message_hint)
        for option, meant in (("chatglm2", two), ("chatglm3", three), ("chatglm2", two)):
            self.load({"rope": option})
            self.assertEqual(value(LOGITS, self.conn), meant)

        # and glm_quantize
        target = os.path.join(directory_for_owner(), "packed")
        self.addCleanup(shutil.rmtree, os.path.dirname(target))
        quantize = "SELECT count(*) FROM glm_quantize('config', %s, %s)"
        with self.assertRaisesRegex(psycopg.errors.FeatureNotSupported, "rope_ratio"):
            self.conn.execute(quantize, [target, "{}"])
        self.conn.execute(quantize, [target, '{"rope": "chatglm2", "bits": 8, "method": null}'])
        self.assertTrue(os.path.exists(os.path.join(target, "config.json")))

    def test_refused(self):
        for changed, pattern in (({"multi_query_attention": False}, "multi_query_attention"),
                                 ({"multi_query_attention": None}, "multi_query_attention")):
            with self.subTest(changed):
                self.write(**changed)
                with self.assertRaisesRegex(psycopg.errors.FeatureNotSupported, pattern):
                    self.load()

    def test_index_beside_a_single_file(self):
        self.write()
        shutil.copyfile(os.path.join(TINY, "model.safetensors"), os.path.join(self.path, "model-00001-of-00001.safetensors"))
        for file, good in (("model-00001-of-00001.safetensors", False), ("model.safetensors", True)):
            with open(os.path.join(self.path, "model.safetensors.index.json"), "w") as index:
                json.dump({"weight_map": {"transformer.encoder.final_layernorm.weight": file}}, index)
            if good:
                self.load()
                continue
            with self.assertRaisesRegex(psycopg.errors.DataCorrupted, "both model.safetensors and"):
                self.load()


if __name__ == "__main__":
    unittest.main()
