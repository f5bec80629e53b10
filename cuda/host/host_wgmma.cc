/*
 * host_wgmma.cc - see host_wgmma.h.  A warp's part of a product is a meeting of its lanes; what
 * they leave in registers is read, and written, where it stands.
 */
#include "cuda/host/gpu_host.h"

#include <vector>

namespace gpu
{
namespace
{
enum
{
	MOST_WARPS = 32,
	LANES = 32,
	STEP = 32, /* bytes of a row that a product takes */
	POISON = (int) 0xfbfbfbfb
};

/* Registers as they were at a fence. */
struct fenced
{
	const void			 *at;
	std::vector<unsigned> was;
};

struct asked
{
	int			   *c;
	const unsigned *a;
	uint64_t		b;
	int				lane;
};

/* A product that is not waited for. */
struct product
{
	asked	 lane[LANES];
	unsigned a[LANES][4];
	int		 before[LANES][WGMMA_SUMS];
	bool	 behind; /* another one with the same sums */
	bool	 done;
	int		 commit; /* that it is part of */
};

struct warp
{
	std::vector<product>  open;
	std::vector<fenced>	  is_fenced[LANES];
	std::vector<uint64_t> history; /* descriptions, of all there were */
	int					  commits;
};

struct stored
{
	size_t	 at;
	unsigned word;
};

warp					   warps[MOST_WARPS];
std::vector<stored>		   not_shown[MOST_WARPS * LANES];
std::vector<unsigned char> shown; /* shared memory, as wgmma sees it */

warp *
my_warp()
{
	return &warps[thread_index() / LANES];
}

bool
was_fenced(const std::vector<fenced> &list, const void *at, size_t words)
{
	for (const fenced &f : list)
	{
		size_t first = (size_t) ((const char *) at - (const char *) f.at) / sizeof(unsigned);

		if (at >= f.at && first + words <= f.was.size())
			return memcmp(at, f.was.data() + first, words * sizeof(unsigned)) == 0;
	}
	return false;
}

/* Byte k of row n of a matrix of 64 rows: core matrices of 8 rows of 16 bytes. */
int
byte_of(uint64_t b, int n, int k)
{
	uint64_t start = (b & 0x3fff) << 4, leading = (b >> 16 & 0x3fff) << 4;
	uint64_t stride = (b >> 32 & 0x3fff) << 4;
	uint64_t at = start + (uint64_t) (k / 16) * leading + (uint64_t) (n / 8) * stride +
				  (uint64_t) (n % 8 * 16 + k % 16);

	if ((b & ~UINT64_C(0x3fff3fff3fff)) != 0)
		fault("a matrix with an offset or a swizzle, which is not known here");
	if (at >= shown.size())
		fault("a matrix that is not in shared memory");
	return (int8_t) shown[at];
}

void
compute(product *p)
{
	int8_t b[WGMMA_SUMS * 2][STEP];

	for (int n = 0; n < WGMMA_SUMS * 2; n++)
		for (int k = 0; k < STEP; k++)
			b[n][k] = (int8_t) byte_of(p->lane[0].b, n, k);
	for (int lane = 0; lane < LANES; lane++)
	{
		int *c = p->lane[lane].c, first = lane / 4 * 4;

		for (int i = 0; i < WGMMA_SUMS; i++)
		{
			const int8_t *column = b[i / 4 * 8 + lane % 4 * 2 + i % 2];
			int			  sum = 0;

			/* word w of the four lanes of a row has its columns 4 t to + 3 of each 16 */
			for (int k = 0; k < STEP; k++)
			{
				unsigned word = p->a[first + k % 16 / 4][k / 16 * 2 + i / 2 % 2];

				sum += (int) (uint8_t) (word >> k % 4 * 8) * column[k];
			}
			c[i] = (int) ((unsigned) (p->behind ? c[i] : p->before[lane][i]) + (unsigned) sum);
		}
	}
	p->done = true;
}

/* All lanes of the warp have asked. */
void
begin(const asked *lanes)
{
	warp   *w = my_warp();
	product p = {};

	p.commit = w->commits;
	for (const product &other : w->open)
		p.behind |= other.lane[0].c == lanes[0].c;
	for (int i = 0; i < LANES; i++)
	{
		const asked &l = lanes[i];

		if (l.b != lanes[0].b)
			fault("lanes of a warp describe different matrices");
		if (!was_fenced(w->is_fenced[i], l.a, 4) ||
			(!p.behind && !was_fenced(w->is_fenced[i], l.c, WGMMA_SUMS)))
			fault("a product of registers that were written behind the last fence");
		p.lane[i] = l;
		memcpy(p.a[i], l.a, sizeof(p.a[i]));
		memcpy(p.before[i], l.c, sizeof(p.before[i]));
	}
	if (chosen.early)
		compute(&p);
	for (int i = 0; !chosen.early && i < LANES; i++)
		for (int j = 0; j < WGMMA_SUMS; j++)
			lanes[i].c[j] = POISON;
	w->history.push_back(lanes[0].b);
	w->open.push_back(p);
}

/* Does a product whose sums and operands nobody has touched since. */
void
end(product *p)
{
	for (int i = 0; i < LANES; i++)
	{
		bool same = memcmp(p->a[i], p->lane[i].a, sizeof(p->a[i])) == 0;

		for (int j = 0; !p->behind && j < WGMMA_SUMS; j++)
			same &= p->lane[i].c[j] == POISON;
		if (!same)
			fault("registers of a product were written before it was waited for");
	}
	compute(p);
}
} /* namespace */

void
put_shown(void *to, unsigned word)
{
	memcpy(to, &word, sizeof(word));
	not_shown[thread_index()].push_back(
		stored{(size_t) ((unsigned char *) to - shared_memory()), word});
}

void
show()
{
	for (const stored &s : not_shown[thread_index()])
		memcpy(&shown[s.at], &s.word, sizeof(s.word));
	not_shown[thread_index()].clear();
}

void
wgmma_fence(const int *c, const unsigned *a, int words)
{
	std::vector<fenced> *list = &my_warp()->is_fenced[thread_index() % LANES];

	list->push_back(fenced{c, std::vector<unsigned>(c, c + WGMMA_SUMS)});
	list->push_back(fenced{a, std::vector<unsigned>(a, a + words)});
	collective<char>(0xffffffffu, (char) 0, [](const char *, char *) {});
}

void
wgmma(int *c, const unsigned *a, uint64_t b)
{
	collective<char>(0xffffffffu, asked{c, a, b, 0},
					 [](const asked *lanes, char *) { begin(lanes); });
}

void
wgmma_commit()
{
	collective<char>(0xffffffffu, (char) 0, [](const char *, char *) { my_warp()->commits++; });
}

void
wgmma_wait(int commits_left, const int *c)
{
	collective<char>(0xffffffffu, c,
					 [commits_left](const int *const *lanes, char *)
					 {
						 warp *w = my_warp();

						 while (!w->open.empty() && w->open[0].commit < w->commits - commits_left)
						 {
							 if (!w->open[0].done)
								 end(&w->open[0]);
							 w->open.erase(w->open.begin());
						 }
						 for (std::vector<fenced> &list : w->is_fenced)
							 list.clear();
						 for (const product &p : w->open)
							 if (p.lane[0].c == lanes[0])
								 fault("a wait that does not wait for its own sums");
					 });
}

void
wgmma_begin_block(size_t shared)
{
	shown.assign(shared, 0xfb);
	for (warp &w : warps)
		w = warp();
	for (std::vector<stored> &list : not_shown)
		list.clear();
}

const char *
wgmma_end_thread()
{
	return my_warp()->open.empty() ? NULL : "a product was not waited for";
}

const char *
wgmma_end_block()
{
	for (int i = 0; i < MOST_WARPS; i++)
		if (warps[i].history != warps[i / 4 * 4].history)
			return "the four warps of a product asked for different ones";
	return NULL;
}
} /* namespace gpu */
