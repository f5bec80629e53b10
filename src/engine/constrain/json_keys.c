/*
 * json_keys.c - which keys may come in an object, and what a key means for it.
 *
 * Each name comes once.  In strict order a name may come if some relevant member that lists
 * it has seen none of its own later names; other keys come last.  That is a rule beside the
 * statuses, not a failure of some member: `not` would turn it round.  But a name that can
 * never come any more will be missing, and what requires it fails.  So once it cannot come
 * it must not be able to again when members cease to be relevant: of names that no relevant
 * member lists, those may come that are late nowhere.
 */
#include "engine/constrain/json_machine.h"

#include <string.h>

/* May a name that was not seen come, as far as the order goes? */
static bool
may_come(const glm_reader *reader, const glm_frame *frame, const bool *relevant, int name)
{
	const glm_known_name *known = &frame->set->name[name];
	bool				  listed = false, late = false;

	if (reader->order == GLM_ORDER_ANY)
		return true;
	if (name < frame->position)
		return false;
	if (frame->latest == NULL)
		return true;
	for (int i = 0; i < known->n_listed; i++)
	{
		const glm_listing *in = &known->listed[i];
		bool			   late_in = frame->latest[in->member] > in->index;

		if (relevant[in->member] && !late_in)
			return true;
		listed |= relevant[in->member];
		late |= late_in;
	}
	return !listed && !late;
}

/* A copy of the frame with a key more (-1: no known name) and nothing said about it yet. */
static glm_frame *
add_key(glm_reader *reader, const glm_frame *frame, int name)
{
	const glm_set *set = frame->set;
	int			   words = glm_name_words(set);
	glm_frame	  *copy = glm_frame_copy(reader, frame);

	copy->count++;
	if (name < 0)
	{
		copy->position = reader->order == GLM_ORDER_STRICT ? set->n_names : 0;
		return copy;
	}
	copy->seen = GLM_WALK(reader, uint64_t, words);
	memcpy(copy->seen, frame->seen, sizeof(uint64_t) * (size_t) words);
	copy->seen[name >> 6] |= (uint64_t) 1 << (name & 63);
	if (reader->order == GLM_ORDER_STRICT && set->n_members == 1)
		copy->position = name + 1;
	for (int i = 0; copy->latest != NULL && i < set->name[name].n_listed; i++)
	{
		const glm_listing *in = &set->name[name].listed[i];

		if (in->index > copy->latest[in->member])
			copy->latest[in->member] = in->index;
	}
	return copy;
}

/* Required names that are missing; -1: one of them can never come. */
static int
missing(const glm_reader *reader, const glm_frame *frame, const glm_set_member *member,
		const bool *relevant)
{
	int n = 0;

	for (int i = 0; member->requires != NULL && i < glm_name_words(frame->set); i++)
	{
		uint64_t absent = member->requires[i] & ~frame->seen[i];

		n += __builtin_popcountll(absent);
		for (; absent != 0 && reader->order == GLM_ORDER_STRICT; absent &= absent - 1)
			if (!may_come(reader, frame, relevant, i * 64 + __builtin_ctzll(absent)))
				return -1;
	}
	return n;
}

/* Can all that a name there needs still come? */
static bool
needs_may_come(const glm_reader *reader, const glm_frame *frame, const glm_set_member *member,
			   const bool *relevant)
{
	for (int i = 0; i < member->node->n_dependencies; i++)
		for (int k = 0; k < member->node->dependencies[i].n_needed; k++)
			if (glm_bit(frame->seen, member->dependency[i]) &&
				!glm_bit(frame->seen, member->needs[i][k]) &&
				!may_come(reader, frame, relevant, member->needs[i][k]))
				return false;
	return true;
}

/* The statuses with one key more, before what is said of its value.  relevant: before the key. */
static void
judge_key(const glm_reader *reader, glm_frame *frame, const bool *relevant, const glm_truth *names)
{
	const glm_set *set = frame->set;

	for (int i = 0; i < set->n_members; i++)
	{
		const glm_set_member *member = &set->member[i];
		const glm_node		 *node = member->node;
		int					  absent;

		if (frame->own[i] != GLM_OPEN)
			continue;
		absent = missing(reader, frame, member, relevant);
		if (absent < 0 || frame->count > node->max_properties - absent ||
			!needs_may_come(reader, frame, member, relevant) ||
			(names != NULL && member->names >= 0 && names[member->names] == GLM_FAILS))
			frame->own[i] = GLM_FAILS;
		else if (node->asks_only && absent == 0 && frame->count >= node->min_properties)
			frame->own[i] = GLM_HOLDS;
	}
}

/* ---- What a key asks of its value ------------------------------------------------------------ */

/* The links of a child while they are gathered, in the walk's arena. */
typedef struct links
{
	glm_link		*link;
	const glm_node **node;
	int				 n;
} links;

/* A member whose schema for the value is false fails at once; what anything fits is no question. */
static void
ask(links *list, glm_frame *frame, int member, const glm_node *value)
{
	if (glm_node_target(value)->never)
		frame->own[member] = GLM_FAILS;
	if (glm_node_target(value)->never || glm_node_is_any(value))
		return;
	list->node[list->n] = value;
	list->link[list->n] = (glm_link){.member = member, .root = list->n};
	list->n++;
}

static void
ask_for_key(links *list, glm_frame *frame, const bool *relevant, int name,
			const glm_lexical *lexical)
{
	glm_set *set = frame->set;
	bool	 found[GLM_SET_MEMBERS];

	memset(found, 0, (size_t) set->n_members);
	for (int i = 0; name >= 0 && i < set->name[name].n_listed; i++)
	{
		const glm_listing *in = &set->name[name].listed[i];

		found[in->member] = true;
		if (relevant[in->member])
			ask(list, frame, in->member, set->member[in->member].node->properties[in->index].value);
	}
	for (int i = 0; i < set->n_members; i++)
	{
		const glm_set_member *member = &set->member[i];

		for (int k = 0; relevant[i] && k < member->node->n_patterns; k++)
		{
			int pattern = member->first_pattern + k;

			if (name >= 0 ? !glm_set_name_fits(set, name, pattern)
						  : lexical == NULL || !glm_lexical_fits(lexical, pattern))
				continue;
			found[i] = true;
			ask(list, frame, i, member->node->patterns[k].value);
		}
		if (relevant[i] && !found[i] && member->node->additional != NULL)
			ask(list, frame, i, member->node->additional);
	}
}

static glm_frame *
take_key(glm_reader *reader, glm_frame *frame, const bool *relevant, int name,
		 const glm_lexical *lexical, const glm_truth *names, const glm_child **child)
{
	glm_set		  *set = frame->set;
	bool		   now[GLM_SET_MEMBERS];
	int			   most = 0;
	links		   list = {.n = 0};
	glm_frame	  *copy;
	glm_arena_mark mark;

	if (name >= 0 && !may_come(reader, frame, relevant, name))
		return NULL;
	copy = add_key(reader, frame, name);
	judge_key(reader, copy, relevant, names);
	glm_set_relevant(set, copy->own, copy->seen, now);

	mark = glm_arena_here(reader->walk);
	for (int i = 0; i < set->n_members; i++)
		most += now[i] ? 1 + set->member[i].node->n_patterns : 0;
	list.link = GLM_WALK(reader, glm_link, most);
	list.node = GLM_WALK(reader, const glm_node *, most);
	ask_for_key(&list, copy, now, name, lexical);
	if (child != NULL)
		*child = glm_child_get(reader, list.link, list.n, list.node);
	glm_arena_back(reader->walk, mark);
	return glm_frame_settle(reader, copy);
}

glm_frame *
glm_frame_key(glm_reader *reader, glm_frame *frame, int name, const glm_lexical *lexical,
			  const glm_truth *names, const glm_child **child)
{
	bool relevant[GLM_SET_MEMBERS];

	glm_set_relevant(frame->set, frame->own, frame->seen, relevant);
	return take_key(reader, frame, relevant, name, lexical, names, child);
}

/* ---- Which keys may come --------------------------------------------------------------------- */

/* May a key come that is no known name and begins like this one? */
static bool
pattern_key_possible(glm_reader *reader, glm_frame *frame, glm_lexical *lexical)
{
	const glm_set *set = frame->set;
	uint64_t	   signature = glm_frame_signature(reader, frame);
	glm_arena_mark mark = glm_arena_here(reader->walk);
	bool		   relevant[GLM_SET_MEMBERS];
	glm_frame	  *copy;

	if (lexical->asked == signature)
		return lexical->viable;
	glm_set_relevant(set, frame->own, frame->seen, relevant);
	copy = add_key(reader, frame, -1);
	judge_key(reader, copy, relevant, NULL);
	for (int i = 0; i < set->n_members; i++)
	{
		const glm_set_member *member = &set->member[i];
		const glm_node		 *node = member->node;
		bool				  some = false;

		for (int k = 0; k < node->n_patterns && copy->own[i] == GLM_OPEN; k++)
		{
			some |= glm_lexical_may_fit(lexical, member->first_pattern + k);
			if (glm_node_target(node->patterns[k].value)->never &&
				glm_lexical_will_fit(lexical, member->first_pattern + k))
				copy->own[i] = GLM_FAILS;
		}
		if (copy->own[i] == GLM_OPEN && !some && node->additional != NULL &&
			glm_node_target(node->additional)->never)
			copy->own[i] = GLM_FAILS;
	}
	lexical->viable = glm_frame_settle(reader, copy) != NULL;
	lexical->asked = signature;
	glm_arena_back(reader->walk, mark);
	return lexical->viable;
}

bool
glm_key_may_be_other(glm_reader *reader, glm_frame *frame, glm_lexical *lexical)
{
	if (frame->set->n_patterns == 0)
		return glm_frame_keys(reader, frame)->other;
	return pattern_key_possible(reader, frame, lexical);
}

bool
glm_key_may_be_known(glm_reader *reader, glm_frame *frame, const glm_lexical *lexical)
{
	const glm_set	   *set = frame->set;
	const glm_key_info *keys;

	if (lexical->branch < 0)
		return false;
	keys = glm_frame_keys(reader, frame);
	for (int i = set->branch[lexical->branch].first; i < set->branch[lexical->branch].end; i++)
		if (glm_bit(keys->name, set->sorted[i]))
			return true;
	return false;
}

bool
glm_key_may_be_named(glm_reader *reader, glm_frame *frame, const glm_lexical *name, int length)
{
	const glm_set *set = frame->set, *names = set->names;
	glm_arena_mark mark = glm_arena_here(reader->walk);
	glm_truth	   own[GLM_SET_MEMBERS], root[GLM_SET_MEMBERS];
	glm_frame	  *copy;
	bool		   may;

	if (!name->fails && !names->lengths)
		return true;
	for (int i = 0; i < names->n_members; i++)
		own[i] = name->own[i] == GLM_OPEN && length > names->member[i].node->max_length
					 ? GLM_FAILS
					 : name->own[i];
	glm_set_roots(names, own, NULL, false, root);
	copy = glm_frame_copy(reader, frame);
	for (int i = 0; i < set->n_members; i++)
		if (set->member[i].names >= 0 && root[set->member[i].names] == GLM_FAILS &&
			copy->own[i] == GLM_OPEN)
			copy->own[i] = GLM_FAILS;
	may = glm_frame_settle(reader, copy) != NULL;
	glm_arena_back(reader->walk, mark);
	return may;
}

/* The common case: one schema, of which nothing can be broken but that it is the wrong name. */
static void
fill_plainly(const glm_reader *reader, const glm_frame *frame, glm_key_info *keys)
{
	const glm_set		 *set = frame->set;
	const glm_set_member *member = &set->member[0];
	const glm_node		 *node = member->node, *additional = node->additional;
	bool				  strict = reader->order == GLM_ORDER_STRICT;
	bool				  open = frame->own[0] == GLM_OPEN;
	int					  last = set->n_names;

	for (int i = 0; strict && open && i < node->n_required; i++)
		if (!glm_bit(frame->seen, member->required[i]) && member->required[i] < last)
			last = member->required[i];
	for (int i = frame->position; i < set->n_names && i <= last; i++)
	{
		const glm_node *value = set->name[i].n_listed > 0
									? node->properties[set->name[i].listed[0].index].value
									: additional;

		if (!glm_bit(frame->seen, i) && !(open && value != NULL && glm_node_target(value)->never))
			keys->name[i >> 6] |= (uint64_t) 1 << (i & 63);
	}
	keys->other = !open || (last == set->n_names &&
							!(additional != NULL && glm_node_target(additional)->never));
}

/* Code points of a text. */
static int
code_points(const glm_name *name)
{
	int n = 0;

	for (int i = 0; i < name->length; i++)
		n += (name->text[i] & 0xC0) != 0x80;
	return n;
}

/* Each name by trial. */
static void
fill_by_trial(glm_reader *reader, glm_frame *frame, glm_key_info *keys)
{
	glm_set		  *set = frame->set;
	glm_arena_mark mark = glm_arena_here(reader->walk);
	bool		   relevant[GLM_SET_MEMBERS];
	glm_truth	   names[GLM_SET_MEMBERS];

	glm_set_relevant(set, frame->own, frame->seen, relevant);
	for (int i = 0; i < set->n_names; i++)
	{
		const glm_name *name = &set->name[i].name;

		if (glm_bit(frame->seen, i) || !may_come(reader, frame, relevant, i))
			continue;
		if (set->names != NULL)
		{
			glm_lexical *at = glm_set_string(reader, set->names);

			for (int k = 0; k < name->length; k++)
				at = glm_lexical_next(reader, at, (uint8_t) name->text[k]);
			glm_lexical_end(reader, at, code_points(name), names);
		}
		if (take_key(reader, frame, relevant, i, NULL, set->names != NULL ? names : NULL, NULL) !=
			NULL)
			keys->name[i >> 6] |= (uint64_t) 1 << (i & 63);
		glm_arena_back(reader->walk, mark);
	}
	keys->other = take_key(reader, frame, relevant, -1, NULL, NULL, NULL) != NULL;
	glm_arena_back(reader->walk, mark);
}

static bool
is_plain(const glm_frame *frame)
{
	const glm_set *set = frame->set;

	return set->n_members == 1 && !set->combined && set->n_patterns == 0 && set->names == NULL &&
		   set->member[0].node->n_dependencies == 0 &&
		   set->member[0].node->max_properties == GLM_NO_MOST && frame->vital == 2;
}

const glm_key_info *
glm_frame_keys(glm_reader *reader, glm_frame *frame)
{
	glm_set		  *set = frame->set;
	uint64_t	   signature = glm_frame_signature(reader, frame);
	glm_key_info **kept = &reader->key_infos[signature % GLM_READER_BUCKETS];
	glm_key_info  *keys = *kept;
	int			   words = glm_name_words(set);

	if (keys != NULL && keys->signature == signature)
		return keys;
	if (keys == NULL)
		keys = *kept = GLM_NEW(reader->machine.arena, glm_key_info, 1);
	keys->signature = 0;
	if (keys->words < words)
	{
		keys->name = GLM_NEW(reader->machine.arena, uint64_t, words);
		keys->words = words;
	}
	memset(keys->name, 0, sizeof(uint64_t) * (size_t) words);
	if (is_plain(frame))
		fill_plainly(reader, frame, keys);
	else
		fill_by_trial(reader, frame, keys);
	keys->any = keys->other || (set->n_patterns > 0 &&
								pattern_key_possible(reader, frame, glm_set_key(reader, set)));
	for (int i = 0; i < words; i++)
		keys->any |= keys->name[i] != 0;
	if (set->names != NULL)
		keys->any &= glm_key_may_be_named(reader, frame, glm_set_string(reader, set->names), 0);
	keys->signature = signature;
	return keys;
}
