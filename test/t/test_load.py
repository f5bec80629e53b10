"""test_load.py - requests that end early in any way, in many sessions at once, leave nothing and change nobody's answer."""
import os
import random
import sys
import threading
import unittest

from harness import *

sys.path.insert(0, os.path.join(ROOT, "test", "bench"))
import load  # noqa: E402

SESSIONS, REQUESTS = 8, 60
ASK = "SELECT glm_generate('Order 3 red chairs for Paris.', system => 'Extract product, city and quantity as JSON.', " \
      "temperature => 0.5, seed => 1)"


class Load(Case):
    connect = staticmethod(connect)     # what load.end_early asks of its bench

    def disturb(self, seed):
        r, conn = random.Random(seed), connect()
        for _ in range(REQUESTS):
            conn = load.end_early(self, conn, r)
            self.ended[seed] += 1
        conn.close()

    def test_ended_early(self):
        expected, pid = value(ASK), worker_pid()
        segments, descriptors = load.segments(), load.descriptors(pid)
        self.ended = [0] * SESSIONS
        threads = [threading.Thread(target=self.disturb, args=(i,)) for i in range(SESSIONS)]
        for t in threads:
            t.start()
        conn, answers = self.session(), 0
        while any(t.is_alive() for t in threads):
            self.assertEqual(value(ASK, conn), expected)
            answers += 1
        for t in threads:
            t.join()
        conn.close()
        self.assertEqual(self.ended, [REQUESTS] * SESSIONS)
        self.assertGreater(answers, 5)
        self.assert_idle()
        self.assertEqual(worker_pid(), pid)
        wait_until(lambda: load.descriptors(pid) <= descriptors, "no descriptor is left")
        wait_until(lambda: load.segments() <= segments, "no segment is left")


if __name__ == "__main__":
    unittest.main()
