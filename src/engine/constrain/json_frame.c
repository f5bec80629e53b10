/*
 * json_frame.c - open containers, and what the values in them mean for the document.
 */
#include "engine/constrain/json_machine.h"

#include <string.h>

static int *
copy_counts(glm_reader *reader, const glm_set *set, const int *count)
{
	int *copy;

	if (count == NULL)
		return NULL;
	copy = GLM_WALK(reader, int, set->n_members);
	return memcpy(copy, count, sizeof(int) * (size_t) set->n_members);
}

glm_frame *
glm_frame_copy(glm_reader *reader, const glm_frame *frame)
{
	const glm_set *set = frame->set;
	glm_frame	  *copy = GLM_WALK(reader, glm_frame, 1);

	*copy = *frame;
	copy->signature = copy->whole = 0;
	copy->own = GLM_WALK(reader, glm_truth, set->n_members);
	memcpy(copy->own, frame->own, (size_t) set->n_members);
	copy->matched = copy_counts(reader, set, frame->matched);
	copy->latest = copy_counts(reader, set, frame->latest);
	return copy;
}

/* Does a root that has failed fail a member of the frame that has not? */
static bool
breaks(const glm_frame *frame, const glm_child *child, const glm_truth *root)
{
	for (int i = 0; i < child->n_links; i++)
		if (!child->link[i].contains && root[child->link[i].root] == GLM_FAILS &&
			frame->own[child->link[i].member] != GLM_FAILS)
			return true;
	return false;
}

/* The frame with what a value came to, not settled; itself when that changes nothing. */
static glm_frame *
take(glm_reader *reader, glm_frame *frame, const glm_child *child, const glm_truth *root,
	 bool ended)
{
	glm_frame *copy;

	if (!(ended && frame->set->contains) && !breaks(frame, child, root))
		return frame;
	copy = glm_frame_copy(reader, frame);
	for (int i = 0; i < child->n_links; i++)
	{
		const glm_link *link = &child->link[i];
		const glm_node *node = frame->set->member[link->member].node;

		if (!link->contains && root[link->root] == GLM_FAILS)
			copy->own[link->member] = GLM_FAILS;
		if (link->contains && ended && root[link->root] == GLM_HOLDS &&
			++copy->matched[link->member] > node->max_contains)
			copy->own[link->member] = GLM_FAILS;
	}
	return copy;
}

/* Evaluates the roots anew.  Has another one failed? */
static bool
root_fails(glm_reader *reader, glm_frame *frame)
{
	int		  n = frame->set->n_roots;
	glm_truth root[GLM_SET_MEMBERS], *kept;
	bool	  fails = false;

	glm_set_roots(frame->set, frame->own, frame->seen, false, root);
	if (memcmp(root, frame->root, (size_t) n) == 0)
		return false;
	for (int i = 0; i < n; i++)
		fails |= root[i] == GLM_FAILS && frame->root[i] != GLM_FAILS;
	kept = GLM_WALK(reader, glm_truth, n);
	memcpy(kept, root, (size_t) n);
	frame->root = kept;
	return fails;
}

glm_frame *
glm_frame_settle(glm_reader *reader, glm_frame *frame)
{
	for (glm_frame *at = frame; root_fails(reader, at); at = at->up)
	{
		glm_frame *above;

		if (at->up->set == NULL)
			return NULL; /* its root is the document's */
		above = take(reader, at->up, at->child, at->root, false);
		if (above == at->up)
			break;
		at->up = above;
		at->vital = 0;
	}
	return frame;
}

glm_frame *
glm_frame_apply(glm_reader *reader, glm_frame *frame, const glm_child *child, const glm_truth *root,
				bool ended)
{
	glm_frame *taken;

	if (frame->set == NULL)
		return root[0] == GLM_FAILS ? NULL : frame;
	taken = take(reader, frame, child, root, ended);
	return taken == frame ? frame : glm_frame_settle(reader, taken);
}

bool
glm_frame_bears(glm_reader *reader, glm_frame *frame, const glm_child *child, const glm_truth *root)
{
	glm_arena_mark mark = glm_arena_here(reader->walk);
	bool		   bears = glm_frame_apply(reader, frame, child, root, false) != NULL;

	glm_arena_back(reader->walk, mark);
	return bears;
}

/* ---- Signatures ------------------------------------------------------------------------------ */

/* Does the document fail as soon as any root of this frame does?  Then nothing else around it matters. */
static bool
vital(glm_reader *reader, glm_frame *frame)
{
	glm_truth root[GLM_SET_MEMBERS];

	if (frame->vital == 0)
	{
		frame->vital = 2;
		memset(root, GLM_OPEN, (size_t) frame->set->n_roots);
		for (int i = 0; i < frame->set->n_roots && frame->vital == 2; i++)
		{
			root[i] = GLM_FAILS;
			if (glm_frame_bears(reader, frame->up, frame->child, root))
				frame->vital = 1;
			root[i] = GLM_OPEN;
		}
	}
	return frame->vital == 2;
}

/* Of what is in the frame itself: equal where it makes no difference. */
static uint64_t
content(const glm_frame *frame)
{
	const glm_set *set = frame->set;
	int			   count = frame->count < set->counted ? frame->count : set->counted;
	int			   about[4] = {set->id, (int) frame->kind, frame->position, count};
	uint64_t	   hash = glm_mix(1, frame->own, (size_t) set->n_members);

	hash = glm_mix(hash, about, sizeof(about));
	if (frame->seen != NULL)
		hash = glm_mix(hash, frame->seen, sizeof(uint64_t) * (size_t) glm_name_words(set));
	for (int i = 0; frame->matched != NULL && i < set->n_members; i++)
	{
		const glm_node *node = set->member[i].node;
		int				enough =
			node->max_contains != GLM_NO_MOST ? node->max_contains + 1 : node->min_contains;
		int matched = frame->matched[i] < enough ? frame->matched[i] : enough;

		hash = glm_mix(hash, &matched, sizeof(matched));
	}
	return hash;
}

/* Recursive: GLM_JSON_DEPTH bounds it. */
uint64_t
glm_frame_signature(glm_reader *reader, glm_frame *frame)
{
	if (frame->set == NULL)
		return 1;
	if (frame->signature == 0 && vital(reader, frame))
		frame->signature = content(frame);
	else if (frame->signature == 0)
	{
		uint64_t around[2] = {glm_frame_signature(reader, frame->up), (uint64_t) frame->child->id};

		frame->signature = glm_mix(content(frame), around, sizeof(around));
	}
	return frame->signature;
}

uint64_t
glm_frame_outlook(const glm_frame *frame)
{
	uint64_t hash = 1;

	for (; frame->set != NULL; frame = frame->up)
	{
		uint64_t here[2] = {content(frame), (uint64_t) frame->child->id};

		hash = glm_mix(hash, here, sizeof(here));
	}
	return hash;
}

/* Recursive, as the signature is. */
uint64_t
glm_frame_whole(glm_frame *frame)
{
	uint64_t around[2];

	if (frame->set == NULL || frame->whole != 0)
		return frame->set == NULL ? 1 : frame->whole;
	around[0] = glm_frame_whole(frame->up);
	around[1] = (uint64_t) frame->child->id;
	frame->whole = glm_mix(content(frame), around, sizeof(around));
	for (const glm_hashes *key = frame->hashes; key != NULL; key = key->next)
		frame->whole = glm_mix(frame->whole, &key->hash, sizeof(key->hash));
	return frame->whole;
}

/* ---- Children -------------------------------------------------------------------------------- */

const glm_child *
glm_child_get(glm_reader *reader, glm_link *link, int n, const glm_node *const *nodes)
{
	const glm_node **root = GLM_WALK(reader, const glm_node *, n);
	int				 roots = 0;
	uint64_t		 hash;
	glm_child		*child, **chain;
	glm_set			*set;

	reader->marks++;
	for (int i = 0; i < n; i++)
	{
		const glm_node *node = glm_node_target(nodes[link[i].root]);

		if (reader->mark[node->id] != reader->marks)
		{
			reader->mark[node->id] = reader->marks;
			reader->number[node->id] = roots;
			root[roots++] = node;
		}
		link[i].root = reader->number[node->id];
	}
	set = glm_set_get(reader, root, roots);
	hash = glm_mix((uint64_t) set->id, link, sizeof(*link) * (size_t) n);
	chain = &reader->children[hash % GLM_READER_BUCKETS];
	for (child = *chain; child != NULL; child = child->chain)
		if (child->hash == hash && child->set == set && child->n_links == n &&
			memcmp(child->link, link, sizeof(*link) * (size_t) n) == 0)
			return child;

	child = GLM_NEW(reader->machine.arena, glm_child, 1);
	*child = (glm_child){.hash = hash, .set = set, .n_links = n};
	child->link = GLM_NEW(reader->machine.arena, glm_link, n);
	if (n > 0)
		memcpy(child->link, link, sizeof(*link) * (size_t) n);
	child->id = ++reader->n_children;
	child->chain = *chain;
	return *chain = child;
}

/* What a new frame of an object has for its keys. */
static void
open_keys(glm_reader *reader, glm_frame *frame)
{
	const glm_set *set = frame->set;

	frame->seen = GLM_WALK(reader, uint64_t, glm_name_words(set));
	if (reader->order == GLM_ORDER_STRICT && set->n_members > 1)
	{
		frame->latest = GLM_WALK(reader, int, set->n_members);
		memset(frame->latest, -1, sizeof(int) * (size_t) set->n_members);
	}
}

glm_frame *
glm_frame_open(glm_reader *reader, glm_frame *up, const glm_child *child, glm_kinds kind)
{
	glm_set			*set = child->set;
	const glm_start *start = glm_set_start(reader, set, kind);
	glm_frame		*frame = GLM_WALK(reader, glm_frame, 1);

	*frame = (glm_frame){.up = up, .child = child, .set = set, .kind = kind, .root = start->root};
	frame->depth = up->depth + 1;
	frame->hashed = up->hashed || (kind == GLM_KIND_ARRAY && set->unique);
	frame->own = GLM_WALK(reader, glm_truth, set->n_members);
	memcpy(frame->own, start->own, (size_t) set->n_members);
	if (kind == GLM_KIND_OBJECT)
		open_keys(reader, frame);
	else if (set->contains)
		frame->matched = GLM_WALK(reader, int, set->n_members);
	return frame;
}

/* ---- Arrays ---------------------------------------------------------------------------------- */

/* What is asked of the next item; members whose schema for it is false fail at once. */
static const glm_child *
item_child(glm_reader *reader, glm_frame *frame, int index)
{
	const glm_set	*set = frame->set;
	bool			*relevant = GLM_WALK(reader, bool, set->n_members);
	const glm_node **node = GLM_WALK(reader, const glm_node *, 2 * set->n_members);
	glm_link		*link = GLM_WALK(reader, glm_link, 2 * set->n_members);
	int				 n = 0;

	glm_set_relevant(set, frame->own, NULL, relevant);
	for (int i = 0; i < set->n_members; i++)
	{
		const glm_node *of = set->member[i].node;
		const glm_node *item = index < of->prefix.n ? of->prefix.node[index] : of->items;

		if (!relevant[i])
			continue;
		if (item != NULL && glm_node_target(item)->never)
			frame->own[i] = GLM_FAILS;
		else if (item != NULL && !glm_node_is_any(item))
		{
			node[n] = item;
			link[n] = (glm_link){.member = i, .root = n};
			n++;
		}
		if (of->contains != NULL)
		{
			node[n] = of->contains;
			link[n] = (glm_link){.member = i, .root = n, .contains = 1};
			n++;
		}
	}
	return glm_child_get(reader, link, n, node);
}

glm_frame *
glm_frame_item(glm_reader *reader, glm_frame *frame, const glm_child **child)
{
	glm_frame	  *copy = glm_frame_copy(reader, frame);
	glm_arena_mark mark = glm_arena_here(reader->walk);

	copy->count++;
	for (int i = 0; i < copy->set->n_members; i++)
		if (copy->own[i] == GLM_OPEN && copy->count > copy->set->member[i].node->max_items)
			copy->own[i] = GLM_FAILS;
	*child = item_child(reader, copy, frame->count);
	glm_arena_back(reader->walk, mark);
	return glm_frame_settle(reader, copy);
}

/* ---- The end of a container ------------------------------------------------------------------ */

static bool
array_holds(const glm_frame *frame, int i)
{
	const glm_node *node = frame->set->member[i].node;

	return frame->count >= node->min_items && frame->count <= node->max_items &&
		   (node->contains == NULL ||
			(frame->matched[i] >= node->min_contains && frame->matched[i] <= node->max_contains));
}

static bool
object_holds(const glm_frame *frame, const glm_set_member *member)
{
	const glm_node *node = member->node;

	if (frame->count < node->min_properties || frame->count > node->max_properties)
		return false;
	for (int i = 0; member->requires != NULL && i < glm_name_words(frame->set); i++)
		if ((member->requires[i] & ~frame->seen[i]) != 0)
			return false;
	for (int i = 0; i < node->n_dependencies; i++)
		for (int k = 0; k < node->dependencies[i].n_needed; k++)
			if (glm_bit(frame->seen, member->dependency[i]) &&
				!glm_bit(frame->seen, member->needs[i][k]))
				return false;
	return true;
}

void
glm_frame_end(const glm_frame *frame, glm_truth *root)
{
	const glm_set *set = frame->set;
	glm_truth	   own[GLM_SET_MEMBERS];

	memcpy(own, frame->own, (size_t) set->n_members);
	for (int i = 0; i < set->n_members; i++)
		if (own[i] == GLM_OPEN)
			own[i] = (frame->kind == GLM_KIND_OBJECT ? object_holds(frame, &set->member[i])
													 : array_holds(frame, i))
						 ? GLM_HOLDS
						 : GLM_FAILS;
	glm_set_roots(set, own, frame->seen, true, root);
}

/* ---- The end of a value in a container -------------------------------------------------------- */

/* An item that was there before breaks uniqueItems. */
static glm_frame *
add_item(glm_reader *reader, glm_frame *frame, uint64_t hash)
{
	const glm_hashes *before = frame->hashes;
	glm_hashes		 *with;

	frame->hash = glm_mix(frame->hash, &hash, sizeof(hash));
	if (!frame->set->unique)
		return frame;
	while (before != NULL && before->hash != hash)
		before = before->next;
	if (before == NULL)
	{
		with = GLM_WALK(reader, glm_hashes, 1);
		*with = (glm_hashes){frame->hashes, hash};
		frame->hashes = with;
		return frame;
	}
	for (int i = 0; i < frame->set->n_members; i++)
		if (frame->set->member[i].node->unique && frame->own[i] == GLM_OPEN)
			frame->own[i] = GLM_FAILS;
	return glm_frame_settle(reader, frame);
}

bool
glm_reader_finish(glm_reader *reader, glm_reader_state *state, glm_frame *frame,
				  const glm_child *child, const glm_truth *root, uint64_t hash)
{
	frame = glm_frame_apply(reader, frame, child, root, true);
	if (frame != NULL && frame->hashed)
	{
		frame = glm_frame_copy(reader, frame);
		if (frame->kind == GLM_KIND_ARRAY)
			frame = add_item(reader, frame, hash);
		else
			frame->hash += glm_mix(frame->key_hash, &hash, sizeof(hash));
	}
	if (frame == NULL)
		return false;
	state->frame = frame;
	state->child = NULL;
	state->mode = frame->set != NULL ? GLM_READ_AFTER : GLM_READ_DONE;
	state->spaces = 0;
	return true;
}
