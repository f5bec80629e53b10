"""test_cuda.py - a worker on a GPU: the same answers as on the CPU, what is said where there is none, and what a fault does.

The GPU is the host, behind the driver of cuda/host/mock_driver.cc; without chatglm_cuda.so, which needs nvcc, all is skipped.
"""
import os
import subprocess
import unittest

import psycopg

from harness import *

PRELOAD = {"shared_preload_libraries": "chatglm", "chatglm.kv_cache_size": "64MB", "chatglm.max_sequences": 4}
LIBRARY = os.path.join(subprocess.check_output([PG_CONFIG, "--pkglibdir"], text=True).strip(), "chatglm_cuda.so")
DRIVER = os.path.join(ROOT, "build/cuda/mock")
NONE_HERE = "there is no GPU"
# a driver of this machine's own would be found where there should be none
REAL = "libcuda.so.1" in subprocess.run(["/sbin/ldconfig", "-p"], text=True, stdout=subprocess.PIPE, check=False).stdout


@unittest.skipUnless(os.path.exists(LIBRARY) and os.path.exists(f"{DRIVER}/libcuda.so.1"), "built without nvcc")
class Cuda(unittest.TestCase):
    def cluster(self, device, mock=True, fallback="none", **environment):
        if mock:
            environment["LD_LIBRARY_PATH"] = DRIVER
        cluster = Cluster({**PRELOAD, "chatglm.device": f"'{device}'", "chatglm.device_fallback": fallback}, environment=environment)
        self.addCleanup(cluster.remove)
        conn = cluster.connect()
        self.addCleanup(conn.close)
        conn.execute("CREATE EXTENSION chatglm")
        return cluster, conn

    def ready(self, conn):
        wait_until(lambda: value("SELECT glm_ready()", conn), "the worker is up", 60)
        return health(conn)

    def answers(self, conn):
        """Greedy and sampled, and logits to the last bit."""
        return ([value(f"SELECT glm_generate('{prompt}', temperature => {t}, seed => 7, max_tokens => 8)", conn)
                 for prompt in ("hello", "who are you") for t in (0, 1)],
                value("SELECT glm_logits(glm_tokenize('hello'))", conn))

    def assert_down(self, cluster, conn, words):
        """The worker stays up and says why it cannot compute, to the log, to health and to callers."""
        wait_until(lambda: health(conn)["last_error"], "the worker said why", 60)
        self.assertIn(words, health(conn)["last_error"])
        self.assertFalse(value("SELECT glm_ready()", conn))
        with self.assertRaises(psycopg.errors.ObjectNotInPrerequisiteState) as caught:
            conn.execute("SELECT glm_generate('hi')")
        self.assertEqual(caught.exception.sqlstate, "55000")
        self.assertIn(words, caught.exception.diag.message_detail)
        self.assertTrue(caught.exception.diag.message_hint)
        self.assertIn(f"chatglm worker cannot start: {health(conn)['last_error']}", cluster.log())

    def test_same_answers_on_a_gpu(self):
        _, conn = self.cluster("auto")
        state = self.ready(conn)
        self.assertEqual((state["device"], state["device_why"], state["kernels"]), ("mock GPU", None, "sm_90"))
        on_gpu = self.answers(conn)
        with connect() as cpu:
            self.assertEqual(self.answers(cpu), on_gpu)

    @unittest.skipIf(REAL, "this machine has a driver")
    def test_no_driver(self):
        cluster, conn = self.cluster("auto", mock=False)
        state = self.ready(conn)
        self.assertEqual(state["device"], "CPU")
        self.assertIn("libcuda.so.1: cannot open shared object file", state["device_why"])
        self.assertIn(f"chatglm computes on the CPU: {state['device_why']}", cluster.log())
        self.assertTrue(value("SELECT glm_generate('hello', max_tokens => 4)", conn))

    @unittest.skipIf(REAL, "this machine has a driver")
    def test_no_driver_for_a_device_that_is_named(self):
        cluster, conn = self.cluster("cuda:0", mock=False)
        self.assert_down(cluster, conn, 'no device "cuda:0": libcuda.so.1: cannot open shared object file')

    def test_no_device_behind_the_driver(self):
        cluster, conn = self.cluster("cuda", GLM_MOCK_FAULT="cuInit:0:100")
        self.assert_down(cluster, conn, "CUDA_ERROR_NO_DEVICE")

    def test_too_little_memory(self):
        cluster, conn = self.cluster("cuda:0", GLM_MOCK_MEMORY="32")
        self.assert_down(cluster, conn, "64 MB on device \"mock GPU\"")

    def test_the_cpu_stands_in_where_it_may(self):
        cluster, conn = self.cluster("cuda:0", fallback="cpu", GLM_MOCK_FAULT="cuInit:0:35")
        state = self.ready(conn)
        self.assertEqual(state["device"], "CPU")
        self.assertIn("CUDA_ERROR_INSUFFICIENT_DRIVER", state["device_why"])
        self.assertIn("chatglm computes on the CPU: ", cluster.log())
        self.assertTrue(value("SELECT glm_generate('hello', max_tokens => 4)", conn))

    def test_a_lost_device_ends_the_worker_and_what_it_computed(self):
        flag = os.path.join(directory_for_owner(), "fault")
        self.addCleanup(as_owner, "rm", "-r", os.path.dirname(flag))
        cluster, conn = self.cluster("cuda:0", GLM_MOCK_FAULT="kernel:300:700", GLM_MOCK_ONCE=flag)
        as_owner("touch", flag)
        state = self.ready(conn)
        with self.assertRaisesRegex(psycopg.Error, "CUDA_ERROR_ILLEGAL_ADDRESS|worker restarted"):
            for _ in range(20):
                conn.execute("SELECT glm_generate('hello', max_tokens => 8)")
        wait_until(lambda: health(conn).get("worker_pid") not in (None, state["worker_pid"]), "a new worker", 60)
        self.assertIn("CUDA_ERROR_ILLEGAL_ADDRESS (700, an illegal memory access was encountered)", health(conn)["last_error"])
        self.assertIn("chatglm lost the device that computes", cluster.log())
        self.assertEqual(self.ready(conn)["device"], "mock GPU")
        self.assertTrue(value("SELECT glm_generate('hello', max_tokens => 4)", conn))
