/* SPDX-License-Identifier: MIT */
/*
 * Compares the bytes of one regular file, see model_look.h.
 *
 * A step writes only inside the windows, so that what lies between them is a hole on
 * both sides.  A whole file of some gigabytes cannot be read after each step: the windows are, and where
 * an offset of theirs would lead if its upper half were lost.
 */
#include "model_contents.h"

#include "model_look.h"
#include "model_report.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define KIB ((off_t)1 << 10)
#define MIB ((off_t)1 << 20)
#define GIB ((off_t)1 << 30)
/* At once: both sides' share of the processor's cache. */
#define PIECE ((size_t)64 << 10)

struct window {
	off_t from, to;
};

static const struct window windows[] = {
	{0, 160 * KIB},
	{MIB - 16 * KIB, MIB + 48 * KIB},
	{GIB - 16 * KIB, GIB + 48 * KIB}, /* 5 GiB without its upper half; nobody writes there */
	{4 * GIB - 16 * KIB, 4 * GIB + 48 * KIB},
	{5 * GIB - 16 * KIB, 5 * GIB + 48 * KIB},
};

size_t contents_room(off_t off)
{
	size_t i;

	for (i = 0; i < sizeof(windows) / sizeof(windows[0]); i++)
		if (off >= windows[i].from && off < windows[i].to)
			return (size_t)(windows[i].to - off);
	return 0;
}

static unsigned char piece[SIDES][PIECE] __attribute__((aligned(4096)));

static void read_piece(const struct model *model, const struct node *node, enum side side, int fd, off_t off, size_t n)
{
	size_t done = 0;
	ssize_t got;

	for (; done < n; done += (size_t)got) {
		got = pread(fd, piece[side] + done, n - done, off + (off_t)done);
		if (got <= 0)
			differ(model, "%s: reading %zu bytes at %" PRId64 " on %c: %s", node_name(node), n - done,
			       (int64_t)off + (int64_t)done, "AB"[side], got ? strerror(errno) : "end of file");
	}
}

static void compare_piece(const struct model *model, const struct node *node, off_t off, size_t n)
{
	size_t i;

	if (memcmp(piece[A], piece[B], n) == 0)
		return;
	for (i = 0; piece[A][i] == piece[B][i];)
		i++;
	differ(model, "%s: the byte at %" PRId64 " is %#x on A, %#x on B", node_name(node), (int64_t)off + (int64_t)i,
	       piece[A][i], piece[B][i]);
}

static void compare_window(const struct model *model, const struct node *node, const int fd[SIDES], off_t from,
			   off_t to)
{
	size_t n;

	for (; from < to; from += (off_t)n) {
		n = to - from < (off_t)PIECE ? (size_t)(to - from) : PIECE;
		read_piece(model, node, A, fd[A], from, n);
		read_piece(model, node, B, fd[B], from, n);
		compare_piece(model, node, from, n);
	}
}

/* A read at the end must say so on A, also where the kernel has not read ahead. */
static void compare_end(const struct model *model, const struct node *node, int fd, off_t size)
{
	unsigned char byte;
	ssize_t got = pread(fd, &byte, 1, size);

	if (got != 0)
		differ(model, "%s: reading at the end on A: %s", node_name(node), got < 0 ? strerror(errno) : "a byte");
}

void compare_contents(const struct model *model, const struct node *node, const int fd[SIDES], off_t size)
{
	size_t i;

	for (i = 0; i < sizeof(windows) / sizeof(windows[0]) && windows[i].from < size; i++)
		compare_window(model, node, fd, windows[i].from, windows[i].to < size ? windows[i].to : size);
	compare_end(model, node, fd[A], size);
}
