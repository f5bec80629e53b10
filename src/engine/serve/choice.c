/*
 * choice.c - which of several labels comes next.
 *
 * A label is said by one or more paths of token ids, which together are a trie.  Sorted,
 * the paths that go through a node lie side by side, so a node is a range of them and a
 * depth; only those where paths part are ever looked at.  At such a node
 *
 *     P(child) = e^logit(child) / sum of e^logit over the children
 *
 * and the probability of a path is the product over the nodes on its way: what sampling
 * under a mask of the labels would draw.  What cannot be otherwise costs and weighs nothing,
 * so no label gains or loses by its length, and all add up to 1.  Where one path goes on
 * behind the end of another, the ids that end an answer are a child together.  Paths of
 * one label below a node need not be told apart.
 *
 * Nodes are taken from a stack, several at a time if the caller can, the children of one
 * right after it, so that the ids up to one node are mostly those up to the next.  Where
 * only the likeliest label is wanted the likeliest node comes first, and those that cannot
 * change the outcome never do.  In which order they come changes no bit: what a path has is
 * a product along it, and a label's paths are added up in their own order.
 *
 * Sums run in a fixed order over exponentials that do not depend on the C library
 * (sample_math.h).  No locks: a choice belongs to its sequence.
 */
#include "engine/serve/choice.h"

#include <stdlib.h>
#include <string.h>

#include "engine/serve/sample.h"
#include "engine/serve/sample_math.h"

/* A path: ids that it has in common with the first one, then its own. */
typedef struct path
{
	int			   label;
	size_t		   shared;
	size_t		   at;	 /* of its own, in `ids` */
	size_t		   n;	 /* in all; once begun, those behind the common ones */
	const int32_t *rest; /* these, once begun */
} path;

/* Paths [from, to) that have `depth` ids in common and part there, and their probability. */
typedef struct node
{
	int	   from;
	int	   to;
	size_t depth;
	double p;
} node;

struct glm_choice
{
	int32_t ends[GLM_CHOICE_ENDS];
	int		n_ends;
	int		n_labels;
	double *p; /* [n_labels + 1]: the last is the share of all */

	path	*paths;
	int		 n_paths;
	int		 capacity;
	glm_ids	 ids;  /* of all paths, those shared left out */
	int32_t *rest; /* of all paths, once begun */

	node   *stack;	 /* [n_paths] */
	double *weight;	 /* [n_paths] of the children of a node, at the first path of each */
	double *of_path; /* [n_paths]: what the paths of one label have together, at the first */
	int		n_nodes;
	bool	told;	 /* the share of all, by the first node */
	bool	settles; /* when the likeliest label is known */
};

/* ---- Paths ------------------------------------------------------------------------ */

glm_choice *
glm_choice_open(int n_labels, const int32_t *ends, int n_ends)
{
	glm_choice *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->n_labels = n_labels;
	c->n_ends = n_ends < GLM_CHOICE_ENDS ? n_ends : GLM_CHOICE_ENDS;
	memcpy(c->ends, ends, (size_t) c->n_ends * sizeof(*ends));
	c->p = calloc((size_t) n_labels + 1, sizeof(*c->p));
	if (c->p != NULL)
		return c;
	free(c);
	return NULL;
}

void
glm_choice_close(glm_choice *c)
{
	if (c == NULL)
		return;
	glm_ids_free(&c->ids);
	free(c->paths);
	free(c->rest);
	free(c->stack);
	free(c->weight);
	free(c->of_path);
	free(c->p);
	free(c);
}

static bool
make_path(glm_choice *c, glm_error *err)
{
	if (c->n_paths == c->capacity)
	{
		int	  capacity = c->capacity > 0 ? 2 * c->capacity : 16;
		path *more = realloc(c->paths, (size_t) capacity * sizeof(*more));

		if (more == NULL)
			return glm_no_memory(err);
		c->paths = more;
		c->capacity = capacity;
	}
	return true;
}

bool
glm_choice_add(glm_choice *c, int label, const int32_t *ids, size_t n, glm_error *err)
{
	path  *first = c->paths;
	size_t shared = 0;

	if (!make_path(c, err))
		return false;
	if (c->n_paths > 0)
	{
		first = c->paths;
		while (shared < n && shared < first->n && ids[shared] == c->ids.data[shared])
			shared++;
	}
	c->paths[c->n_paths++] = (path){.label = label, .shared = shared, .at = c->ids.length, .n = n};
	for (size_t i = shared; i < n; i++)
	{
		if (!glm_ids_add(&c->ids, ids[i], err))
			return false;
	}
	return true;
}

/* How many ids all paths begin with; of the longest one at least is left to choose. */
static size_t
count_common(const glm_choice *c)
{
	size_t common = c->paths[0].n;
	size_t longest = 0;

	for (int i = 0; i < c->n_paths; i++)
	{
		if (i > 0 && c->paths[i].shared < common)
			common = c->paths[i].shared;
		if (c->paths[i].n > longest)
			longest = c->paths[i].n;
	}
	return common < longest ? common : longest - 1;
}

/* Writes out what each path has behind the common ids. */
static bool
write_rests(glm_choice *c, size_t common, glm_error *err)
{
	size_t	 n = 1; /* none is no failure */
	int32_t *at;

	for (int i = 0; i < c->n_paths; i++)
		n += c->paths[i].n - common;
	c->rest = at = malloc(n * sizeof(*at));
	if (at == NULL)
		return glm_no_memory(err);
	for (int i = 0; i < c->n_paths; i++)
	{
		path *p = &c->paths[i];

		p->rest = at;
		for (size_t k = common; k < p->n; k++)
			*at++ = c->ids.data[k < p->shared ? k : p->at + k - p->shared];
		p->n -= common;
	}
	return true;
}

static int
by_ids(const void *a, const void *b)
{
	const path *x = a;
	const path *y = b;

	for (size_t i = 0; i < x->n && i < y->n; i++)
	{
		if (x->rest[i] != y->rest[i])
			return x->rest[i] < y->rest[i] ? -1 : 1;
	}
	return (x->n > y->n) - (x->n < y->n);
}

/* Sorted, each once; *depth is the deepest place where two of them part. */
static bool
sort_paths(glm_choice *c, size_t *depth, glm_error *err)
{
	int n = 0;

	*depth = 0;
	qsort(c->paths, (size_t) c->n_paths, sizeof(*c->paths), by_ids);
	for (int i = 0; i < c->n_paths; i++)
	{
		const path *before = n > 0 ? &c->paths[n - 1] : NULL;
		size_t		shared = 0;

		if (before != NULL && by_ids(before, &c->paths[i]) == 0)
		{
			if (before->label == c->paths[i].label)
				continue;
			return glm_fail(err, GLM_BAD_ARGUMENT, "labels %d and %d can be said alike",
							before->label + 1, c->paths[i].label + 1);
		}
		while (before != NULL && shared < before->n &&
			   before->rest[shared] == c->paths[i].rest[shared])
			shared++;
		if (shared > *depth)
			*depth = shared;
		c->paths[n++] = c->paths[i];
	}
	c->n_paths = n;
	return true;
}

bool
glm_choice_begin(glm_choice *c, glm_ids *ids, int *more, glm_error *err)
{
	size_t common = count_common(c);
	size_t depth;

	for (size_t i = 0; i < common; i++)
	{
		if (!glm_ids_add(ids, c->ids.data[i], err))
			return false;
	}
	if (!write_rests(c, common, err) || !sort_paths(c, &depth, err))
		return false;
	c->stack = malloc((size_t) c->n_paths * sizeof(*c->stack));
	c->weight = malloc((size_t) c->n_paths * sizeof(*c->weight));
	c->of_path = calloc((size_t) c->n_paths, sizeof(*c->of_path));
	if (c->stack == NULL || c->weight == NULL || c->of_path == NULL)
		return glm_no_memory(err);
	c->stack[c->n_nodes++] = (node){.to = c->n_paths, .p = 1};
	*more = (int) depth;
	return true;
}

/* ---- Nodes ------------------------------------------------------------------------ */

void
glm_choice_settle(glm_choice *c)
{
	c->settles = true;
}

int
glm_choice_most(const glm_choice *c)
{
	/* a place that is left has two paths at least */
	int most = c->settles || c->n_paths < 2 ? 1 : c->n_paths / 2;

	return most < GLM_CHOICE_AT_ONCE ? most : GLM_CHOICE_AT_ONCE;
}

/* Adds up what the paths of each label have so far. */
static void
sum_paths(glm_choice *c)
{
	memset(c->p, 0, (size_t) c->n_labels * sizeof(*c->p));
	for (int i = 0; i < c->n_paths; i++)
		c->p[c->paths[i].label] += c->of_path[i];
}

/* Is one label likelier than any other can become by the nodes that are left? */
static bool
is_settled(glm_choice *c)
{
	double best = 0, second = 0, left = 0;

	sum_paths(c);
	for (int i = 0; i < c->n_labels; i++)
	{
		if (c->p[i] > best)
		{
			second = best;
			best = c->p[i];
		}
		else if (c->p[i] > second)
			second = c->p[i];
	}
	for (int i = 0; i < c->n_nodes; i++)
		left += c->stack[i].p;
	return best > second + left;
}

bool
glm_choice_next(const glm_choice *c, int i, const int32_t **ids, int *n)
{
	const node *at;

	if (i >= c->n_nodes || i >= GLM_CHOICE_AT_ONCE || (c->settles && i > 0))
		return false;
	at = &c->stack[c->n_nodes - 1 - i];
	*ids = c->paths[at->from].rest;
	*n = (int) at->depth;
	return true;
}

/* Where the paths end that go on from the node as path i does. */
static int
end_of_child(const glm_choice *c, const node *at, int i)
{
	int end = i + 1;

	if (c->paths[i].n > at->depth)
		while (end < at->to && c->paths[end].rest[at->depth] == c->paths[i].rest[at->depth])
			end++;
	return end;
}

/* The logits by which the node goes on as path i does: of one id, or of those that end. */
static const int32_t *
ids_of_child(const glm_choice *c, const node *at, int i, int *n)
{
	const path *p = &c->paths[i];

	*n = p->n > at->depth ? 1 : c->n_ends;
	return p->n > at->depth ? &p->rest[at->depth] : c->ends;
}

/* The largest logit of all children. */
static float
largest_of_children(const glm_choice *c, const node *at, const float *logits)
{
	float max = 0;
	bool  any = false;

	for (int i = at->from; i < at->to; i = end_of_child(c, at, i))
	{
		int			   n;
		const int32_t *ids = ids_of_child(c, at, i, &n);

		for (int k = 0; k < n; k++)
		{
			if (!any || logits[ids[k]] > max)
				max = logits[ids[k]];
			any = true;
		}
	}
	return max;
}

static double
power(float logit, double max)
{
	double y;

	exponentials(&y, &logit, 1, max, 1);
	return y;
}

/* Weighs the children; the sum of their weights. */
static double
weigh_children(glm_choice *c, const node *at, const float *logits, float max)
{
	double sum = 0;

	for (int i = at->from; i < at->to; i = end_of_child(c, at, i))
	{
		int			   n;
		const int32_t *ids = ids_of_child(c, at, i, &n);

		c->weight[i] = 0;
		for (int k = 0; k < n; k++)
			c->weight[i] += power(logits[ids[k]], max);
		sum += c->weight[i];
	}
	return sum;
}

/* A child gets its probability: its one label does, or its own children will. */
static void
go_down(glm_choice *c, const node *at, int from, int to, double p)
{
	const path *first = &c->paths[from];
	const path *last = &c->paths[to - 1];
	size_t		depth = at->depth;
	bool		alike = true;

	for (int i = from; alike && i < to; i++)
		alike = c->paths[i].label == first->label;
	if (alike)
	{
		c->of_path[from] = p;
		return;
	}
	while (depth < first->n && first->rest[depth] == last->rest[depth])
		depth++;
	c->stack[c->n_nodes++] = (node){from, to, depth, p};
}

/* What comes next where the likeliest label alone is wanted. */
static void
go_on_by_likeliest(glm_choice *c)
{
	node *likeliest = c->stack;
	node  last;

	if (is_settled(c))
		c->n_nodes = 0;
	if (c->n_nodes == 0)
		return;
	for (int i = 1; i < c->n_nodes; i++)
	{
		if (c->stack[i].p > likeliest->p)
			likeliest = &c->stack[i];
	}
	last = c->stack[c->n_nodes - 1];
	c->stack[c->n_nodes - 1] = *likeliest;
	*likeliest = last;
}

static bool
take_node(glm_choice *c, const node *at, const float *logits, int n_ids, glm_error *err)
{
	float  max = largest_of_children(c, at, logits);
	double sum = weigh_children(c, at, logits, max);

	if (!glm_logits_check(logits, n_ids, err))
		return false;
	if (!c->told)
	{
		double max_of_all, all;

		glm_logits_sum(logits, n_ids, &max_of_all, &all);
		c->p[c->n_labels] = sum * power(max, max_of_all) / all;
		c->told = true;
	}
	for (int i = at->from, end; i < at->to; i = end)
	{
		end = end_of_child(c, at, i);
		go_down(c, at, i, end, at->p * (c->weight[i] / sum));
	}
	return true;
}

bool
glm_choice_take(glm_choice *c, const float *logits, size_t stride, int n, int n_ids, glm_error *err)
{
	node taken[GLM_CHOICE_AT_ONCE];

	for (int i = 0; i < n; i++)
		taken[i] = c->stack[--c->n_nodes];
	/* from the last on, so that what follows the first comes next */
	while (n-- > 0)
	{
		if (!take_node(c, &taken[n], logits + (size_t) n * stride, n_ids, err))
			return false;
	}
	if (c->settles)
		go_on_by_likeliest(c);
	return true;
}

const double *
glm_choice_result(glm_choice *c, int *n)
{
	sum_paths(c);
	*n = c->n_labels + 1;
	return c->p;
}
