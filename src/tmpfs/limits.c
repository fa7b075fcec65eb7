/* SPDX-License-Identifier: MIT */
/* Limits as people write them.  See limits.h. */
#include "limits.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE UINT64_C(4096)
/* Where the machine does not say how much memory it has. */
#define RAM_FALLBACK (UINT64_C(2) << 30)

uint64_t limits_ram(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), page_size = sysconf(_SC_PAGESIZE);

	return pages > 0 && page_size > 0 ? (uint64_t)pages * (uint64_t)page_size : RAM_FALLBACK;
}

uint64_t limits_default_size(void)
{
	return limits_ram() / 2 / PAGE * PAGE;
}

uint64_t limits_default_inodes(void)
{
	return limits_ram() / 2 / PAGE;
}

/* The digits at the start of @text; @end is what follows. */
static bool parse_digits(const char *text, const char **end, uint64_t *number)
{
	char *after;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	*number = strtoull(text, &after, 10);
	*end = after;
	return errno == 0;
}

/* Multiplies by what the suffix says, which is all of @suffix. */
static bool apply_suffix(const char *suffix, uint64_t *number)
{
	const char letters[] = "kmgtpe";
	const char *letter;
	unsigned shift;

	if (suffix[0] == '\0')
		return true;
	letter = strchr(letters, tolower((unsigned char)suffix[0]));
	if (!letter || suffix[1] != '\0')
		return false;
	shift = 10 * (unsigned)(letter - letters + 1);
	if (*number > UINT64_MAX >> shift)
		return false;
	*number <<= shift;
	return true;
}

bool limits_parse_count(const char *text, uint64_t *count)
{
	uint64_t number;
	const char *end;

	if (!parse_digits(text, &end, &number) || !apply_suffix(end, &number))
		return false;
	*count = number == 0 ? LIMITS_NONE : number;
	return true;
}

bool limits_parse_size(const char *text, uint64_t ram, uint64_t *size)
{
	uint64_t number;
	const char *end;

	if (!parse_digits(text, &end, &number))
		return false;
	if (strcmp(end, "%") == 0) {
		if (number > UINT64_MAX / ram)
			return false;
		number = number * ram / 100;
	} else if (!apply_suffix(end, &number)) {
		return false;
	}
	/* The last of these would be no limit. */
	if (number > INT64_MAX)
		return false;
	*size = number == 0 ? LIMITS_NONE : (number + PAGE - 1) / PAGE * PAGE;
	return true;
}
