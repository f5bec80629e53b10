/*
 * masks_walk.c - answers at random, as a model at a high temperature would write them.
 *
 * They go through a matcher, as answers do: what it says may come is drawn from, with a
 * liking for what ends things, and after some tokens its known way to the end is taken.  An
 * answer that does not end within its tokens, or takes a token that its mask refuses, is a
 * fault.  Whether the answers are valid is for others to say (masks_validate.py).
 */
#include "masks_run.h"

#include <string.h>

#define MOST_DRAWN 60	   /* tokens of an answer */
#define MOST_REFUSED 30	   /* in a row, before the known way is taken */
#define EASY_TOKENS 4096   /* of an answer that is not held short, */
#define FEW_TOKENS 40	   /* of one that is, */
#define MANY_TOKENS 100000 /* and of one whose schema needs more than that */

/* The n-th token of the mask. */
static int32_t
nth_allowed(const masks_bench *b, uint64_t n)
{
	for (int i = 0; i < b->words; i++)
	{
		uint64_t word = b->allowed[i];
		uint64_t count = (uint64_t) __builtin_popcountll(word);

		if (n >= count)
		{
			n -= count;
			continue;
		}
		while (n-- > 0)
			word &= word - 1;
		return i * 64 + __builtin_ctzll(word);
	}
	return -1;
}

/* A token of the mask; -1: it is empty. */
static int32_t
draw_token(masks_bench *b)
{
	static const char liked[] = "\"},]:";
	uint64_t		  count = 0;

	for (int i = 0; i < b->words; i++)
		count += (uint64_t) __builtin_popcountll(b->allowed[i]);
	if (count == 0)
		return -1;
	for (int tries = 0; tries < 5 && masks_draw(b) % 3 > 0; tries++)
	{
		int32_t id =
			masks_tokens_byte(b->tokens, (uint8_t) liked[masks_draw(b) % (sizeof(liked) - 1)]);

		if (id >= 0 && (b->allowed[id / 64] >> id % 64 & 1) != 0)
			return id;
	}
	return nth_allowed(b, masks_draw(b) % count);
}

/*
 * What comes next: something drawn, or the next token of the known way.  What is refused is
 * counted where it is not for want of tokens.
 */
static int32_t
choose(masks_bench *b, glm_matcher *matcher, bool at_random, bool easy)
{
	int32_t id;

	glm_matcher_mask(matcher, b->allowed);
	for (int tries = 0; at_random && tries < MOST_REFUSED; tries++)
	{
		id = draw_token(b);
		if (id < 0)
			break;
		b->drawn += easy;
		if (glm_matcher_allows(matcher, id))
			return id;
		b->tokens_refused += easy;
		b->allowed[id / 64] &= ~(UINT64_C(1) << id % 64);
	}
	b->ways_out += at_random && easy;
	return glm_matcher_way_out(matcher);
}

static void
write_answer(const masks_bench *b, const glm_buf *answer)
{
	printf("%s\t", b->now->name.data);
	for (size_t i = 0; i < answer->length; i++)
		putchar(strchr("\n\r\t", answer->data[i]) != NULL ? ' ' : answer->data[i]);
	putchar('\n');
}

/* One answer, the first so many tokens drawn; of at most `most`, the one that ends it included. */
static void
walk_once(masks_bench *b, glm_matcher *matcher, int drawn, int most)
{
	glm_buf answer = {0};
	int		taken = 0;
	bool	ended = false;

	for (; !ended && taken < most; taken++)
	{
		int32_t		id = choose(b, matcher, taken < drawn, most >= EASY_TOKENS);
		size_t		n = 0;
		const char *bytes = masks_tokens_bytes(b->tokens, id, &n);

		ended = bytes == NULL;
		if (bytes != NULL)
			glm_buf_add(&answer, bytes, n);
		glm_matcher_take(matcher, id);
	}
	if (!ended)
	{
		b->faults++;
		fprintf(stderr, "NO END %s: %d tokens\n", b->now->name.data, most);
	}
	else
		write_answer(b, &answer);
	b->walked++;
	glm_buf_free(&answer);
}

/* The first walk is the known way; each second of the others is held short. */
static void
walk_all(masks_bench *b, glm_constraint *constraint)
{
	glm_error err;

	for (int i = 0; i < b->walks; i++)
	{
		int			 drawn = i == 0 ? 0 : (int) (masks_draw(b) % MOST_DRAWN);
		int			 most = i == 0 || i % 2 == 1 ? EASY_TOKENS : FEW_TOKENS;
		glm_matcher *matcher = glm_matcher_open(constraint, NULL, 0, most, &err);

		if (matcher == NULL)
		{
			most = MANY_TOKENS;
			matcher = glm_matcher_open(constraint, NULL, 0, most, &err);
		}
		if (matcher == NULL)
		{
			b->without_value++;
			if (b->verbose)
				fprintf(stderr, "NO VALUE %s: %s\n", b->now->name.data, err.message);
			return;
		}
		walk_once(b, matcher, drawn, most);
		glm_matcher_close(matcher);
	}
}

void
masks_walk(masks_bench *b, const masks_case *c)
{
	glm_constraint_spec spec = {.kind = GLM_JSON_SCHEMA,
								.order = b->order,
								.space = b->space,
								.text = c->schema.data,
								.length = c->schema.length};
	glm_constraint	   *constraint;
	glm_error			err;

	b->now = c;
	b->schemas++;
	constraint = glm_constraint_open(&spec, masks_tokens_vocabulary(b->tokens), &err);
	if (constraint != NULL)
		walk_all(b, constraint);
	else
	{
		b->without_value += err.status == GLM_BAD_ARGUMENT;
		b->compile_errors += err.status != GLM_BAD_ARGUMENT;
		if (b->verbose)
			fprintf(stderr, "REFUSED %s: %s\n", c->name.data, err.message);
	}
	glm_constraint_release(constraint);
}
