"""chores.py - what goes on beside the sessions: models that come and go, quantizing, jobs, whoever watches, and faults."""
import asyncio
import hashlib
import os
import random
import shutil
import signal
import time

from harness import signal_thread, threads_named

JOB = "glm_generate(body, system => 'Route the ticket to a queue.', max_tokens => 8)"
WATCHED = ("SELECT glm_metrics()", "SELECT * FROM glm_profile", "SELECT glm_profile_folded()", "SELECT * FROM glm_models",
           "SELECT * FROM glm_stat_requests", "SELECT * FROM glm_stat_roles", "SELECT * FROM glm_stat_histograms")


def digest(directory):
    whole = hashlib.sha256()
    for name in sorted(os.listdir(directory)):
        with open(os.path.join(directory, name), "rb") as file:
            whole.update(name.encode() + file.read())
    return whole.hexdigest()


async def models(session, r):
    """A model comes, answers and goes while others use it, too."""
    name = r.choice(["tiny-chatglm3", "int4", "int8", "guest"])
    if name == "guest":
        await session.conn.execute("SELECT glm_model_load('guest', %s)", (session.server.path("int4"),))
        await session.conn.execute("SELECT glm_generate('hello', model => 'guest', max_tokens => 4)")
        await session.conn.execute("SELECT glm_model_unregister('guest')")
    elif r.random() < 0.5:
        await session.conn.execute("SELECT glm_model_load(%s)", (name,))
    else:
        await session.conn.execute("SELECT glm_model_unload(%s)", (name,))
    return r.random()


async def quantize(session, r):
    """The same files whenever they are made."""
    method, bits = r.choice(["rtn", "hqq"]), r.choice([4, 8])
    target = session.server.path("made")
    shutil.rmtree(target, ignore_errors=True)
    await session.conn.execute("SELECT count(*) FROM glm_quantize('tiny-chatglm3', %s, %s)",
                       (target, f'{{"method": "{method}", "bits": {bits}}}'))
    session.tally.check(f"files by {method} of {bits} bits", digest(target))
    shutil.rmtree(target)
    return 2 * r.random()


async def jobs(session, r):
    """A table enriched in the background while its rows change, by a job that is there for a while."""
    await session.conn.execute("SELECT glm_job_drop(name) FROM glm_jobs")
    await session.conn.execute("DROP TABLE IF EXISTS note")
    await session.conn.execute("CREATE TABLE note AS SELECT id, body, NULL::text AS queue FROM ticket")
    await session.conn.execute("ALTER TABLE note ADD PRIMARY KEY (id)")
    mode = r.choice(["once", "continuous"])
    # faults may come so fast that three attempts are not enough
    options = f'{{"mode": "{mode}", "chunk": 10, "attempts": 100, "backoff": 0}}'
    await session.conn.execute("SELECT glm_job_create('note', 'note', 'id', 'queue', %s, %s)", (JOB, options))
    await session.conn.execute("SELECT glm_job_start('note')")
    for _ in range(10 if mode == "continuous" else 0):
        await session.conn.execute("UPDATE note SET body = (SELECT t.body FROM ticket t WHERE t.id = %s) WHERE id = %s",
                           (r.randrange(1, 25), r.randrange(1, 25)))
        await asyncio.sleep(0.1 * r.random())
    await until(session.conn, "SELECT count(*) = 0 FROM note WHERE queue IS NULL" if mode == "continuous" else
                "SELECT state = 'done' FROM glm_jobs WHERE name = 'note'")
    if mode == "continuous":
        await until(session.conn, "SELECT rows_left = 0 AND NOT estimated FROM glm_jobs WHERE name = 'note'")
        await session.conn.execute("SELECT glm_job_cancel('note')")
    wrong = await session.conn.execute(f"SELECT count(*) FROM note WHERE queue IS DISTINCT FROM {JOB}")
    session.tally.check("rows of a job that are wrong", (await wrong.fetchone())[0], 0)
    await session.conn.execute("SELECT glm_job_drop('note')")
    await session.conn.execute("DROP TABLE note")
    return r.random()


async def watch(session, r):
    await session.conn.execute(r.choice(WATCHED))
    session.server.gauges.look(session.server.worker)
    return 1


CHORES = (models, quantize, jobs, watch)


def doing(chore):
    """-> what a session of its own does, for Session.run"""
    r = random.Random(chore.__name__)

    async def once(session):
        rest = await chore(session, r)
        session.tally.ended[f"times {chore.__name__}"] += 1
        return rest

    return once


async def until(conn, condition):
    while not (await (await conn.execute(condition)).fetchone())[0]:
        await asyncio.sleep(0.05)


# ---- Faults -----------------------------------------------------------------------------

def in_thread(name, signum):
    return lambda soak: signal_thread(soak.worker, threads_named(soak.worker, name)[0], signum)


def end_worker(soak):
    os.kill(soak.worker, signal.SIGTERM)


def kill_worker(soak):
    """The whole server restarts, as after the kernel's OOM killer."""
    os.kill(soak.worker, signal.SIGKILL)


FAULTS = {"SIGSEGV in the engine's thread": in_thread("glm engine", signal.SIGSEGV),
          "SIGBUS in the intake": in_thread("glm intake", signal.SIGBUS),
          "SIGTERM to the worker": end_worker,
          "SIGKILL to the worker": kill_worker}


async def faults(soak, seconds):
    """One after the other for so long, each kind once at least; each is over when a new worker answers."""
    end, r, names = time.monotonic() + seconds, random.Random(3), list(FAULTS)
    for name in names + [r.choice(names) for _ in range(1000)]:
        if time.monotonic() > end and soak.faults >= len(names):
            break
        await asyncio.sleep(min(2, seconds / 8))
        begin = time.monotonic()
        await soak.strike(FAULTS[name])
        print(f"{name}: ready after {time.monotonic() - begin:.2f} s", flush=True)
