"""gauges.py - what must not grow: memory, descriptors, segments, files, and what the worker says it holds."""
import os

# of processes, kB; all else may not grow at all
RESIDENT = "resident memory of"
MAY_GROW = 0.01


def status_kb(pid, field):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field + ":"))


def segments_of(pid):
    try:
        with open(f"/proc/{pid}/maps") as maps:
            return {word for line in maps for word in line.split()[5:6] if word.startswith("/dev/shm/PostgreSQL.")}
    except (FileNotFoundError, ProcessLookupError):
        return set()        # it has just ended


def descriptors(pid, data):
    """But those of the server's own files, which every process opens and closes as it pleases."""
    count = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            count += not os.readlink(f"/proc/{pid}/fd/{fd}").startswith(data)
        except FileNotFoundError:
            pass
    return count


def files(*directories):
    return sum(len(names) + len(folders) for directory in directories for _, folders, names in os.walk(directory))


class Gauges:
    """Of a cluster, in which `place` is where models are written."""

    def __init__(self, cluster, place):
        self.cluster, self.place, self.seen = cluster, place, set()

    def look(self, worker):
        """Remembers which segments were this cluster's; /dev/shm is shared by all of the machine."""
        self.seen |= segments_of(worker)

    def measure(self, conn, backends):
        """-> {what: value} of an idle server; `backends` are sessions that stay."""
        def one(sql):
            return conn.execute(sql).fetchone()[0]

        health, data = one("SELECT glm_health()"), self.cluster.data
        worker = health["worker_pid"]
        self.look(worker)
        return {
            f"{RESIDENT} the worker, kB": status_kb(worker, "RssAnon"),
            f"{RESIDENT} {len(backends)} sessions, kB": sum(status_kb(pid, "RssAnon") for pid in backends),
            "descriptors of the worker": descriptors(worker, data),
            f"descriptors of {len(backends)} sessions": sum(descriptors(pid, data) for pid in backends),
            "threads of the worker": len(os.listdir(f"/proc/{worker}/task")),
            "segments the worker has mapped": len(segments_of(worker)),
            "segments in /dev/shm": sum(os.path.exists(name) for name in self.seen),
            "sessions": one("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"),
            "processes of jobs": one("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'chatglm job'"),
            "KV bytes in use": health["kv_used_bytes"],
            "sequences running or waiting": health["running"] + health["waiting"],
            "requests in the queue": health["queue_requests"],
            "bytes in the queue": health["queue_bytes"],
            "requests shown": one("SELECT (SELECT count(*) FROM glm_stat_requests) + (SELECT count(*) FROM glm_stat_batches) + "
                                  "(SELECT count(*) FROM glm_stat_progress)"),
            "rows of jobs": one("SELECT (SELECT count(*) FROM chatglm.job) + (SELECT count(*) FROM chatglm.job_queue) + "
                                "(SELECT count(*) FROM chatglm.job_change) + (SELECT count(*) FROM chatglm.job_done)"),
            "models": one("SELECT count(*) FROM glm_models"),
            "temporary files": files(os.path.join(data, "base", "pgsql_tmp"), os.path.join(data, "pg_dynshmem")),
            "files of models": files(self.place),
        }


def grown(start, end, judge_memory):
    """-> [(what, from, to)] of what grew and should not have."""
    found = []
    for what, before in start.items():
        allowed = before * MAY_GROW if what.startswith(RESIDENT) else 0
        if end[what] - before > allowed and (judge_memory or not what.startswith(RESIDENT)):
            found.append((what, before, end[what]))
    return found


def show(start, end):
    print(f"\n{'':40} {'start':>12} {'end':>12} {'grown':>9}")
    for what, before in start.items():
        share = f"{end[what] / before - 1:+9.2%}" if before else f"{end[what] - before:+9}"
        print(f"{what:40} {before:12} {end[what]:12} {share}")
