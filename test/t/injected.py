"""injected.py - a cluster whose library fails on demand (src/engine/base/inject.h, `make injection`).

PostgreSQL looks for libraries beside the place it runs from.  So the server is copied into the cluster's directory, as are the
libraries but ours, by links, and ours is the one that fails.
"""
import os
import shutil
import subprocess

from harness import *

LIBRARY = os.environ.get("CHATGLM_INJECTION", f"{ROOT}/build/injection/chatglm.so")


def directory(what):
    return subprocess.check_output([PG_CONFIG, f"--{what}"], text=True).strip()


class InjectedCluster(Cluster):
    def start(self):
        """The settings' `dynamic_shared_memory_type` is mmap: then segments are files of this cluster's own."""
        self.settings = {"shared_preload_libraries": "chatglm", "dynamic_shared_memory_type": "mmap",
                         "logging_collector": "off", **self.settings}
        self.postgres = self.postgres or self.copy_server()
        super().start()

    def copy_server(self):
        places = [directory(what) for what in ("bindir", "pkglibdir", "sharedir")]
        prefix = os.path.commonpath(places)
        binaries, libraries, share = (f"{self.base}/pg/{os.path.relpath(place, prefix)}" for place in places)
        os.makedirs(binaries)
        os.makedirs(libraries)
        os.makedirs(os.path.dirname(share), exist_ok=True)
        shutil.copy(f"{places[0]}/postgres", binaries)
        for name in os.listdir(places[1]):
            if name != "chatglm.so":
                os.symlink(f"{places[1]}/{name}", f"{libraries}/{name}")
        shutil.copy(LIBRARY, f"{libraries}/chatglm.so")
        os.symlink(places[2], share)
        subprocess.run(["chmod", "-R", "a+rX", f"{self.base}/pg"], check=True)
        return f"{binaries}/postgres"

    def segments(self):
        """Dynamic shared memory segments that are there, whoever has them."""
        return set(as_owner("ls", f"{self.data}/pg_dynshmem").split())
