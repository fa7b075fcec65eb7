/* SPDX-License-Identifier: MIT */
/*
 * A keyed hash.  Without the key nobody can choose names that fall into one chain, nor guess the hash of what he made
 * up.  Knows only bytes.
 * Source: J.-P. Aumasson, D. J. Bernstein, SipHash: a fast short-input PRF (2012);
 * here with 1 round for each word and 3 at the end, as hash tables use it.
 */
#ifndef COMMON_SIPHASH_H
#define COMMON_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct siphash_key {
	uint64_t word[2];
};

uint64_t siphash13(const struct siphash_key *key, const void *bytes, size_t n);

#endif
