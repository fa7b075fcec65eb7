/* SPDX-License-Identifier: MIT */
/*
 * Pseudo-random numbers for one step: they depend on the seed and the step's number, on nothing
 * else, so that a step draws the same whatever was drawn before it.
 */
#ifndef MODEL_RANDOM_H
#define MODEL_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct random {
	uint64_t state;
};

void random_start(struct random *random, uint64_t seed, uint64_t step);

uint64_t random_next(struct random *random);

/* Less than @n, which is not 0. */
size_t random_below(struct random *random, size_t n);

static inline bool random_one_in(struct random *random, size_t n)
{
	return random_below(random, n) == 0;
}

/* One element of an array. */
#define RANDOM_OF(random, array) ((array)[random_below((random), sizeof(array) / sizeof((array)[0]))])

/* Three numbers to one that looks like none of them. */
uint64_t random_hash(uint64_t a, uint64_t b, uint64_t c);

#endif
