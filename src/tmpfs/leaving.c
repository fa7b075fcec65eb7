/* SPDX-License-Identifier: MIT */
/* What is about to be freed.  See leaving.h. */
#include "leaving.h"

#include <string.h>

#define PLACES (LEAVING_SECONDS + 1)

bool leaving_add(struct leaving *leaving, uint32_t second, uint64_t bytes)
{
	struct leaving_amount *amount = &leaving->places[second % PLACES].amount;

	if (bytes > LEAVING_MAX - leaving->bytes)
		return false;
	leaving->places[second % PLACES].second = second;
	amount->bytes += bytes;
	amount->inodes++;
	leaving->bytes += bytes;
	return true;
}

bool leaving_remove(struct leaving *leaving, uint32_t second, uint64_t bytes)
{
	struct leaving_amount *amount = &leaving->places[second % PLACES].amount;

	if (leaving->places[second % PLACES].second != second || amount->inodes == 0)
		return false;
	amount->bytes -= bytes;
	amount->inodes--;
	leaving->bytes -= bytes;
	return true;
}

void leaving_expire(struct leaving *leaving, uint32_t now, struct leaving_amount *back)
{
	unsigned i;

	memset(back, 0, sizeof(*back));
	for (i = 0; i < PLACES; i++) {
		if (now - leaving->places[i].second <= LEAVING_SECONDS)
			continue;
		back->bytes += leaving->places[i].amount.bytes;
		back->inodes += leaving->places[i].amount.inodes;
		leaving->bytes -= leaving->places[i].amount.bytes;
		memset(&leaving->places[i], 0, sizeof(leaving->places[i]));
	}
}
