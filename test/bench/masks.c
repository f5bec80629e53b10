/*
 * masks.c - how well and how fast JSON is held to real schemas.
 *
 *     masks FILE.jsonl[.gz] [MODEL] [option ...]
 *
 * Reads cases (masks_case.c) and prints one line of JSON, scored as MaskBench does: a schema
 * passes when it compiles, every token of its valid instances is in the mask at its place and
 * the answer may end behind the last, and every invalid instance is refused somewhere.  Times
 * are of one thread: a mask with the step of its token, and from a schema's text to its first
 * mask.  MODEL is a directory with a tokenizer.model; without it a vocabulary of 65,024 is
 * made from the text on this machine, once.
 *
 *     order=any|strict        of properties; any
 *     space=exact|compact|any white space; exact
 *     cpu                     times that the thread ran, where others keep the machine busy
 *     verbose                 names what fails, on stderr
 *     check=N                 compares one mask in N with every token's bytes
 *     walks=N                 instead: N answers at random for each schema, `name TAB JSON`
 *     print                   instead: the instances as they are fed
 *     vocabulary              instead: makes the vocabulary, where there is none
 *     seed=N                  of what is drawn
 */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "masks_run.h"

typedef struct arguments
{
	const char *file, *model;
	bool		print, vocabulary;
} arguments;

uint64_t
masks_draw(masks_bench *b)
{
	uint64_t x = b->seed += 0x9E3779B97F4A7C15u; /* splitmix64 */

	x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
	x = (x ^ x >> 27) * 0x94D049BB133111EBu;
	return x ^ x >> 31;
}

/* ---- The command line ---------------------------------------------------------------------------- */

static bool
read_number(const char *argument, const char *name, int *number)
{
	char *end;

	if (strncmp(argument, name, strlen(name)) != 0)
		return false;
	*number = (int) strtol(argument + strlen(name), &end, 10);
	return *end == '\0';
}

static bool
read_argument(masks_bench *b, arguments *a, const char *argument)
{
	static const char *const spaces[] = {"space=exact", "space=compact", "space=any"};
	int						 seed;

	for (int i = 0; i < 3; i++)
		if (strcmp(argument, spaces[i]) == 0)
		{
			b->space = (glm_json_space) i;
			return true;
		}
	if (strcmp(argument, "order=any") == 0)
		b->order = GLM_ORDER_ANY;
	else if (strcmp(argument, "order=strict") == 0)
		b->order = GLM_ORDER_STRICT;
	else if (strcmp(argument, "verbose") == 0)
		b->verbose = true;
	else if (strcmp(argument, "cpu") == 0)
		b->cpu = true;
	else if (strcmp(argument, "print") == 0)
		a->print = true;
	else if (strcmp(argument, "vocabulary") == 0)
		a->vocabulary = true;
	else if (read_number(argument, "seed=", &seed))
		b->seed = (uint64_t) seed;
	else if (!read_number(argument, "check=", &b->check) &&
			 !read_number(argument, "walks=", &b->walks))
	{
		if (strchr(argument, '=') != NULL || a->model != NULL)
			return false;
		*(a->file == NULL ? &a->file : &a->model) = argument;
	}
	return true;
}

/* ---- What came out --------------------------------------------------------------------------------- */

static int
compare_times(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;

	return (x > y) - (x < y);
}

/* In us, of sorted times. */
static double
quantile(const masks_times *times, double share)
{
	size_t i = (size_t) ((double) times->n * share);

	return times->n == 0 ? 0 : times->ns[i < times->n ? i : times->n - 1] / 1e3;
}

static void
print_score(masks_bench *b)
{
	double sum = 0;

	for (size_t i = 0; i < b->mask.n; i++)
		sum += b->mask.ns[i];
	qsort(b->mask.ns, b->mask.n, sizeof(*b->mask.ns), compare_times);
	qsort(b->first.ns, b->first.n, sizeof(*b->first.ns), compare_times);
	printf("{\"schemas\": %d, \"passing\": %d, \"compile_errors\": %d, \"validation_errors\": %d, "
		   "\"invalidation_errors\": %d, \"passing_share\": %.4f, \"masks\": %zu, ",
		   b->schemas, b->passing, b->compile_errors, b->validation_errors, b->invalidation_errors,
		   b->schemas > 0 ? (double) b->passing / b->schemas : 0, b->mask.n);
	printf("\"mask_us\": {\"avg\": %.1f, \"p50\": %.1f, \"p99\": %.1f, \"max\": %.1f}, "
		   "\"first_us\": {\"p50\": %.1f, \"p99\": %.1f}",
		   b->mask.n > 0 ? sum / (double) b->mask.n / 1e3 : 0, quantile(&b->mask, 0.5),
		   quantile(&b->mask, 0.99), quantile(&b->mask, 1), quantile(&b->first, 0.5),
		   quantile(&b->first, 0.99));
	if (b->check > 0)
		printf(", \"masks_checked\": %ld, \"masks_that_differ\": %ld", b->checked, b->differ);
	printf("}\n");
}

static void
print_instances(const masks_case *c)
{
	for (int i = 0; i < c->n; i++)
		printf("%s\n", c->instance[i].text.data);
}

/* ---- The file ---------------------------------------------------------------------------------------- */

/* The next line, without its end; false: there is none. */
static bool
read_line(gzFile file, glm_buf *line)
{
	char piece[65536];

	line->length = 0;
	while (gzgets(file, piece, sizeof(piece)) != NULL)
	{
		glm_buf_puts(line, piece);
		if (line->data[line->length - 1] == '\n')
			break;
	}
	return line->length > 0 && !line->failed;
}

static bool
run_file(masks_bench *b, const arguments *a, glm_error *err)
{
	gzFile	   file = gzopen(a->file, "rb");
	glm_buf	   line = {0};
	masks_case c;
	bool	   ok = true;

	if (file == NULL)
		return glm_fail(err, GLM_BAD_FILE, "cannot read \"%s\"", a->file);
	while (ok && read_line(file, &line))
	{
		ok = masks_case_read(&c, line.data, err);
		if (ok && a->print)
			print_instances(&c);
		else if (ok && b->walks > 0)
			masks_walk(b, &c);
		else if (ok)
			masks_score(b, &c);
		masks_case_free(&c);
	}
	glm_buf_free(&line);
	gzclose(file);
	return ok;
}

static bool
run(masks_bench *b, const arguments *a, glm_error *err)
{
	masks_tokens *tokens;
	bool		  ok;

	if (a->print)
		return run_file(b, a, err);
	tokens = masks_tokens_open(a->model, err);
	if (tokens == NULL || a->vocabulary)
	{
		masks_tokens_close(tokens);
		return tokens != NULL;
	}
	b->tokens = tokens;
	b->words = glm_vocabulary_words(masks_tokens_vocabulary(tokens));
	b->allowed = calloc((size_t) b->words, sizeof(*b->allowed));
	ok = b->allowed != NULL ? run_file(b, a, err) : glm_no_memory(err);
	if (ok && b->walks > 0)
		fprintf(
			stderr,
			"{\"walks\": %ld, \"schemas\": %d, \"refused\": %d, \"without_value\": %ld, "
			"\"tokens_drawn\": %ld, \"tokens_refused\": %ld, \"ways_out\": %ld, \"faults\": %ld}\n",
			b->walked, b->schemas, b->compile_errors, b->without_value, b->drawn, b->tokens_refused,
			b->ways_out, b->faults);
	else if (ok)
		print_score(b);
	masks_tokens_close(tokens);
	return ok && b->differ == 0 && b->faults == 0;
}

int
main(int argc, char **argv)
{
	masks_bench b = {.order = GLM_ORDER_ANY, .seed = 1};
	arguments	a = {0};
	glm_error	err = {0};
	bool		ok = true;

	for (int i = 1; ok && i < argc; i++)
		ok = read_argument(&b, &a, argv[i]);
	if (!ok || (a.file == NULL && !a.vocabulary))
	{
		fprintf(stderr, "usage: masks FILE.jsonl[.gz] [MODEL] [order=any|strict] "
						"[space=exact|compact|any] [verbose] [check=N] [walks=N] [print] "
						"[vocabulary] [seed=N]\n");
		return 2;
	}
	ok = run(&b, &a, &err);
	if (!ok && err.message[0] != '\0')
		fprintf(stderr, "masks: %s\n", err.message);
	free(b.allowed);
	free(b.mask.ns);
	free(b.first.ns);
	return ok ? 0 : 1;
}
