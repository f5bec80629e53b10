/*
 * streams.c - many sessions that stream at once, as one client sees them.
 *
 *     streams SESSIONS TOKENS       connects as PGHOST and friends say
 *
 * Every session runs one glm_stream of so many tokens in single-row mode; all are
 * started before the first row is read.  Each row carries the time of its making
 * in the backend.  Prints one line of JSON: rows, seconds from the first query sent to
 * the last row received, rows a second, and percentiles of two things in
 * milliseconds: the delay from made to received, and the gap between rows of a
 * session.  Fails unless every session got all its rows in order.
 */
#include <libpq-fe.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

typedef struct session
{
	PGconn *conn;
	int		rows;
	double	last; /* when its latest row came */
	int		done;
} session;

static double *delay; /* [sessions * tokens], ms */
static double *gap;
static size_t  n_delays;
static size_t  n_gaps;

static void
fail(const char *what, PGconn *conn)
{
	fprintf(stderr, "streams: %s: %s\n", what, conn != NULL ? PQerrorMessage(conn) : "");
	exit(1);
}

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t); /* the server's clock, see above */
	return (double) t.tv_sec + (double) t.tv_nsec * 1e-9;
}

static void
start(session *s, int seed, int tokens)
{
	char sql[256];

	/* at this temperature hardly any answer ends by itself */
	snprintf(sql, sizeof(sql),
			 "SELECT seq, extract(epoch FROM clock_timestamp())::float8 FROM glm_stream('hello', "
			 "temperature => 100, top_p => 1, seed => %d, max_tokens => %d)",
			 seed, tokens);
	if (!PQsendQuery(s->conn, sql) || !PQsetSingleRowMode(s->conn))
		fail("could not send the query", s->conn);
}

static void
take_row(session *s, PGresult *result)
{
	double came = now();
	double made = atof(PQgetvalue(result, 0, 1));

	if (atoi(PQgetvalue(result, 0, 0)) != ++s->rows)
		fail("rows out of order", NULL);
	delay[n_delays++] = (came - made) * 1e3;
	if (s->last > 0)
		gap[n_gaps++] = (came - s->last) * 1e3;
	s->last = came;
}

/* Takes all rows that have come; 1 when the query has ended. */
static int
read_rows(session *s)
{
	if (!PQconsumeInput(s->conn))
		fail("connection lost", s->conn);
	while (!PQisBusy(s->conn))
	{
		PGresult *result = PQgetResult(s->conn);

		if (result == NULL)
			return 1;
		if (PQresultStatus(result) == PGRES_SINGLE_TUPLE)
			take_row(s, result);
		else if (PQresultStatus(result) != PGRES_TUPLES_OK)
			fail("query failed", s->conn);
		PQclear(result);
	}
	return 0;
}

static int
ascending(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return (x > y) - (x < y);
}

static void
print_percentiles(const char *name, double *values, size_t n)
{
	qsort(values, n, sizeof(*values), ascending);
	printf(", \"%s_ms\": {\"p50\": %.2f, \"p95\": %.2f, \"p99\": %.2f, \"max\": %.2f}", name,
		   values[n / 2], values[n * 95 / 100], values[n * 99 / 100], values[n - 1]);
}

int
main(int argc, char **argv)
{
	int		 sessions = argc == 3 ? atoi(argv[1]) : 0;
	int		 tokens = argc == 3 ? atoi(argv[2]) : 0;
	session *all = calloc((size_t) sessions + 1, sizeof(*all));
	int		 poll = epoll_create1(0);
	int		 left = sessions;
	double	 begin;
	double	 seconds;

	if (sessions < 1 || tokens < 2 || all == NULL)
		fail("usage: streams SESSIONS TOKENS", NULL);
	delay = calloc((size_t) sessions * (size_t) tokens, sizeof(*delay));
	gap = calloc((size_t) sessions * (size_t) tokens, sizeof(*gap));
	for (int i = 0; i < sessions; i++)
	{
		struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t) i};

		all[i].conn = PQconnectdb("");
		if (PQstatus(all[i].conn) != CONNECTION_OK)
			fail("could not connect", all[i].conn);
		epoll_ctl(poll, EPOLL_CTL_ADD, PQsocket(all[i].conn), &event);
	}
	begin = now();
	for (int i = 0; i < sessions; i++)
		start(&all[i], i, tokens);
	while (left > 0)
	{
		struct epoll_event ready[64];
		int				   n = epoll_wait(poll, ready, 64, 60000);

		if (n <= 0)
			fail("nothing came for a minute", NULL);
		for (int i = 0; i < n; i++)
		{
			session *s = &all[ready[i].data.u32];

			if (!s->done && read_rows(s))
			{
				s->done = 1;
				left--;
			}
		}
	}
	seconds = now() - begin;
	printf("{\"sessions\": %d, \"rows\": %zu, \"seconds\": %.3f, \"rows_per_s\": %.0f", sessions,
		   n_delays, seconds, (double) n_delays / seconds);
	print_percentiles("delay", delay, n_delays);
	print_percentiles("gap", gap, n_gaps);
	printf("}\n");
	for (int i = 0; i < sessions; i++)
		PQfinish(all[i].conn);
	return 0;
}
