/*
 * gpu_graph.h - small passes as graphs: see gpu_graph.c.
 */
#ifndef GLM_CUDA_GPU_GRAPH_H
#define GLM_CUDA_GPU_GRAPH_H

#include <stdatomic.h>

#include "cuda/kv_written.h"

#define CUDA_GRAPHS 64	   /* that are kept */
#define CUDA_GRAPH_ROWS 64 /* of a pass that may be one */

/* A pass that came before; at first its hash alone is known. */
typedef struct cuda_graph
{
	uint64_t   hash;
	uint64_t   used; /* when; 0: never, there is none */
	int		   n;
	cuda_step *step; /* [n]; NULL: it has no graph yet */
	void	  *graph;
} cuda_graph;

/* What a pass leaves on the device: logits, or rows for another GPU, picks, and KV blocks. */
typedef struct cuda_outcome
{
	uint64_t	 there;
	size_t		 bytes;
	uint64_t	 picks;
	size_t		 pick_bytes;
	cuda_written written;
} cuda_outcome;

typedef struct cuda_graphs
{
	cuda_stream *stream;
	cuda_step	*step; /* [room]: of the pass at hand */
	int			 n, room;
	bool		 records; /* steps are kept here, and done by cuda_graphs_end() */
	cuda_graph	 graph[CUDA_GRAPHS];
	uint64_t	 clock;

	/* any thread */
	atomic_bool off; /* none are wanted */
	atomic_bool dropped;
	atomic_int	n_kept, n_launched;
	char		why[56]; /* they were dropped; written before */

	/* Launches in them that may begin early; any thread. */
	bool		may_depend;	 /* set when it is opened */
	atomic_bool independent; /* dropped */
	char		why_independent[56];
} cuda_graphs;

extern void cuda_graphs_open(cuda_graphs *g, cuda_stream *stream);
extern void cuda_graphs_close(cuda_graphs *g); /* zeroed is fine */

/* Steps of the stream are kept from here on, if a pass of so many rows may be a graph. */
extern void cuda_graphs_begin(cuda_graphs *g, int rows);
/* What is kept is done, and what comes is done at once. */
extern void cuda_graphs_flush(cuda_graphs *g);
/* The pass is complete: it is done, as a graph if there is one that gives the same outcome. */
extern void cuda_graphs_end(cuda_graphs *g, const cuda_outcome *outcome);

#endif /* GLM_CUDA_GPU_GRAPH_H */
