/*
 * gpu_graph.c - small passes as graphs: hundreds of launches that the driver takes at one go.
 *
 * The steps of a pass, launches and copies, are kept until it is complete.  One that came
 * before, every step the same to the last byte, is captured and becomes a graph, which is
 * launched whenever it comes again.  Rows, positions, KV blocks and what to pick by are read
 * from the device's memory, where they have their places, so a step changes with the number
 * of rows and with every 512 positions at most.  What brings them there, and ids home, is no
 * part of it: two passes may be under way, each with pinned memory of its own.
 *
 * No graph is believed.  When one is made its pass has been done step by step; it is done
 * once more by the graph, which computes the same from the same, and both outcomes, logits,
 * picks, and keys and values, are compared.  These are spoiled in between: what the graph does
 * not write itself is not what it should be.  If a bit differs, or the driver refuses, there
 * are no graphs any more, and it is said.  The outcome that counts is that of the steps.
 *
 * Where device, driver and kernels can, launches in a graph begin before those before them have
 * ended (gpu_stream.h).  That is believed no more: each such graph is compared in the same way, and
 * if one differs they are done without, in graphs made anew.
 *
 * One thread, but for what the header says.
 */
#include "cuda/gpu_graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OF_THIS_THREAD 1 /* what others call meanwhile is no part of a capture */

/* ---- Steps ------------------------------------------------------------------------------- */

/* What the stream asks first; false: it is to be done at once. */
static bool
take(void *arg, const cuda_step *step)
{
	cuda_graphs *g = arg;

	if (!g->records)
		return false;
	if (g->n == g->room)
	{
		int		   room = g->room * 2 + 512;
		cuda_step *more = realloc(g->step, (size_t) room * sizeof(*more));

		if (more == NULL)
		{
			cuda_graphs_flush(g);
			return false;
		}
		g->step = more;
		g->room = room;
	}
	g->step[g->n++] = *step;
	return true;
}

static void
do_steps(const cuda_graphs *g)
{
	for (int i = 0; i < g->n; i++)
		cuda_stream_do(g->stream, &g->step[i]);
}

void
cuda_graphs_flush(cuda_graphs *g)
{
	if (!g->records)
		return;
	g->records = false;
	do_steps(g);
}

static uint64_t
hash_of(const cuda_graphs *g)
{
	const unsigned char *byte = (const unsigned char *) g->step;
	uint64_t			 h = UINT64_C(0xcbf29ce484222325), word;

	for (size_t i = 0; i < (size_t) g->n * sizeof(*g->step); i += sizeof(word))
	{
		memcpy(&word, byte + i, sizeof(word));
		h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		h ^= h >> 29;
	}
	return h;
}

/* ---- The graphs that there are -------------------------------------------------------------- */

static void
forget(cuda_graphs *g, cuda_graph *old)
{
	if (old->graph != NULL)
	{
		g->stream->driver->graph_close(old->graph);
		atomic_fetch_sub(&g->n_kept, 1);
	}
	free(old->step);
	*old = (cuda_graph){0};
}

static void
drop(cuda_graphs *g, const char *why)
{
	for (int i = 0; i < CUDA_GRAPHS; i++)
		forget(g, &g->graph[i]);
	snprintf(g->why, sizeof(g->why), "%s", why);
	atomic_store(&g->dropped, true);
}

/* The entry of the pass at hand, or one for it: unused, or used longest ago. */
static cuda_graph *
find(cuda_graphs *g, uint64_t hash, bool *known)
{
	cuda_graph *oldest = &g->graph[0];

	*known = true;
	for (int i = 0; i < CUDA_GRAPHS; i++)
	{
		if (g->graph[i].used != 0 && g->graph[i].hash == hash)
			return &g->graph[i];
		if (g->graph[i].used < oldest->used)
			oldest = &g->graph[i];
	}
	*known = false;
	return oldest;
}

static bool
is_same(const cuda_graphs *g, const cuda_graph *old)
{
	return old->graph != NULL && old->n == g->n &&
		   memcmp(old->step, g->step, (size_t) g->n * sizeof(*g->step)) == 0;
}

/* The same for launches that begin early, with the graphs that have any; `new` stays. */
static void
drop_dependent(cuda_graphs *g, const cuda_graph *new, const char *why)
{
	for (int i = 0; i < CUDA_GRAPHS; i++)
		if (&g->graph[i] != new)
			forget(g, &g->graph[i]);
	snprintf(g->why_independent, sizeof(g->why_independent), "%s", why);
	atomic_store(&g->independent, true);
}

/* ---- A new one ------------------------------------------------------------------------------ */

/* Of a pass that was done: what fails here is no failure of it. */
static void *
capture(cuda_graphs *g, bool dependent)
{
	const cuda_driver *d = g->stream->driver;
	void			  *steps = NULL, *graph = NULL;
	bool			   fine;

	if (d->capture_begin(g->stream->stream, OF_THIS_THREAD) != CUDA_FINE)
		return NULL;
	g->stream->dependent = dependent;
	g->stream->after_launch = false;
	do_steps(g);
	g->stream->dependent = false;
	fine = d->capture_end(g->stream->stream, &steps) == CUDA_FINE && !g->stream->failed &&
		   d->graph_open(&graph, steps, 0) == CUDA_FINE;
	if (steps != NULL)
		d->steps_close(steps);
	g->stream->failed = false;
	return fine ? graph : NULL;
}

static size_t
bytes_of(const cuda_outcome *o)
{
	return o->bytes + o->pick_bytes + cuda_written_bytes(&o->written);
}

/* Where keys and values are in a copy of it. */
static char *
written_of(const cuda_outcome *o, char *copy)
{
	return copy + o->bytes + o->pick_bytes;
}

/* Waits for what is in the stream, and copies what it left. */
static bool
keep(const cuda_graphs *g, const cuda_outcome *o, char *to)
{
	const cuda_stream *s = g->stream;

	return s->driver->copy_from(to, o->there, o->bytes, s->stream) == CUDA_FINE &&
		   (o->pick_bytes == 0 ||
			s->driver->copy_from(to + o->bytes, o->picks, o->pick_bytes, s->stream) == CUDA_FINE) &&
		   cuda_written_fetch(&o->written, s, written_of(o, to)) &&
		   s->driver->stream_wait(s->stream) == CUDA_FINE;
}

/* Keys and values on the device are not what the steps left, which is in `kept`, any more. */
static bool
spoil(const cuda_graphs *g, const cuda_outcome *o, char *kept, char *room)
{
	memcpy(written_of(o, room), written_of(o, kept), cuda_written_bytes(&o->written));
	cuda_written_spoil(&o->written, written_of(o, room));
	return cuda_written_put(&o->written, g->stream, written_of(o, room)) &&
		   g->stream->driver->stream_wait(g->stream->stream) == CUDA_FINE;
}

/* The pass was done by its steps; does the graph give the same? */
static bool
prove(cuda_graphs *g, void *graph, const cuda_outcome *o)
{
	const cuda_driver *d = g->stream->driver;
	void			  *stream = g->stream->stream;
	size_t			   bytes = bytes_of(o);
	char			  *both = malloc(2 * bytes);
	bool			   same = both != NULL && keep(g, o, both) && spoil(g, o, both, both + bytes) &&
				d->graph_launch(graph, stream) == CUDA_FINE && keep(g, o, both + bytes) &&
				memcmp(both, both + bytes, bytes) == 0;

	/* whatever it is doing must not come later, nor into memory that was given back */
	same &= d->stream_wait(stream) == CUDA_FINE;
	free(both);
	return same;
}

/* One that gives the same; NULL: *why says why there is none. */
static void *
make_proved(cuda_graphs *g, const cuda_outcome *o, bool dependent, const char **why)
{
	void *graph = capture(g, dependent);

	*why = "the driver makes none";
	if (graph == NULL || prove(g, graph, o))
		return graph;
	*why = "other bits than the plain launches";
	g->stream->driver->graph_close(graph);
	/* it may have left wrong keys and values in the pool, and wrong picks */
	do_steps(g);
	return NULL;
}

static void
make(cuda_graphs *g, cuda_graph *new, const cuda_outcome *o)
{
	size_t		bytes = (size_t) g->n * sizeof(*g->step);
	const char *why;

	if (g->stream->failed)
		return;
	new->step = malloc(bytes);
	if (new->step == NULL)
		return;
	memcpy(new->step, g->step, bytes);
	new->n = g->n;
	if (g->may_depend && !atomic_load(&g->independent))
	{
		new->graph = make_proved(g, o, true, &why);
		if (new->graph == NULL)
			drop_dependent(g, new, why);
	}
	if (new->graph == NULL)
		new->graph = make_proved(g, o, false, &why);
	if (new->graph != NULL)
		atomic_fetch_add(&g->n_kept, 1);
	else
		drop(g, why);
}

/* ---- Passes ------------------------------------------------------------------------------------ */

void
cuda_graphs_begin(cuda_graphs *g, int rows)
{
	g->n = 0;
	g->records = rows <= CUDA_GRAPH_ROWS && !atomic_load(&g->off) && !atomic_load(&g->dropped);
}

void
cuda_graphs_end(cuda_graphs *g, const cuda_outcome *outcome)
{
	cuda_graph *graph;
	uint64_t	hash;
	bool		known;

	if (!g->records)
		return;
	g->records = false;
	hash = hash_of(g);
	graph = find(g, hash, &known);
	if (known && is_same(g, graph) && !g->stream->failed)
	{
		cuda_stream_note(g->stream,
						 g->stream->driver->graph_launch(graph->graph, g->stream->stream),
						 "graph_launch");
		atomic_fetch_add(&g->n_launched, 1);
	}
	else
	{
		do_steps(g);
		if (!known)
			forget(g, graph);
		graph->hash = hash;
		if (known && graph->graph == NULL)
			make(g, graph, outcome);
	}
	graph->used = ++g->clock;
}

/* Do kernels await each other where launches begin early?  Those for devices from 9.0 on do. */
static bool
kernels_await(const cuda_stream *s)
{
	const cuda_driver *d = s->driver;
	int				   version = 0;

	return d->launch_by != NULL && d->function_attribute != NULL &&
		   d->function_attribute(&version, CUDA_PTX_VERSION, s->function[0]) == CUDA_FINE &&
		   version >= 90;
}

void
cuda_graphs_open(cuda_graphs *g, cuda_stream *stream)
{
	g->stream = stream;
	g->may_depend = kernels_await(stream);
	stream->take = take;
	stream->taker = g;
}

void
cuda_graphs_close(cuda_graphs *g)
{
	for (int i = 0; i < CUDA_GRAPHS; i++)
		forget(g, &g->graph[i]);
	free(g->step);
}
