/*
 * shards_data.c - the bytes of a model's tensors: held, dropped, read, verified.
 *
 * A tensor is known by its address.  The reservations of weight files (chunk.c)
 * never overlap, so the address alone says which file it is in and where.
 *
 * All functions are thread-safe; verifying starts a second thread of its own.
 */
#include <pthread.h>

#include "engine/weights/shards.h"
#include "engine/base/threads.h"

#define VERIFY_THREADS 2

/* ---- Tensors ------------------------------------------------------------ */

/* The shard in whose addresses a tensor lies, and where in its file. */
static const glm_shard *
locate(const glm_shards *s, const glm_tensor *t, uint64_t *begin)
{
	const uint8_t *data = t->data;

	for (int i = 0; i < s->n_shards; i++)
	{
		const uint8_t *base = glm_weight_file_data(s->shard[i].file);

		if (data >= base && data <= base + glm_weight_file_size(s->shard[i].file))
		{
			*begin = (uint64_t) (data - base);
			return &s->shard[i];
		}
	}
	return NULL;
}

bool
glm_shards_hold(const glm_shards *s, const glm_tensor *t, glm_error *err)
{
	uint64_t		 begin;
	const glm_shard *shard = locate(s, t, &begin);

	if (shard == NULL)
		return glm_fail(err, GLM_INTERNAL, "a tensor is not of model \"%s\"", s->dir);
	return glm_chunks_hold(shard->file, shard->path, shard->expected, begin,
						   begin + glm_tensor_bytes(t), err);
}

void
glm_shards_drop(const glm_shards *s, const glm_tensor *t)
{
	uint64_t		 begin;
	const glm_shard *shard = locate(s, t, &begin);

	if (shard != NULL)
		glm_chunks_drop(shard->file, begin, begin + glm_tensor_bytes(t));
}

bool
glm_shards_populate(const glm_shards *s, const glm_tensor *t, glm_error *err)
{
	uint64_t		 begin;
	const glm_shard *shard = locate(s, t, &begin);

	return shard == NULL ||
		   glm_chunks_populate(shard->file, shard->path, begin, begin + glm_tensor_bytes(t), err);
}

bool
glm_shards_read(const glm_shards *s, const glm_tensor *t, void *to, glm_error *err)
{
	uint64_t		 begin;
	const glm_shard *shard = locate(s, t, &begin);

	if (shard == NULL)
		return glm_fail(err, GLM_INTERNAL, "a tensor is not of model \"%s\"", s->dir);
	return glm_weight_file_read(shard->file, shard->path, to, begin, glm_tensor_bytes(t), err);
}

bool
glm_shards_settle(const glm_shards *s, glm_error *err)
{
	for (int i = 0; i < s->n_shards; i++)
	{
		const glm_shard *shard = &s->shard[i];

		for (int number = 0; number < glm_weight_file_chunks(shard->file); number++)
			if (!glm_chunk_settle(shard->file, shard->path, shard->expected, number, err))
				return false;
	}
	return true;
}

void
glm_shards_usage(const glm_shards *s, glm_chunk_usage *sum)
{
	for (int i = 0; i < s->n_shards; i++)
		glm_weight_file_usage(s->shard[i].file, sum);
}

/* ---- Verifying ---------------------------------------------------------- */

/* All chunks of all shards, in order, each verified by whoever comes to it. */
typedef struct verify_job
{
	const glm_shards *shards;
	atomic_int		  next; /* chunks are counted through all shards */
	atomic_bool		  failed;
	glm_error		 *err; /* filled by the one that sets `failed` */
} verify_job;

/* The shard of a chunk counted through all; *number becomes the one in its file. */
static const glm_shard *
shard_of_chunk(const glm_shards *s, int *number)
{
	for (int i = 0; i < s->n_shards; i++)
	{
		int n = glm_weight_file_chunks(s->shard[i].file);

		if (*number < n)
			return &s->shard[i];
		*number -= n;
	}
	return NULL;
}

static void
verify_chunks(verify_job *job)
{
	while (!atomic_load(&job->failed))
	{
		int				 number = atomic_fetch_add(&job->next, 1);
		const glm_shard *shard = shard_of_chunk(job->shards, &number);
		glm_error		 err;

		if (shard == NULL)
			return;
		if (shard->expected != NULL &&
			!glm_chunk_verify(shard->file, shard->path, shard->expected, number, &err) &&
			!atomic_exchange(&job->failed, true))
			*job->err = err;
	}
}

/* The other threads stop in the middle of a chunk when one has failed. */
static bool
look_at_others(void *arg, glm_error *err)
{
	verify_job *job = arg;

	return !atomic_load(&job->failed) || glm_fail(err, GLM_CANCELLED, "verifying has ended");
}

static void *
verify_main(void *job)
{
	glm_thread_enter("glm verify");
	glm_pause_with(look_at_others, job);
	if (!GLM_INJECT("verify")) /* else the others do its share */
		verify_chunks(job);
	return NULL;
}

/* The calling thread is one of them; without the others it does it alone. */
bool
glm_shards_verify(const glm_shards *s, glm_error *err)
{
	glm_error  first = {0};
	verify_job job = {.shards = s, .err = &first};
	pthread_t  thread[VERIFY_THREADS - 1];
	int		   n = 0;

	while (n < VERIFY_THREADS - 1 && pthread_create(&thread[n], NULL, verify_main, &job) == 0)
		n++;
	verify_chunks(&job);
	while (n > 0)
		pthread_join(thread[--n], NULL);
	if (atomic_load(&job.failed) && err != NULL)
		*err = first;
	return !atomic_load(&job.failed);
}
