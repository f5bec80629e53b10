/*
 * client.h - a host of the engine, for the tests that drive it: submits requests
 * on the embedded model and keeps what comes back.
 */
#ifndef CLIENT_H
#define CLIENT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/compute/backend.h"
#include "engine/glm.h"

#define MODEL_PATH "models/tiny-chatglm3"
#define MAX_TICKETS 256

/* What came back for one ticket. */
typedef struct answer
{
	char	  text[16384];
	size_t	  length;
	int		  tokens; /* TOKEN events */
	uint64_t  digest; /* of their ids and log probabilities, and of what was told beside them */
	uint8_t	  told[65536]; /* glm_told, one after the other */
	size_t	  told_length;
	bool	  ended;
	int		  order;		 /* how many had ended before it */
	int		  tokens_before; /* TOKEN events of all tickets that came before its end */
	glm_event last;			 /* the terminal event's header */
	char	  message[512];
} answer;

extern answer answers[MAX_TICKETS];

/* An engine with max_queue 128 and no answers yet. */
extern glm_engine *open_engine(int threads, int max_sequences, size_t kv_bytes);
extern glm_engine *open_engine_with(int threads, int max_sequences, size_t kv_bytes,
									glm_kv_type kv_type);

/* On the device of a backend that is not built in. */
extern glm_engine *open_engine_on(const glm_backend *backend, int threads, int max_sequences,
								  size_t kv_bytes, glm_kv_type kv_type);

/* A chat request on the embedded model with greedy sampling. */
extern glm_request *make_request(const char *prompt, int max_tokens, bool stream);

/* A request for these tokens; the text is not looked at. */
extern glm_request *make_for_tokens(glm_kind kind, const int32_t *tokens, int n);

/* Gives a request a stop string of at most 32 bytes. */
extern void set_stop(glm_request *req, const char *stop);

/* Makes a request one whose answer is constrained; it may move. */
extern glm_request *constrain(glm_request *req, glm_constraint_kind kind, const char *text);

/* Gives a request biases; it may move. */
extern glm_request *set_bias(glm_request *req, const glm_bias *bias, size_t n);

/* Submits a request and frees it. */
extern int submit(glm_engine *engine, glm_request *req);

/* Takes events until nothing came for `quiet_ms`. */
extern void pump(glm_engine *engine, int quiet_ms);

/* Takes events until the ticket's terminal one; fails after minutes. */
extern answer *wait_for(glm_engine *engine, int ticket);

/*
 * Holds the engine: it takes the step it is in, or one with the first that comes, and none
 * more until glm_engine_set_step_delay() is called again.  Meanwhile it admits what is
 * submitted, so that any number of requests have come before the first of them gets on.
 */
extern void hold(glm_engine *engine);

/* Waits until the engine thread has so many sequences, running or waiting. */
extern void wait_arrived(glm_engine *engine, int n);

/* Waits until so many run. */
extern void wait_running(glm_engine *engine, int n);

/* Reads a stream to its end, taking what it gets; its text. */
extern const char *read_stream(glm_engine *engine, int ticket);

extern glm_stats stats_of(glm_engine *engine);

#endif /* CLIENT_H */
