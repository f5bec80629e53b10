/*
 * json_machine.h - a reader of JSON that validates while it reads.
 *
 * There is one deterministic reader, and beside it all subschemas that apply to the value
 * being read: a *set* of nodes.  Each has a status of its own, by its own keywords; what the
 * combinators make of them is evaluated in Kleene's logic.  A byte may come unless it makes
 * a root of the document fail.  Where a value ends every status is exact, so that an end
 * that is accepted is a validated value.
 *
 * Open containers are *frames*, which never change: a step makes copies, and the states of
 * the reader are values.  Frames lie in the arena of a walk, everything else in the
 * machine's.
 *
 * A status may be wrong on the way where that only delays a refusal, never at the end.  What
 * cannot be told exactly is not guessed: the byte is refused.  (To call it failing would not
 * do, as `not` turns that round.)
 */
#ifndef GLM_JSON_MACHINE_H
#define GLM_JSON_MACHINE_H

#include "engine/constrain/intern.h"
#include "engine/constrain/machine.h"
#include "engine/constrain/mask_walk.h"
#include "engine/constrain/schema.h"

#define GLM_SET_MEMBERS 4096 /* subschemas that apply to one value */
#define GLM_JSON_DEPTH 256	 /* containers in containers of an answer */
#define GLM_JSON_SPACES 20	 /* bytes of white space at a place */
#define GLM_READER_BUCKETS 1024
#define GLM_READER_BEEN 4096
#define GLM_N_KINDS 7

/* What is known of a subschema and the value being read: `and` is the least, `or` the greatest. */
typedef uint8_t glm_truth;
enum
{
	GLM_FAILS,
	GLM_OPEN,
	GLM_HOLDS
};

/* ---- Sets: the subschemas of one value ------------------------------------------------------- */

typedef struct glm_set			glm_set;
typedef struct glm_lexical		glm_lexical;
typedef struct glm_child		glm_child;
typedef struct glm_frame		glm_frame;
typedef struct glm_key_info		glm_key_info;
typedef struct glm_recollection glm_recollection;

/*
 * A node in a set, with its links to other members by their numbers; those it depends on
 * have higher ones.  The lists are as long as the node says.
 */
typedef struct glm_set_member
{
	const glm_node *node;
	bool			plain;	/* no combinators: its own status is its value */
	bool			needed; /* the set's only root fails if it does */
	int			   *all, *any, *one, *any_value, *dependent;
	int				not_, if_, then_, else_; /* -1: none */
	int				names;			 /* of property_names among the roots of set->names; -1: none */
	int				first_component; /* among those of the set */
	int				first_pattern;
	glm_name	   *number_text; /* [n_numbers] as they are written; NULL: not needed yet */

	/* numbers of known names */
	int	 *property, *required, *dependent_name, *dependency;
	int **needs; /* [n_dependencies][n_needed] */

	uint64_t *requires; /* bits of the names required; NULL: none is */
} glm_set_member;

/* A member that has a name among its properties, and as which of them. */
typedef struct glm_listing
{
	int member, index;
} glm_listing;

typedef struct glm_known_name
{
	glm_name	 name;
	glm_listing *listed;
	int			 n_listed;
} glm_known_name;

/* A place in the trie of known names; the root is 0. */
typedef struct glm_branch
{
	int		first, end;		/* those of `sorted` that begin so */
	int		child, sibling; /* 0: none */
	int		name;			/* that ends here; -1: none */
	uint8_t byte;
} glm_branch;

typedef struct glm_set_pattern
{
	const glm_pattern_property *pattern;
	int							first; /* of its components among pattern_component */
} glm_set_pattern;

/* Statuses before the first byte of a value, by its kind. */
typedef struct glm_start
{
	glm_truth *own;	  /* [n_members] */
	glm_truth *root;  /* [n_roots] */
	bool	   fails; /* one of the roots does */
} glm_start;

struct glm_set
{
	glm_set			*chain;
	int				 id;
	int				 n_roots;
	const glm_node **root_node; /* [n_roots], what it is known by */
	int				*root;		/* [n_roots], members */
	int				 n_members;
	glm_set_member	*member;
	glm_start		*start[GLM_N_KINDS]; /* NULL: not needed yet */

	bool combined; /* some member is not plain */
	bool unique;   /* some member has uniqueItems, */
	bool contains; /* or contains */
	bool lengths;  /* or maxLength */
	int	 counted;  /* items or properties up to which their number matters */

	/* strings */
	glm_component *component;
	int			  *component_of; /* members */
	int			   n_components;
	int			   within; /* code points that any string is away from an end at most, by the automata; -1: some fail */
	glm_lexical	  *string; /* before the first byte; NULL: not needed yet */

	/* keys; none of it is there before glm_set_open_names() */
	bool			 named;
	glm_known_name	*name;
	int				 n_names;
	int				*sorted; /* [n_names] by bytes */
	glm_branch		*branch;
	glm_set_pattern *pattern;
	int				 n_patterns;
	glm_component	*pattern_component;
	int				 n_pattern_components;
	int8_t			*name_fits; /* [n_names][n_patterns]; -1: not tried yet */
	glm_set			*names;		/* of property_names; NULL: none */
	glm_lexical		*key;		/* before the first byte */
};

/*
 * A state of all automata that a string or key of a set runs through: interned, so that two
 * are the same if they are at the same address.
 */
struct glm_lexical
{
	glm_lexical	 *chain;
	glm_set		 *set;
	uint64_t	  hash;
	bool		  is_key;
	int			  branch; /* keys: in the trie of names; -1: no known name begins so */
	int			 *state;  /* of each component */
	glm_lexical **next;	  /* [256], what is NULL was not needed yet; NULL: none was */

	/* strings: statuses by the automata alone, not by lengths */
	glm_truth *own, *root;
	bool	   fails;	 /* one of the roots does */
	int		   distance; /* code points that have to come, for needed members */
	int		   wanted;	 /* the same for all members: a hint for searches */
	int		   nearest;	 /* json_spell.c: an ASCII byte that leads nearer; 0: not known, -1: none */

	/* whether it may stand in a frame, for the last signature it was asked with; 0: none */
	uint64_t asked;
	bool	 viable;

	/* json_mask.c's own: plain tokens by the automata alone, for the last occasion that was asked for */
	uint64_t *mask;
	uint64_t  mask_asked;
	int		  mask_reach; /* code points that no such token needs more than, to an end behind it */
	int		  mask_distance; /* and of them those behind it */
	uint32_t  loops;		 /* classes of bytes that lead back to it; 0: not known */
	int		  visits;
};

/* ---- Frames: the open containers --------------------------------------------------------------- */

/* A root of a child's set applies to its value because of a member of the frame around it. */
typedef struct glm_link
{
	int member, root;
	int contains; /* 1: counted there; 0: the member fails if the root does */
} glm_link;

/* The set of a value in a container, and what it means for the container; interned. */
struct glm_child
{
	glm_child *chain;
	int		   id;
	uint64_t   hash;
	glm_set	  *set;
	glm_link  *link;
	int		   n_links;
};

/* Hashes of items, or of keys that are no known names. */
typedef struct glm_hashes
{
	const struct glm_hashes *next;
	uint64_t				 hash;
} glm_hashes;

struct glm_frame
{
	glm_frame		*up;	/* the container around it; of the root one without a set */
	const glm_child *child; /* what it is there */
	glm_set			*set;
	glm_truth		*own;	  /* [n_members] */
	const glm_truth *root;	  /* [n_roots] */
	uint64_t		*seen;	  /* objects: bits of known names that were there */
	int				*matched; /* [n_members], where the set has contains: items that matched */
	int *latest; /* [n_members], strict order: the last of its properties seen, -1: none */
	const glm_hashes *hashes;
	uint64_t		  signature; /* of all that what may come in it depends on; 0: not made yet */
	uint64_t		  whole;	 /* and behind it, keys that were there included; likewise */
	uint64_t		  hash;		 /* of the items or members so far, if `hashed` */
	uint64_t		  key_hash;	 /* of the key whose value is being read */
	int				  count;	 /* of items or members begun */
	int				  position;	 /* strict order: no known name before this may come any more */
	int				  depth;
	glm_kinds		  kind;
	bool			  hashed; /* uniqueItems here or around it needs hashes of values */
	uint8_t vital; /* does any root that fails end everything?  0: not known, 1: no, 2: yes */
};

/* Which keys may come next in a frame. */
struct glm_key_info
{
	uint64_t  signature; /* 0: not filled in */
	uint64_t *name;		 /* bits of known names */
	int		  words;
	bool	  other; /* a key that is no known name and fits no pattern */
	bool	  any;	 /* some key, as far as can be seen before its first byte */
};

/* ---- The machine and its states ------------------------------------------------------------- */

typedef struct glm_reader
{
	glm_machine		   machine;
	const glm_schema  *schema;
	glm_property_order order;
	glm_json_space	   space;
	glm_arena		  *walk; /* of the call that runs */
	const glm_child	  *document;
	glm_set			  *sets[GLM_READER_BUCKETS];
	glm_child		  *children[GLM_READER_BUCKETS];
	glm_lexical		  *lexicals[GLM_READER_BUCKETS];
	glm_key_info	  *key_infos[GLM_READER_BUCKETS]; /* the last for each remainder */
	glm_recollection  *kept;						  /* json_recall.c; NULL: not needed yet */
	int				   n_sets, n_children;
	uint64_t *been; /* [GLM_READER_BEEN] json_complete.c: outlooks it had; NULL: not needed yet */
	uint64_t  searches;
	int		 *number; /* [schema->n_nodes], for what is being built, where `mark` is its own */
	int		 *mark;
	int		  marks;
} glm_reader;

typedef enum glm_reader_mode
{
	GLM_READ_VALUE, /* a value has to come */
	GLM_READ_STRING,
	GLM_READ_NUMBER,
	GLM_READ_LITERAL,
	GLM_READ_FIRST_KEY, /* a key or } */
	GLM_READ_NEXT_KEY,	/* a key */
	GLM_READ_KEY,		/* the rest of one */
	GLM_READ_COLON,
	GLM_READ_FIRST_ITEM, /* an item or ] */
	GLM_READ_AFTER,		 /* a comma or the end of the container */
	GLM_READ_DONE
} glm_reader_mode;

typedef enum glm_number_part
{
	GLM_NUMBER_SIGN, /* after the minus */
	GLM_NUMBER_ZERO, /* after a 0 that nothing but a point or exponent can follow */
	GLM_NUMBER_WHOLE,
	GLM_NUMBER_POINT,
	GLM_NUMBER_FRACTION,
	GLM_NUMBER_E,
	GLM_NUMBER_E_SIGN,
	GLM_NUMBER_EXPONENT
} glm_number_part;

/* Where in an escape sequence of a string. */
typedef enum glm_escape
{
	GLM_ESCAPE_NONE,
	GLM_ESCAPE_BACKSLASH,
	GLM_ESCAPE_U, /* \u, then as many digits */
	GLM_ESCAPE_U0,
	GLM_ESCAPE_U00,
	GLM_ESCAPE_U00X
} glm_escape;

/* A state of the machine. */
typedef struct glm_reader_state
{
	glm_frame		*frame;		/* the innermost open container */
	const glm_child *child;		/* VALUE, STRING, NUMBER, LITERAL: the value */
	glm_lexical		*lexical;	/* STRING, KEY */
	glm_lexical		*name;		/* KEY: of frame->set->names as a string; NULL: any name */
	uint64_t		 hash;		/* STRING, KEY: of the bytes so far, decoded */
	int				 length;	/* of them in code points */
	int				 most;		/* code points that the string may have */
	uint8_t			 mode;		/* glm_reader_mode */
	uint8_t			 spaces;	/* bytes of white space at this place */
	uint8_t			 follow;	/* bytes that are missing to the character, */
	uint8_t			 low, high; /* of which the next has to be one of these */
	uint8_t			 escape;	/* glm_escape */
	uint8_t			 sixteen;	/* GLM_ESCAPE_U00X: the digit there */
	uint8_t			 letters;	/* LITERAL: read so far */
	uint8_t			 part;		/* NUMBER: glm_number_part */
	uint8_t			 digits;	/* NUMBER: bytes of it */
	glm_kinds		 kind;		/* LITERAL: which */
	char			 number[GLM_NUMBER_BYTES + 1];
} glm_reader_state;

/* ---- json_narrow.c --------------------------------------------------------------------------- */

extern void glm_reader_narrow(glm_reader *reader, const glm_reader_state *state, uint64_t may[4]);

/* ---- json_machine.c -------------------------------------------------------------------------- */

/* The machine of a schema, whose arena it grows in and whose lifetime it shares. */
extern glm_machine *glm_json_machine(glm_arena *arena, const glm_schema *schema,
									 glm_property_order order, glm_json_space space);

/* The index of a kind, 0 .. GLM_N_KINDS - 1. */
static inline int
glm_kind_index(glm_kinds kind)
{
	return __builtin_ctz((unsigned) kind);
}

/* Memory of a walk, of which trials are given back. */
#define GLM_WALK(reader, type, n) GLM_NEW((reader)->walk, type, n)

/* ---- json_set.c, json_names.c ------------------------------------------------------------------ */

/* The node itself, or what it refers to if it does nothing else. */
extern const glm_node *glm_node_target(const glm_node *node);
/* Does anything fit it? */
extern bool			   glm_node_is_any(const glm_node *node);
/* The set of these roots, targets all, of which none is there twice. */
extern glm_set		  *glm_set_get(glm_reader *reader, const glm_node *const *root, int n);
/* Makes what objects of the set need. */
extern void			   glm_set_open_names(glm_reader *reader, glm_set *set);
/* Does a known name fit a pattern of the set? */
extern bool			   glm_set_name_fits(glm_set *set, int name, int pattern);

static inline bool
glm_bit(const uint64_t *bits, int i)
{
	return bits[i >> 6] >> (i & 63) & 1;
}

static inline int
glm_name_words(const glm_set *set)
{
	return set->n_names / 64 + 1;
}

/* ---- json_status.c --------------------------------------------------------------------------- */

extern const glm_start *glm_set_start(glm_reader *reader, glm_set *set, glm_kinds kind);
/*
 * What the roots come to when the members are `own` by themselves.  `seen`: the names in an
 * object, NULL for other kinds; `ended`: there will be no others.
 */
extern void glm_set_roots(const glm_set *set, const glm_truth *own, const uint64_t *seen,
						  bool ended, glm_truth *root);
/* The members on which the value of an open root may still depend. */
extern void glm_set_relevant(const glm_set *set, const glm_truth *own, const uint64_t *seen,
							 bool *relevant);

/* ---- json_lexical.c -------------------------------------------------------------------------- */

extern glm_lexical *glm_set_string(glm_reader *reader, glm_set *set); /* before its first byte */
extern glm_lexical *glm_set_key(glm_reader *reader, glm_set *set);
extern glm_lexical *glm_lexical_next(glm_reader *reader, glm_lexical *lexical, uint8_t byte);
/* What the roots of its set come to if a string of this length ends here, exactly. */
extern void			glm_lexical_end(glm_reader *reader, const glm_lexical *lexical, int length,
									glm_truth *root);
/* Of a key: does it fit a pattern of the set?  Can it still?  Does whatever begins with it? */
extern bool			glm_lexical_fits(const glm_lexical *lexical, int pattern);
extern bool			glm_lexical_may_fit(const glm_lexical *lexical, int pattern);
extern bool			glm_lexical_will_fit(const glm_lexical *lexical, int pattern);

/* ---- json_frame.c ---------------------------------------------------------------------------- */

extern glm_frame *glm_frame_copy(glm_reader *reader, const glm_frame *frame);
/* Evaluates the roots of a frame just copied anew, and what follows around it.  NULL: the document fails. */
extern glm_frame *glm_frame_settle(glm_reader *reader, glm_frame *frame);
/*
 * The frame when a value in it comes to root[child->set->n_roots], so far or `ended`; itself
 * when that changes nothing.  NULL: the document fails.
 */
extern glm_frame *glm_frame_apply(glm_reader *reader, glm_frame *frame, const glm_child *child,
								  const glm_truth *root, bool ended);
/* The same, but only whether it is possible. */
extern bool		  glm_frame_bears(glm_reader *reader, glm_frame *frame, const glm_child *child,
								  const glm_truth *root);
extern uint64_t	  glm_frame_signature(glm_reader *reader, glm_frame *frame);
/* The same for how it may go on to the end of the document, but for hashes. */
extern uint64_t	  glm_frame_outlook(const glm_frame *frame);
/* And with those of keys; what was in arrays of uniqueItems is not in it. */
extern uint64_t	  glm_frame_whole(glm_frame *frame);
/* A new container as the child of a frame. */
extern glm_frame *glm_frame_open(glm_reader *reader, glm_frame *up, const glm_child *child,
								 glm_kinds kind);
/* The frame with one item more begun, and which child that is.  NULL: there can be none. */
extern glm_frame *glm_frame_item(glm_reader *reader, glm_frame *frame, const glm_child **child);
/* What the roots come to if the container ends here. */
extern void		  glm_frame_end(const glm_frame *frame, glm_truth *root);
/* The child of n links; link[i].root is an index into nodes, which may be there several times. */
extern const glm_child *glm_child_get(glm_reader *reader, glm_link *link, int n,
									  const glm_node *const *nodes);

/* A value of these roots ended; `hash` is of its contents, where the frame is `hashed`. */
extern bool glm_reader_finish(glm_reader *reader, glm_reader_state *state, glm_frame *frame,
							  const glm_child *child, const glm_truth *root, uint64_t hash);

/* ---- json_keys.c ----------------------------------------------------------------------------- */

extern const glm_key_info *glm_frame_keys(glm_reader *reader, glm_frame *frame);
/*
 * The frame with a key that was read: a known name, or (-1) another whose automata are at
 * `lexical` (NULL: it fits no pattern).  names: what the roots of set->names come to, NULL:
 * not asked.  *child (NULL: not wanted) is its value.  NULL: it cannot be.
 */
extern glm_frame		  *glm_frame_key(glm_reader *reader, glm_frame *frame, int name,
										 const glm_lexical *lexical, const glm_truth *names,
										 const glm_child **child);
/* May what was read of a key still become a known name, or another? */
extern bool glm_key_may_be_known(glm_reader *reader, glm_frame *frame, const glm_lexical *lexical);
extern bool glm_key_may_be_other(glm_reader *reader, glm_frame *frame, glm_lexical *lexical);
/* May the names of property_names, read so far with this length? */
extern bool glm_key_may_be_named(glm_reader *reader, glm_frame *frame, const glm_lexical *name,
								 int length);

/* ---- json_number.c, json_string.c, json_step.c ----------------------------------------------- */

/* All as glm_machine_kind's step: false, and the state is of no more use. */
extern bool glm_reader_start_number(glm_reader *reader, glm_reader_state *state, uint8_t byte);
extern bool glm_reader_number_byte(glm_reader *reader, glm_reader_state *state, uint8_t byte);
extern bool glm_reader_end_number(glm_reader *reader, glm_reader_state *state);
extern bool glm_reader_start_string(glm_reader *reader, glm_reader_state *state);
extern bool glm_reader_start_key(glm_reader *reader, glm_reader_state *state);
extern bool glm_reader_string_byte(glm_reader *reader, glm_reader_state *state, uint8_t byte);
/* May what was read of a string stand there? */
extern bool glm_reader_string_viable(glm_reader *reader, const glm_reader_state *state,
									 glm_lexical *lexical);
extern bool glm_reader_step(glm_reader *reader, glm_reader_state *state, uint8_t byte);
/* Is it the place of a blank that has to be there? */
extern bool glm_reader_blank_due(const glm_reader *reader, const glm_reader_state *state);
extern bool glm_reader_ends(glm_reader *reader, const glm_reader_state *state);

/* ---- json_complete.c, json_mask.c, json_recall.c ---------------------------------------------- */

/* As glm_machine_kind's complete. */
extern bool glm_reader_complete(glm_reader *reader, const glm_reader_state *state, long *steps,
								glm_buf *out);

/*
 * Allows the tokens of the trie of the rest, and if asked of the plain ones, that can be
 * written from a state by this walk, whose steps are glm_reader_step().
 */
extern void glm_reader_add_walked(glm_reader *reader, glm_mask_walk *walk,
								  const glm_vocabulary *vocabulary, const glm_reader_state *state,
								  bool plain, uint64_t *allowed);
/* As glm_machine_kind's mask and move. */
extern void glm_reader_mask(glm_reader *reader, const glm_reader_state *state,
							const glm_vocabulary *vocabulary, uint64_t *allowed);
extern void glm_reader_move(glm_reader *reader, glm_reader_state *state);

#endif /* GLM_JSON_MACHINE_H */
