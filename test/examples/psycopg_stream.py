"""An answer from psycopg 3, token by token.

The server is the one that PGHOST, PGUSER, PGDATABASE and the like name.
"""
import sys

import psycopg


def answer(connection, prompt):
    """The tokens as they are made.  Leaving the loop early ends the computation."""
    with connection.cursor() as cursor:
        for (token,) in cursor.stream("SELECT token FROM glm_stream(%s)", (prompt,)):
            yield token


with psycopg.connect() as session:
    for text in answer(session, sys.argv[1]):
        print(text, end="", flush=True)
print()
