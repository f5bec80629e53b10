"""test_soak.py - `make soak` in small: states and answers, no memory; and does it notice what it is there for?"""
import contextlib
import io
import os
import subprocess
import sys
import unittest

from harness import ROOT

sys.path.insert(0, os.path.join(ROOT, "test", "soak"))
import gauges  # noqa: E402
import sessions  # noqa: E402


class Soak(unittest.TestCase):
    def test_in_small(self):
        done = subprocess.run([sys.executable, f"{ROOT}/test/soak/soak.py", "--minutes", "0.3", "--sessions", "12"], text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.assertEqual(done.returncode, 0, done.stdout[-8000:])
        self.assertIn("\n0 failures\n", done.stdout)


class Judgement(unittest.TestCase):
    resident = f"{gauges.RESIDENT} the worker, kB"

    def test_what_may_grow(self):
        start = {self.resident: 10000, "descriptors of the worker": 12, "KV bytes in use": 0}
        self.assertEqual(gauges.grown(start, start, True), [])
        self.assertEqual(gauges.grown(start, {**start, self.resident: 10100, "descriptors of the worker": 11}, True), [])
        self.assertEqual(gauges.grown(start, {**start, self.resident: 10101}, True), [(self.resident, 10000, 10101)])
        self.assertEqual(gauges.grown(start, {**start, self.resident: 20000}, False), [])
        self.assertEqual(gauges.grown(start, {**start, "descriptors of the worker": 13, "KV bytes in use": 1}, False),
                         [("descriptors of the worker", 12, 13), ("KV bytes in use", 0, 1)])
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            gauges.show(start, {**start, "KV bytes in use": 5})
        self.assertRegex(shown.getvalue(), r"KV bytes in use +0 +5 +\+5\n")

    def test_another_answer(self):
        tally = sessions.Tally()
        for answer in ("a", "a", "b"):
            tally.check("SELECT 1", answer)
        tally.check("wrong rows", 1, 0)
        self.assertEqual(tally.bad, ["another answer: SELECT 1: b instead of a", "another answer: wrong rows: 1 instead of 0"])

    def test_which_errors_a_fault_explains(self):
        class Server:
            tally, faults, striking = sessions.Tally(), 0, False

        class Error(Exception):
            sqlstate = "58000"

        server = Server()
        session = sessions.Session(server)
        session.failed("generate", Error(), ("57014",))
        self.assertEqual(len(server.tally.bad), 1)
        session.failed("generate", Error(), ("58000",))
        self.assertEqual((server.tally.ended["58000"], server.tally.lost), (1, 0))
        server.faults, server.striking = 1, True
        session.failed("generate", Error(), ())
        session.settle()
        server.striking = False
        session.failed("generate", Error(), ())
        session.settle()
        self.assertEqual((len(server.tally.bad), server.tally.lost), (1, 2))
        session.failed("generate", Error(), ())
        self.assertEqual(len(server.tally.bad), 2)
        Error.sqlstate = "XX000"
        server.faults = 2
        session.failed("generate", Error(), ())
        self.assertEqual(len(server.tally.bad), 3)


if __name__ == "__main__":
    unittest.main()
