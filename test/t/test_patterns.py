"""Patterns of constraints beside Python's re; test/constrain/patterns.py compares more of them."""
import subprocess
import sys
import unittest

from harness import ROOT

sys.path.append(f"{ROOT}/test/constrain")
import patterns  # noqa: E402


class Patterns(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        subprocess.run(["make", "--no-print-directory", "build/test/pattern_match"], cwd=ROOT, check=True,
                       stdout=subprocess.DEVNULL)

    def test_random_patterns_match_what_python_matches(self):
        compared, different = patterns.differences(1500, seed=14)
        self.assertEqual(compared, 1500)
        self.assertEqual(different, [])

    def test_what_is_taken_for_a_regex_is_one_to_python(self):
        taken, refused = patterns.no_regexes(20000, seed=14)
        self.assertEqual(refused, [])
        self.assertGreater(len(taken), 2000)


if __name__ == "__main__":
    unittest.main()
