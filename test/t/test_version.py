"""test_version.py - chatglm.control says the version; what has to repeat it agrees."""
import json
import os
import re
import unittest

from harness import ROOT


class Version(unittest.TestCase):
    def test_one_version(self):
        with open(f"{ROOT}/chatglm.control") as control:
            version = re.search(r"default_version = '(.*)'", control.read()).group(1)
        with open(f"{ROOT}/META.json") as meta:
            self.assertEqual(json.load(meta)["version"], f"{version}.0")
        with open(f"{ROOT}/CHANGELOG.md") as changes:
            self.assertIn(f"\n## {version}\n", changes.read())
        self.assertTrue(os.path.isfile(f"{ROOT}/chatglm--{version}.sql"))


if __name__ == "__main__":
    unittest.main()
