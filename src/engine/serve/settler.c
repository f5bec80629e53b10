/*
 * settler.c - models move to huge pages once they are in use.
 *
 * A loading that has brought a model into memory goes on with this when all that waited for
 * it are served (loader.c): the model's weights are copied beside the passes that read them
 * (settle.c), for one part in PACE of the time, since a copy takes its bandwidth from them.
 *
 * Copying is nobody's request, so it keeps no model: one that is unloaded or makes way for another
 * ends it first, some milliseconds later at most.
 *
 * Locks.  glm_models.lock guards who is at it.
 */
#include "engine/serve/settler.h"

#include <time.h>

#include "engine/base/clock.h"

#define PACE 5
#define REST_NS INT64_C(20000000) /* at most, between two slices */

typedef struct settling
{
	glm_engine *engine;
	glm_served *served;
	int64_t		slice_ns; /* when this slice began */
} settling;

/* What glm_pause() does in it. */
static bool
pause_settling(void *arg, glm_error *err)
{
	settling	   *s = arg;
	int64_t			rest = (glm_now_ns() - s->slice_ns) * (PACE - 1);
	struct timespec pause = {.tv_nsec = rest < REST_NS ? rest : REST_NS};

	nanosleep(&pause, NULL);
	s->slice_ns = glm_now_ns();
	return (!atomic_load(&s->served->leaving) && !atomic_load(&s->engine->stopping) &&
			atomic_load(&s->engine->huge_pages)) ||
		   glm_fail(err, GLM_CANCELLED, "the model goes, or the engine");
}

bool
glm_settler_begin(glm_engine *e, glm_served *served)
{
	bool begin = e->device.host_memory && atomic_load(&e->huge_pages);

	pthread_mutex_lock(&e->models.lock);
	begin = begin && !served->settling && !served->dead;
	if (begin)
		served->settling = true;
	pthread_mutex_unlock(&e->models.lock);
	return begin;
}

void
glm_settler_run(glm_engine *e, glm_served *served)
{
	settling  s = {.engine = e, .served = served, .slice_ns = glm_now_ns()};
	glm_error unwanted;

	glm_pause_with(pause_settling, &s);
	/* where a file cannot be read any more its pages stay what they are */
	(void) glm_shards_settle(served->model->shards, &unwanted);
	glm_pause_with(NULL, NULL);
	pthread_mutex_lock(&e->models.lock);
	served->settling = false;
	pthread_cond_broadcast(&e->models.settled);
	pthread_mutex_unlock(&e->models.lock);
}

void
glm_settler_end(glm_models *models, glm_served *served)
{
	atomic_store(&served->leaving, true);
	pthread_mutex_lock(&models->lock);
	while (served->settling)
		pthread_cond_wait(&models->settled, &models->lock);
	pthread_mutex_unlock(&models->lock);
}
