/*
 * job.c - the quantize job: a request that takes minutes or hours.
 *
 * It has a thread of its own, "glm quantize", and a compute pool of its own, so
 * that neither an intake thread nor the engine thread ever waits for it.  All of
 * them run at a lower priority than the engine's: what serving leaves over, on
 * all cores, is the job's.
 *
 * One job runs at a time, since each may take gigabytes; a second one is refused
 * at once.  The intake thread of the fast lane starts it, and joins the thread of the one before.
 * A cancel is the ticket's flag, which the workers poll.  The lock guards what
 * others look at: whether a job runs, and how far it has come.
 *
 * A job that ends, however it does, has removed what it had not finished; for
 * one that dies with its process, glm_quantize_sweep does.
 */
#include "engine/serve/job.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/quantize/convert.h"
#include "engine/serve/engine.h"

#define QUIT_MS 3000 /* a job ends within tens of milliseconds */

typedef struct job_start
{
	glm_engine *engine;
	int			ticket;
} job_start;

void
glm_job_init(glm_job *job)
{
	memset(job, 0, sizeof(*job));
	pthread_mutex_init(&job->lock, NULL);
}

/* ---- Progress --------------------------------------------------------------- */

/* Copies a text that is shown; what has no room is cut between characters. */
static void
copy_text(char *to, size_t size, const char *from)
{
	size_t n = strnlen(from, size - 1);

	while (n > 0 && ((uint8_t) from[n] & 0xc0) == 0x80)
		n--;
	memcpy(to, from, n);
	to[n] = '\0';
}

/* glm_note_progress: the first call says how many bytes there are in all. */
static void
note_progress(void *arg, const char *phase, const char *tensor, uint64_t bytes)
{
	glm_job		 *job = arg;
	glm_progress *p = &job->progress;

	pthread_mutex_lock(&job->lock);
	if (p->bytes_total == 0)
		p->bytes_total = bytes;
	else
		p->bytes_done += bytes;
	copy_text(p->phase, sizeof(p->phase), phase);
	copy_text(p->tensor, sizeof(p->tensor), tensor);
	pthread_mutex_unlock(&job->lock);
}

void
glm_engine_progress(glm_engine *e, glm_progress *out)
{
	glm_job *job = &e->job;
	int64_t	 start_ns;

	pthread_mutex_lock(&job->lock);
	*out = job->progress;
	start_ns = job->start_ns;
	pthread_mutex_unlock(&job->lock);
	if (out->id == 0)
		return;
	out->elapsed_s = (double) (glm_now_ns() - start_ns) / 1e9;
	out->seconds_left = out->bytes_done == 0
							? -1
							: out->elapsed_s * (double) (out->bytes_total - out->bytes_done) /
								  (double) out->bytes_done;
}

/* ---- The thread -------------------------------------------------------------- */

/* From now on the next job may come. */
static void
end_job(glm_job *job)
{
	pthread_mutex_lock(&job->lock);
	job->busy = false;
	memset(&job->progress, 0, sizeof(job->progress));
	pthread_mutex_unlock(&job->lock);
}

static bool
run_job(glm_engine *e, int ticket, glm_quantized **report, int *n, glm_error *err)
{
	const glm_request *req = e->ticket[ticket].request;
	glm_quantize_job   job = {
		  .name = glm_request_text(req, req->model),
		  .path = glm_request_text(req, req->path),
		  .target = glm_request_text(req, req->target),
		  .options = glm_request_text(req, req->options),
		  .texts = glm_request_text(req, req->text),
		  .kernels = e->kernels,
		  .progress = note_progress,
		  .arg = &e->job,
	  };
	glm_threads *pool = glm_threads_open(glm_threads_count(e->threads), err);
	bool		 ok;

	if (pool == NULL)
		return false;
	job.work = (glm_work){.pool = pool, .cancel = &e->ticket[ticket].cancelled};
	ok = glm_convert(&job, report, n, err);
	glm_threads_close(pool);
	return ok;
}

/* What glm_pause() does in a job. */
static bool
pause_job(void *cancelled, glm_error *err)
{
	return !atomic_load((atomic_bool *) cancelled) ||
		   glm_fail(err, GLM_CANCELLED, "the request was cancelled");
}

static void *
job_main(void *arg)
{
	job_start	   start = *(job_start *) arg;
	glm_engine	  *e = start.engine;
	glm_quantized *report = NULL;
	int			   n = 0;
	glm_error	   err = {0};

	free(arg);
	glm_thread_enter("glm quantize");
	/* of this thread alone, and of those of the pool, which inherit it */
	glm_thread_lower(GLM_LOWER_JOB);
	glm_pause_with(pause_job, &e->ticket[start.ticket].cancelled);
	if (run_job(e, start.ticket, &report, &n, &err))
	{
		glm_send_result(e, start.ticket, report, (size_t) n * sizeof(*report));
		end_job(&e->job);
		glm_send_done(e, start.ticket, GLM_FINISH_NONE, 0, 0);
	}
	else
	{
		end_job(&e->job);
		glm_send_error(e, start.ticket, &err);
	}
	free(report);
	return NULL;
}

/* ---- Starting and stopping ----------------------------------------------------- */

/* Takes the one place there is for a job. */
static bool
begin_job(glm_job *job, int ticket, const glm_request *req, glm_error *err)
{
	glm_progress *p = &job->progress;

	pthread_mutex_lock(&job->lock);
	if (job->busy || job->closed)
	{
		pthread_mutex_unlock(&job->lock);
		glm_fail(err, GLM_BUSY, "another model is being quantized");
		glm_advise(err, GLM_ADVICE_JOB_RUNS);
		return false;
	}
	job->busy = true;
	job->ticket = ticket;
	job->start_ns = glm_now_ns();
	memset(p, 0, sizeof(*p));
	p->id = req->id;
	copy_text(p->source, sizeof(p->source), glm_request_text(req, req->model));
	copy_text(p->target, sizeof(p->target), glm_request_text(req, req->target));
	copy_text(p->phase, sizeof(p->phase), "opening");
	pthread_mutex_unlock(&job->lock);
	return true;
}

bool
glm_job_start(glm_engine *e, int ticket, glm_error *err)
{
	glm_job	  *job = &e->job;
	job_start *start = malloc(sizeof(*start));

	if (start == NULL)
		return glm_no_memory(err);
	if (!begin_job(job, ticket, e->ticket[ticket].request, err))
	{
		free(start);
		return false;
	}
	if (job->started)
		pthread_join(job->thread, NULL);
	*start = (job_start){e, ticket};
	atomic_store(&e->ticket[ticket].stage, GLM_STAGE_JOB);
	job->started =
		!GLM_INJECT("job-thread") && pthread_create(&job->thread, NULL, job_main, start) == 0;
	if (job->started)
		return true;
	free(start);
	end_job(job);
	return glm_fail(err, GLM_NO_ROOM, "could not start the quantize thread");
}

/* Cancels the job and lets no other begin; is there one still? */
static bool
cancel_job(glm_engine *e)
{
	glm_job *job = &e->job;
	bool	 busy;

	pthread_mutex_lock(&job->lock);
	job->closed = true;
	busy = job->busy;
	if (busy)
		atomic_store(&e->ticket[job->ticket].cancelled, true);
	pthread_mutex_unlock(&job->lock);
	return busy;
}

void
glm_job_stop(glm_engine *e)
{
	glm_job *job = &e->job;

	cancel_job(e);
	if (job->started)
		pthread_join(job->thread, NULL);
	pthread_mutex_destroy(&job->lock);
}

/* Its thread is not joined: it may wait for a host that takes no more events. */
void
glm_engine_quit_job(glm_engine *e)
{
	for (int ms = 0; cancel_job(e) && ms < QUIT_MS; ms++)
		usleep(1000);
}
