"""test_cuda.py - a worker on a GPU: the same answers as on the CPU, what is said where there is none, and what a fault does.

The GPU is the host, behind the driver of cuda/host/mock_driver.cc; without chatglm_cuda.so, which needs nvcc, all is skipped.
"""
import os
import shutil
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

    def test_fast_arithmetic(self):
        """It is said everywhere, answers are near and the same each time, and what must be the CPU's is refused."""
        cluster, conn = self.cluster("auto", settings={"chatglm.device_arithmetic": "fast"})
        self.assertEqual(self.ready(conn)["device_arithmetic"], "fast")
        self.assertIn("chatglm computes with fast arithmetic on mock GPU", cluster.log())
        logits = "SELECT glm_logits(glm_tokenize('hello'))"
        fast = value(logits, conn)
        self.assertEqual(value(logits, conn), fast)
        with connect() as cpu:
            exact = value(logits, cpu)
            self.assertEqual(health(cpu)["device_arithmetic"], "exact")
        self.assertNotEqual(fast, exact)
        self.assertLess(sum((a - b) ** 2 for a, b in zip(fast, exact)), 1e-4 * sum(b * b for b in exact))
        pinned = "SELECT glm_generate_det('hello', glm_model_hash('tiny-chatglm3'), 4)"
        with self.assertRaises(psycopg.errors.ObjectNotInPrerequisiteState) as caught:
            conn.execute(pinned)
        self.assertIn("chatglm.device_arithmetic", caught.exception.diag.message_primary)

    def test_the_cpu_has_no_fast_arithmetic(self):
        cluster, conn = self.cluster("cpu", settings={"chatglm.device_arithmetic": "fast"})
        self.assertEqual(self.ready(conn)["device_arithmetic"], "exact")
        self.assertNotIn("fast arithmetic", cluster.log())
        self.assertTrue(value("SELECT glm_generate_det('hello', glm_model_hash('tiny-chatglm3'), 4)", conn))
        with connect() as cpu:
            self.assertEqual(self.answers(conn), self.answers(cpu))
        notices = []
        conn.add_notice_handler(lambda diag: notices.append(diag.message_primary))
        for setting in ("fast", "exact"):
            conn.execute(f"ALTER SYSTEM SET chatglm.device_arithmetic = {setting}")
        self.assertEqual(notices, ["chatglm.device_arithmetic has no effect on the CPU"])

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

    def without(self, function):
        """Where a driver is that has not this function."""
        with open(f"{DRIVER}/libcuda.so.1", "rb") as driver:
            library, name = driver.read(), f"\0{function}\0".encode()
        self.assertIn(name, library)
        place = directory_for_owner()
        self.addCleanup(shutil.rmtree, place)
        with open(f"{place}/libcuda.so.1", "wb") as driver:
            driver.write(library.replace(name, name[:-2] + b"-\0"))
        subprocess.run(["chmod", "-R", "a+rX", place], check=True)
        return place

    def test_a_driver_that_is_too_old(self):
        cluster, conn = self.cluster("cuda:0", mock=False, LD_LIBRARY_PATH=self.without("cuStreamWaitEvent"))
        self.assert_down(cluster, conn, "libcuda.so.1 is too old: it has no cuStreamWaitEvent")

    def test_a_driver_without_dependent_launches(self):
        _, conn = self.cluster("cuda:0", mock=False, LD_LIBRARY_PATH=self.without("cuLaunchKernelEx"))
        self.assertEqual(self.ready(conn)["device"], "mock GPU")
        on_gpu = self.answers(conn)
        with connect() as cpu:
            self.assertEqual(self.answers(cpu), on_gpu)

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

    # ---- Several devices ----

    def divided(self, device="cuda:0,1", devices="2", **environment):
        # 15 MB of each beside what is left to others: no one holds the model, and all its keys and values
        return self.cluster(device, GLM_MOCK_DEVICES=devices, GLM_MOCK_MEMORY="527", **environment)

    def test_same_answers_on_several(self):
        for device, devices in (("cuda:0,1", "2"), ("cuda:2,0,1", "3")):
            _, conn = self.divided(device, devices)
            state = self.ready(conn)
            self.assertEqual(state["device"], f"{devices} x mock GPU")
            on_gpus = self.answers(conn)
            with connect() as cpu:
                self.assertEqual(self.answers(cpu), on_gpus)
            shown = health(conn)["devices"]
            self.assertEqual(sorted(d["number"] for d in shown), list(range(int(devices))))
            for d in shown:
                self.assertEqual((d["name"], d["models"], d["memory_bytes"]), ("mock GPU", 1, 527 << 20))
                self.assertLess(d["memory_bytes_free"], 15 << 20)
                self.assertGreater(d["kv_bytes_total"], 0)

    def test_one_of_several_is_lost(self):
        flag = os.path.join(directory_for_owner(), "fault")
        self.addCleanup(as_owner, "rm", "-r", os.path.dirname(flag))
        cluster, conn = self.divided(GLM_MOCK_FAULT="cuMemcpyPeerAsync:9:700", GLM_MOCK_ONCE=flag)
        as_owner("touch", flag)
        state = self.ready(conn)
        with self.assertRaisesRegex(psycopg.Error, "CUDA_ERROR_ILLEGAL_ADDRESS|worker restarted"):
            for _ in range(20):
                conn.execute("SELECT glm_generate('hello', max_tokens => 8)")
        wait_until(lambda: health(conn).get("worker_pid") not in (None, state["worker_pid"]), "a new worker", 60)
        self.assertIn("cuMemcpyPeerAsync: CUDA_ERROR_ILLEGAL_ADDRESS", health(conn)["last_error"])
        self.ready(conn)
        self.assertTrue(value("SELECT glm_generate('hello', max_tokens => 4)", conn))

    def test_lists_that_are_none(self):
        cluster, conn = self.divided("cuda:0,9")
        self.assert_down(cluster, conn, 'no device "cuda:9", the last is "cuda:1"')
        for bad in ("cuda:0,0", "cuda:", "cuda:0,", "cpu:0,1"):
            with self.assertRaises(psycopg.Error) as caught:
                conn.execute(f"ALTER SYSTEM SET chatglm.device = '{bad}'")
            self.assertEqual(caught.exception.sqlstate, "22023")
            self.assertIn("cuda:NUMBER,NUMBER", caught.exception.diag.message_hint)

    # ---- A device that is lost again and again ----

    def lose(self, conn, times):
        """Asks until the worker has lost its device so often; its faults come by themselves."""
        def asked():
            try:
                conn.execute("SELECT glm_generate('hello', max_tokens => 8)")
            except psycopg.Error:
                pass
            return health(conn)["device_losses"] >= times
        wait_until(asked, f"the device was lost {times} times", 120)

    def test_a_device_that_does_not_recover(self):
        cluster, conn = self.cluster("cuda:0", GLM_MOCK_FAULT="kernel:300:700")
        self.ready(conn)
        self.lose(conn, 3)
        wait_until(lambda: "rests" in health(conn)["last_error"], "it says that the device rests", 60)
        self.assert_down(cluster, conn, "the device was lost 3 times in a row and rests: cu")
        self.assertIn("CUDA_ERROR_ILLEGAL_ADDRESS", health(conn)["last_error"])
        self.assertTrue(health(conn)["device_rests_until"])
        self.assertIn("chatglm.device_rest", cluster.log())
        with self.assertRaises(psycopg.Error) as caught:
            conn.execute("SELECT glm_generate('hi')")
        self.assertIn("is tried again at", caught.exception.diag.message_hint)
        # one more loss, and it rests again
        with self.assertRaises(psycopg.errors.InvalidParameterValue):
            conn.execute("ALTER SYSTEM SET chatglm.device_rest = -1")
        conn.execute("ALTER SYSTEM SET chatglm.device_rest = 0")
        conn.execute("SELECT pg_reload_conf()")
        self.ready(conn)
        self.assertIsNone(health(conn)["device_rests_until"])
        conn.execute("ALTER SYSTEM RESET chatglm.device_rest")
        conn.execute("SELECT pg_reload_conf()")
        self.lose(conn, 4)
        wait_until(lambda: "rests" in health(conn)["last_error"], "it says that the device rests", 60)
        self.assert_down(cluster, conn, "the device was lost 4 times in a row and rests")

    def test_the_cpu_stands_in_for_one_that_rests(self):
        flag = os.path.join(directory_for_owner(), "fault")
        self.addCleanup(as_owner, "rm", "-r", os.path.dirname(flag))
        cluster, conn = self.cluster("cuda:0", fallback="cpu", GLM_MOCK_FAULT="kernel:300:700", GLM_MOCK_ONCE=flag)
        for n in range(3):
            as_owner("touch", flag)
            self.ready(conn)
            self.lose(conn, n + 1)
        wait_until(lambda: health(conn).get("device") == "CPU", "the CPU stands in", 60)
        self.assertIn("lost 3 times in a row and rests: cu", health(conn)["device_why"])
        on_cpu = self.answers(conn)
        self.assertEqual(health(conn)["device_losses"], 3)
        conn.execute("ALTER SYSTEM SET chatglm.device_rest = '1s'")
        conn.execute("SELECT pg_reload_conf()")
        wait_until(lambda: health(conn).get("device") == "mock GPU", "it is tried again", 60)
        self.assertIn("chatglm tries the device again that was lost", cluster.log())
        self.assertEqual(self.answers(conn), on_cpu)

        # one that goes well for as long as it would rest is not held to what was
        def recovered():
            conn.execute("SELECT glm_generate('hello', max_tokens => 1)")
            return health(conn)["device_losses"] == 0
        wait_until(recovered, "it works again", 120)

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
