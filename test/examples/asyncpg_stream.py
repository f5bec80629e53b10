"""An answer from asyncpg, token by token.

asyncpg reads ahead as many rows as `prefetch` says, and its cursors need a transaction.
"""
import asyncio
import sys

import asyncpg


async def answer(connection, prompt):
    async with connection.transaction():
        async for row in connection.cursor("SELECT token FROM glm_stream($1)", prompt, prefetch=1):
            yield row["token"]


async def main(prompt):
    connection = await asyncpg.connect()
    try:
        async for token in answer(connection, prompt):
            print(token, end="", flush=True)
        print()
    finally:
        await connection.close()


asyncio.run(main(sys.argv[1]))
