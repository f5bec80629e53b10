"""A Django view whose response is sent while the answer is made.

Django's ordinary cursors read all rows first.  A chunked cursor is one of the server, which gives single rows, and only
inside a transaction: outside of one Django makes it WITH HOLD, and the server then computes the whole answer first.
"""
import os
import sys

from django.conf import settings
from django.db import connection, transaction
from django.http import StreamingHttpResponse
from django.test import RequestFactory


def answer(prompt):
    with transaction.atomic(), connection.chunked_cursor() as cursor:
        cursor.execute("SELECT token FROM glm_stream(%s)", [prompt])
        for (token,) in iter(cursor.fetchone, None):
            yield token


def ask(request):
    return StreamingHttpResponse(answer(request.GET["prompt"]), content_type="text/plain; charset=utf-8")


if __name__ == "__main__":
    settings.configure(ALLOWED_HOSTS=["testserver"], DATABASES={"default": {
        "ENGINE": "django.db.backends.postgresql", "NAME": os.environ["PGDATABASE"], "USER": os.environ["PGUSER"],
        "HOST": os.environ["PGHOST"], "PORT": os.environ["PGPORT"]}})
    for part in ask(RequestFactory().get("/", {"prompt": sys.argv[1]})):
        sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()
    print()
