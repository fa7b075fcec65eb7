/* SPDX-License-Identifier: MIT */
/* Numbers in an array that grows. */
#ifndef PASSTHROUGHFS_NUMBER_LIST_H
#define PASSTHROUGHFS_NUMBER_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/** { 0 } is empty; the owner frees numbers. */
struct number_list {
	uint64_t *numbers;
	size_t n;
	size_t max;
};

/** Returns false without memory. */
static inline bool number_list_add(struct number_list *list, uint64_t number)
{
	if (list->n == list->max) {
		size_t max = list->max ? list->max * 2 : 64;
		uint64_t *grown = realloc(list->numbers, max * sizeof(*grown));

		if (!grown)
			return false;
		list->numbers = grown;
		list->max = max;
	}
	list->numbers[list->n++] = number;
	return true;
}

/** Whether both have the same numbers in the same order. */
static inline bool number_list_equals(const struct number_list *a, const struct number_list *b)
{
	return a->n == b->n && (!a->n || memcmp(a->numbers, b->numbers, a->n * sizeof(*a->numbers)) == 0);
}

#endif
