"""Through pgbouncer in transaction mode: what belongs to a session goes into the transaction or to the role.

PGHOST and PGPORT name pgbouncer.  Server-side prepared statements are turned off, as pgbouncer before 1.21 knows none.
"""
import sys

import psycopg

with psycopg.connect(prepare_threshold=None) as session:
    with session.transaction():
        session.execute("SET LOCAL chatglm.max_tokens = 100")       # a plain SET would be the next client's, too
        with session.cursor() as cursor:
            for (token,) in cursor.stream("SELECT token FROM glm_stream(%s)", (sys.argv[1],)):
                print(token, end="", flush=True)
print()
