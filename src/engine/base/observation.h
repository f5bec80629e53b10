/*
 * observation.h - what an engine has done and what it holds, as its host sees it.
 */
#ifndef GLM_OBSERVATION_H
#define GLM_OBSERVATION_H

#include <stdbool.h>
#include <stdint.h>

/* Something that was chosen by measuring: "int4, 1 row", "4 tiles, ...". */
typedef struct glm_tuned
{
	char what[24];
	char how[72];
	bool dropped; /* it does not do what it should, and is not used any more */
} glm_tuned;

#define GLM_TUNED_MAX 10

/* A device with memory of its own, and what is on it. */
typedef struct glm_device_use
{
	int		 number; /* of its kind: 0 is the first, "cuda:0" */
	int		 models; /* that are on it, or in part */
	char	 name[96];
	uint64_t bytes;		 /* of memory */
	uint64_t bytes_free; /* for models, after the last of them came or went */
	uint64_t kv_bytes_total;
	uint64_t kv_bytes_used;
} glm_device_use;

#define GLM_DEVICES_SHOWN 16

typedef struct glm_stats
{
	uint64_t	   requests; /* submitted */
	uint64_t	   completed;
	uint64_t	   failed;
	uint64_t	   cancelled;
	uint64_t	   prompt_tokens; /* computed by prefill */
	uint64_t	   cached_tokens; /* of prompts, found in the prefix cache instead */
	uint64_t	   completion_tokens;
	uint64_t	   preemptions; /* sequences that gave their KV up, to compute it again */
	uint64_t	   steps;		/* forward passes */
	uint64_t	   step_ns;		/* time spent in them */
	uint64_t	   followed;	/* of them, behind which the next was put in order at once */
	int			   waiting;		/* requests admitted to no sequence yet */
	int			   running;		/* sequences being computed */
	int			   paused;		/* of those, waiting for their reader */
	uint64_t	   kv_bytes_total;
	uint64_t	   kv_bytes_used;	/* held by sequences */
	uint64_t	   kv_bytes_cached; /* held by nobody, kept for prompts that begin alike */
	uint64_t	   kv_evictions;	/* cached blocks that made way */
	uint64_t	   models_evicted;	/* idle models that made way for others on the device */
	int			   threads;
	char		   kernels[16];		/* the kernel table in use; "sm_90": a GPU's */
	char		   device[96];		/* that computes: "CPU", "NVIDIA H200" */
	bool		   fast;			/* not all of its results have the CPU's bits */
	char		   device_why[256]; /* why it is not the one that would come first; empty: it is */
	int			   n_devices;		/* with memory of their own */
	glm_device_use device_use[GLM_DEVICES_SHOWN];
	bool		   tuning;	/* is it chosen by measuring how weights are read? */
	int			   n_tuned; /* what was */
	glm_tuned	   tuned[GLM_TUNED_MAX];
	uint64_t	   tuning_ns; /* what the choosing has cost */
} glm_stats;

typedef struct glm_model_info
{
	char	 name[256];
	char	 path[1024];
	uint64_t number;		  /* among all models ever opened; the newest has the highest */
	char	 dtype[16];		  /* of the projections: "F16", "BF16", "F32", "INT4", "INT8" */
	char	 quantization[8]; /* "none", "int4", "int8" */
	int		 layers;
	int		 hidden;
	int		 vocab;			/* padded */
	int		 context;		/* tokens */
	int		 sequences;		/* using it now */
	int		 chunks_mapped; /* of its files, now */
	int		 chunks_total;
	uint64_t bytes_mapped;	 /* in these chunks */
	uint64_t bytes_resident; /* of them in memory; a second old, of huge models more */
	uint64_t size_bytes;	 /* of all weight files: what memory_limit counts */
	uint64_t requests;
	double	 load_ms;
	/* what its sequences came to since it was loaded */
	uint64_t prompt_tokens;	 /* of all prompts */
	uint64_t cached_tokens;	 /* of those, found in the prefix cache */
	uint64_t prefill_tokens; /* computed, again after a preemption too */
	uint64_t completion_tokens;
	uint64_t draft_tokens;	  /* of drafts, computed in advance */
	uint64_t accepted_tokens; /* of those, right */
	uint64_t preemptions;
	uint64_t kv_bytes_used; /* as in glm_stats, of this model */
	uint64_t kv_bytes_cached;
	uint64_t kv_evictions;
} glm_model_info;

/* How far the running GLM_QUANTIZE has come. */
typedef struct glm_progress
{
	uint64_t id;		   /* of the request; 0 = none is running */
	char	 source[64];   /* name of the model */
	char	 target[1024]; /* directory */
	char	 phase[16];	   /* "calibrating", "quantizing", "writing", "evaluating" */
	char	 tensor[128];
	uint64_t bytes_done; /* of the source's weights, each pass over them counted */
	uint64_t bytes_total;
	double	 elapsed_s;
	double	 seconds_left; /* as it has gone so far; negative = not known yet */
} glm_progress;

#endif /* GLM_OBSERVATION_H */
