/* SPDX-License-Identifier: MIT */
/* What is about to be freed.  See leaving.h. */
#include "leaving.h"

#include <string.h>

#define PLACES (LEAVING_SECONDS + 1)

static void add(struct leaving_amount *to, const struct leaving_amount *amount)
{
	to->memory += amount->memory;
	to->share += amount->share;
	to->inodes += amount->inodes;
}

static void subtract(struct leaving_amount *from, const struct leaving_amount *amount)
{
	from->memory -= amount->memory;
	from->share -= amount->share;
	from->inodes -= amount->inodes;
}

bool leaving_add(struct leaving *leaving, uint32_t second, const struct leaving_amount *amount,
		 const struct leaving_limit *limit)
{
	uint64_t bytes = leaving->all.memory + leaving->all.share + amount->memory + amount->share;

	if (bytes > limit->bytes || leaving->all.inodes + amount->inodes > limit->inodes)
		return false;
	leaving->places[second % PLACES].second = second;
	add(&leaving->places[second % PLACES].amount, amount);
	add(&leaving->all, amount);
	return true;
}

bool leaving_remove(struct leaving *leaving, uint32_t second, const struct leaving_amount *amount)
{
	struct leaving_amount *place = &leaving->places[second % PLACES].amount;

	if (leaving->places[second % PLACES].second != second || place->inodes == 0)
		return false;
	subtract(place, amount);
	subtract(&leaving->all, amount);
	return true;
}

void leaving_expire(struct leaving *leaving, uint32_t now, struct leaving_amount *back)
{
	unsigned i;

	memset(back, 0, sizeof(*back));
	for (i = 0; i < PLACES; i++) {
		if (now - leaving->places[i].second <= LEAVING_SECONDS)
			continue;
		add(back, &leaving->places[i].amount);
		subtract(&leaving->all, &leaving->places[i].amount);
		memset(&leaving->places[i], 0, sizeof(leaving->places[i]));
	}
}
