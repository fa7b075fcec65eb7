/* SPDX-License-Identifier: MIT */
/* Compares the names in one directory, see model_look.h.  The order is each file system's own. */
#include "model_look.h"
#include "model_report.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* All at once, or in many calls: room for the longest name is what both need. */
#define MUCH_ROOM 8192
#define LITTLE_ROOM 320

static int by_name(const void *x, const void *y)
{
	return strcmp(((const struct listed *)x)->name, ((const struct listed *)y)->name);
}

static void add_item(const struct model *model, const struct node *dir, const struct dirent64 *entry,
		     struct listing *listing)
{
	struct listed *item = &listing->items[listing->n];

	if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
		return;
	if (listing->n++ == LISTING_MAX)
		differ(model, "%s: there is no end to its names", node_name(dir));
	*item = (struct listed){.ino = entry->d_ino, .type = entry->d_type};
	memcpy(item->name, entry->d_name, strlen(entry->d_name) + 1);
}

static void read_listing(const struct model *model, const struct node *dir, enum side side, int fd,
			 struct listing *listing)
{
	static char buf[MUCH_ROOM] __attribute__((aligned(8)));
	const size_t room = model->tree.look % 4 ? MUCH_ROOM : LITTLE_ROOM;
	const struct dirent64 *entry;
	long got, at;

	if (lseek(fd, 0, SEEK_SET) != 0)
		differ(model, "%s: cannot be rewound on %c: %s", node_name(dir), "AB"[side], strerror(errno));
	listing->n = 0;
	do {
		got = syscall(SYS_getdents64, fd, buf, room);
		for (at = 0; at < got; at += entry->d_reclen) {
			entry = (const struct dirent64 *)(const void *)(buf + at);
			add_item(model, dir, entry, listing);
		}
		/* The kernel's own ends where it could have given more. */
	} while (got > 0 && (side == A || (size_t)got > room - LITTLE_ROOM));
	listing->err = got < 0 ? errno : 0;
	qsort(listing->items, listing->n, sizeof(listing->items[0]), by_name);
}

static _Noreturn void differ_at(const struct model *model, const struct node *dir, const char *name, enum side side)
{
	differ(model, "%s: the name %s is listed on %c alone (or twice there)", node_name(dir), name, "AB"[side]);
}

void compare_listings(const struct model *model, const struct node *dir, const int fd[SIDES],
		      struct listing listing[SIDES])
{
	const struct listed *on_a = listing[A].items, *on_b = listing[B].items;
	size_t i;
	int order;

	read_listing(model, dir, A, fd[A], &listing[A]);
	read_listing(model, dir, B, fd[B], &listing[B]);
	if (listing[A].err != listing[B].err)
		differ(model, "%s: listing it on A: %s, on B: %s", node_name(dir), strerror(listing[A].err),
		       strerror(listing[B].err));
	for (i = 0; i < listing[A].n && i < listing[B].n; i++) {
		order = strcmp(on_a[i].name, on_b[i].name);
		if (order != 0)
			differ_at(model, dir, order < 0 ? on_a[i].name : on_b[i].name, order < 0 ? A : B);
	}
	if (i < listing[A].n)
		differ_at(model, dir, on_a[i].name, A);
	if (i < listing[B].n)
		differ_at(model, dir, on_b[i].name, B);
}
