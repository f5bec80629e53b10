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
    def cluster(self, device, mock=True, fallback="none", settings=None, **environment):
        if mock:
            environment["LD_LIBRARY_PATH"] = DRIVER
        cluster = Cluster({**PRELOAD, "chatglm.device": f"'{device}'", "chatglm.device_fallback": fallback, **(settings or {})},
                          environment=environment)
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

    def test_no_memory(self):
        cluster, conn = self.cluster("cuda:0", GLM_MOCK_MEMORY="512")
        self.assert_down(cluster, conn, "device \"mock GPU\" has no memory for a KV cache: of 512 MB 0 are free")

    def test_too_little_memory_for_a_model(self):
        _, conn = self.cluster("cuda:0", GLM_MOCK_MEMORY="515")
        self.ready(conn)
        with self.assertRaises(psycopg.Error) as caught:
            conn.execute("SELECT glm_generate('hi')")
        self.assertEqual(caught.exception.sqlstate, "53200")
        self.assertRegex(str(caught.exception), r"needs \d+ MB of memory on device \"mock GPU\", of which \d are free")
        self.assertIn("chatglm.kv_cache_size", caught.exception.diag.message_hint)

    def test_memory_is_divided(self):
        """The pool takes what the model leaves, and neither needs memory of the host."""
        cluster, conn = self.cluster("cuda:0", settings={"chatglm.kv_cache_size": "8GB", "chatglm.memory_limit": "1MB"},
                                     GLM_MOCK_MEMORY="640")
        self.ready(conn)
        self.assertTrue(value("SELECT glm_generate('hello', max_tokens => 4)", conn))
        total = health(conn)["kv_bytes"]
        self.assertTrue(16 << 20 < total < 128 << 20, total)
        self.assertIn(f"chatglm has {total >> 20} MB of KV cache: the device has no room for more", cluster.log())
        self.assertEqual(value("SELECT chunks_mapped FROM glm_models WHERE loaded", conn), 0)

    def test_the_cpu_stands_in_where_it_may(self):
        cluster, conn = self.cluster("cuda:0", fallback="cpu", GLM_MOCK_FAULT="cuInit:0:35")
        state = self.ready(conn)
        self.assertEqual(state["device"], "CPU")
        self.assertIn("CUDA_ERROR_INSUFFICIENT_DRIVER", state["device_why"])
        self.assertIn("chatglm computes on the CPU: ", cluster.log())
        self.assertTrue(value("SELECT glm_generate('hello', max_tokens => 4)", conn))

    def test_a_lost_device_ends_the_worker_and_what_it_computed(self):
        self.check_lost("kernel:300:700")

    def test_a_device_lost_while_a_model_is_loaded(self):
        self.check_lost("cuMemcpyHtoDAsync:9:700")

    def check_lost(self, fault):
        flag = os.path.join(directory_for_owner(), "fault")
        self.addCleanup(as_owner, "rm", "-r", os.path.dirname(flag))
        cluster, conn = self.cluster("cuda:0", GLM_MOCK_FAULT=fault, GLM_MOCK_ONCE=flag)
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

    def test_graphs_that_are_wrong(self):
        cluster, conn = self.cluster("cuda:0", GLM_MOCK_WRONG_GRAPHS="1")
        self.ready(conn)
        on_gpu = self.answers(conn)
        with connect() as cpu:
            self.assertEqual(self.answers(cpu), on_gpu)
        self.assertEqual(health(conn)["tuning"]["graphs"], "dropped: other bits than the plain launches")
        self.assertIn("chatglm does without graphs on this device: dropped: other bits", cluster.log())

    # ---- A slow device: its pass is on it for as long as the test wants ----

    def slow_cluster(self):
        flag = os.path.join(directory_for_owner(), "hold")
        self.addCleanup(as_owner, "rm", "-r", os.path.dirname(flag))
        cluster, conn = self.cluster("cuda:0", GLM_MOCK_HOLD_PASSES=flag)
        self.ready(conn)
        self.assertTrue(value("SELECT glm_generate('hello', max_tokens => 4)", conn))
        return cluster, conn, flag

    def hold(self, cluster, flag, sql=f"SELECT {ENDLESS}"):
        """A request whose pass is on the device and will not be done."""
        as_owner("rm", "-f", f"{flag}.held")
        as_owner("touch", flag)
        waiting = Background(sql, host=cluster.base, port=5432, user="postgres", dbname="postgres")
        self.addCleanup(waiting.conn.close)
        wait_until(lambda: os.path.exists(f"{flag}.held"), "a pass is on the device", 60)
        return waiting

    def test_requests_end_while_a_pass_is_on_the_device(self):
        cluster, conn, flag = self.slow_cluster()
        waiting = self.hold(cluster, flag)
        conn.execute(f"SELECT pg_cancel_backend({waiting.pid})")
        with self.assertRaises(psycopg.errors.QueryCanceled):
            waiting.result()
        # one that waits for the device behind it
        conn.execute("SET statement_timeout = '100ms'")
        with self.assertRaises(psycopg.errors.QueryCanceled):
            conn.execute(f"SELECT {ENDLESS}")
        conn.execute("RESET statement_timeout")
        as_owner("rm", flag)
        wait_until(lambda: health(conn)["cancelled"] >= 1 and health(conn)["running"] == 0, "the device is free", 60)
        waiting = self.hold(cluster, flag, f"SET statement_timeout = '1s'; SELECT {ENDLESS}")
        with self.assertRaises(psycopg.errors.QueryCanceled):
            waiting.result()
        as_owner("rm", flag)
        self.assertTrue(value("SELECT glm_generate('hello', max_tokens => 4)", conn))

    def test_a_worker_told_to_stop_while_a_pass_is_on_the_device(self):
        cluster, conn, flag = self.slow_cluster()
        worker = health(conn)["worker_pid"]
        waiting = self.hold(cluster, flag)
        conn.execute(f"SELECT pg_terminate_backend({worker})")
        with self.assertRaisesRegex(psycopg.Error, "worker"):
            waiting.result()
        as_owner("rm", flag)
        wait_until(lambda: health(conn).get("worker_pid") not in (None, worker), "a new worker", 60)
        self.ready(conn)
        self.assertTrue(value("SELECT glm_generate('hello', max_tokens => 4)", conn))

    def test_shutdown_while_a_pass_is_on_the_device(self):
        cluster, conn, flag = self.slow_cluster()
        for mode in ("smart", "fast", "immediate"):
            worker = health(conn)["worker_pid"]
            waiting = self.hold(cluster, flag)
            if mode == "smart":
                # it waits for sessions, not for the device
                conn.execute(f"SELECT pg_cancel_backend({waiting.pid})")
                with self.assertRaises(psycopg.errors.QueryCanceled):
                    waiting.result()
                waiting.conn.close()
            conn.close()
            cluster.stop(mode)
            self.assertFalse(os.path.exists(f"/proc/{worker}"))
            if mode != "smart":
                with self.assertRaises(psycopg.Error):
                    waiting.result()
            as_owner("rm", flag)
            cluster.start()
            conn = cluster.connect()
            self.addCleanup(conn.close)
            self.ready(conn)
            self.assertTrue(value("SELECT glm_generate('hello', max_tokens => 4)", conn))
