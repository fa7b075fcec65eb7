/* SPDX-License-Identifier: MIT */
/* Pseudo-random numbers: a counter, and a mixing function over it.  See model_random.h. */
#include "model_random.h"

/* Odd, and with no pattern in its bits: the golden ratio. */
#define STRIDE UINT64_C(0x9e3779b97f4a7c15)

/* Every bit of @x changes half of the bits of the result. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 32)) * UINT64_C(0xd6e8feb86659fd93);
	x = (x ^ (x >> 32)) * UINT64_C(0xd6e8feb86659fd93);
	return x ^ (x >> 32);
}

uint64_t random_hash(uint64_t a, uint64_t b, uint64_t c)
{
	return mix(mix(mix(a + STRIDE) + b + STRIDE) + c + STRIDE);
}

void random_start(struct random *random, uint64_t seed, uint64_t step)
{
	random->state = random_hash(seed, step, 0);
}

uint64_t random_next(struct random *random)
{
	random->state += STRIDE;
	return mix(random->state);
}

size_t random_below(struct random *random, size_t n)
{
	return (size_t)(random_next(random) % n);
}
