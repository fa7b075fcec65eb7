/* SPDX-License-Identifier: MIT */
/*
 * Compares the attributes of one node, see model_look.h.
 *
 * What each file system decides for itself is left out: device and inode numbers, sizes of
 * directories, and the access time, which a file system cannot keep for reads that the kernel
 * answers (what utimensat(2) sets is looked at by that operation).
 *
 * Times cannot be the same on both sides, but what became of them in a step can: a time that
 * B did not change must be what it was on A; one that B set to the time of the step must lie
 * within the step on A; any other that B has now must be the same on A.  The clock of stamps ticks
 * every few milliseconds, so that a second stamp within a tick may be no other than the first: in
 * that case alone, A may have it either way.
 *
 * Where the kernel collects writes (writeback cache), both it and A stamp some changes of a file (fallocate(2),
 * O_TRUNC), and A's stamp may be a tick off: that is seen when the kernel forgets its own.
 */
#include "model_look.h"
#include "model_report.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct timespec never;

/* How long a tick of the clock of stamps may be. */
#define TICK_NS 10000000

const char *node_name(const struct node *node)
{
	static char text[PATH_ROOM + 64];

	snprintf(text, sizeof(text), "node %u (%s%s)", node->serial,
		 node->serial == 1 ? "the root"
		 : node->path[0]   ? node->path
				   : "no name",
		 S_ISDIR(node->seen[B].st_mode) ? ", directory" : "");
	return text;
}

static void compare_number(const struct model *model, const struct node *node, const char *field, uint64_t on_a,
			   uint64_t on_b)
{
	if (on_a != on_b)
		differ(model, "%s: %s is %" PRIu64 " on A, %" PRIu64 " on B", node_name(node), field, on_a, on_b);
}

/* ------------------------------------------------------------------------ */
/* Times                                                                     */

static int compare_times(const struct timespec *x, const struct timespec *y)
{
	if (x->tv_sec != y->tv_sec)
		return x->tv_sec < y->tv_sec ? -1 : 1;
	return x->tv_nsec < y->tv_nsec ? -1 : x->tv_nsec > y->tv_nsec;
}

static bool is_same(const struct timespec *x, const struct timespec *y)
{
	return compare_times(x, y) == 0;
}

static bool is_within_tick(const struct timespec *x, const struct timespec *y)
{
	int64_t apart_ns = (x->tv_sec - y->tv_sec) * INT64_C(1000000000) + (x->tv_nsec - y->tv_nsec);

	return x->tv_sec - y->tv_sec <= 1 && y->tv_sec - x->tv_sec <= 1 && apart_ns <= TICK_NS && apart_ns >= -TICK_NS;
}

/* The end of the step is now, by the clock that no stamp is ahead of. */
static bool is_within_step(const struct model *model, const struct timespec *time)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return compare_times(&model->tree.before, time) <= 0 && compare_times(time, &now) <= 0;
}

/* One time of a node: now and as it was before the step, on both sides. */
struct stamp_pair {
	const char *field;
	const struct timespec *now[SIDES], *was[SIDES];
};

/* Returns what is wrong with A's, or NULL. */
static const char *check_stamp(const struct model *model, const struct stamp_pair *stamp)
{
	const bool a_is_new = is_within_step(model, stamp->now[A]);
	const bool a_was_kept = is_same(stamp->now[A], stamp->was[A]) ||
				(model->tree.was_evicted && is_within_tick(stamp->now[A], stamp->was[A]));

	if (!is_same(stamp->now[B], stamp->was[B])) {
		if (!is_within_step(model, stamp->now[B]))
			return is_same(stamp->now[A], stamp->now[B]) ? NULL : "is not what was set";
		return a_is_new ? NULL : "was changed on B and not on A";
	}
	/* B's was set in this tick: whether again, nobody can tell. */
	if (compare_times(stamp->was[B], &model->tree.before) >= 0)
		return a_was_kept || a_is_new ? NULL : "is neither what it was nor of this step on A";
	return a_was_kept ? NULL : "was changed on A and not on B";
}

static void compare_stamp(const struct model *model, const struct node *node, const struct stamp_pair *stamp)
{
	const char *wrong = check_stamp(model, stamp);

	if (!wrong)
		return;
	differ(model,
	       "%s: %s %s\n   A: %" PRId64 ".%09ld, before the step %" PRId64 ".%09ld"
	       "\n   B: %" PRId64 ".%09ld, before the step %" PRId64 ".%09ld\n   the step began at %" PRId64 ".%09ld",
	       node_name(node), stamp->field, wrong, (int64_t)stamp->now[A]->tv_sec, stamp->now[A]->tv_nsec,
	       (int64_t)stamp->was[A]->tv_sec, stamp->was[A]->tv_nsec, (int64_t)stamp->now[B]->tv_sec,
	       stamp->now[B]->tv_nsec, (int64_t)stamp->was[B]->tv_sec, stamp->was[B]->tv_nsec,
	       (int64_t)model->tree.before.tv_sec, model->tree.before.tv_nsec);
}

static void compare_stamps(const struct model *model, const struct node *node, const struct stat st[SIDES])
{
	const struct stamp_pair stamps[] = {
		{"mtime", {&st[A].st_mtim, &st[B].st_mtim}, {&node->seen[A].st_mtim, &node->seen[B].st_mtim}},
		{"ctime", {&st[A].st_ctim, &st[B].st_ctim}, {&node->seen[A].st_ctim, &node->seen[B].st_ctim}},
	};
	size_t i;

	for (i = 0; i < sizeof(stamps) / sizeof(stamps[0]); i++)
		compare_stamp(model, node, &stamps[i]);
	if (compare_times(&st[A].st_ctim, &node->seen[A].st_ctim) < 0 && !model->tree.was_evicted)
		differ(model, "%s: ctime runs backwards on A", node_name(node));
}

/* ------------------------------------------------------------------------ */
/* All of stat(2)                                                            */

bool attributes_changed(const struct node *node, const struct stat st[SIDES])
{
	enum side side;

	for (side = A; side < SIDES; side++) {
		if (!is_same(&st[side].st_ctim, &node->seen[side].st_ctim) ||
		    !is_same(&st[side].st_mtim, &node->seen[side].st_mtim) ||
		    st[side].st_nlink != node->seen[side].st_nlink || st[side].st_size != node->seen[side].st_size)
			return true;
	}
	return false;
}

void compare_attributes(const struct model *model, struct node *node, const struct stat st[SIDES])
{
	compare_number(model, node, "type", st[A].st_mode & S_IFMT, st[B].st_mode & S_IFMT);
	if ((st[A].st_mode ^ st[B].st_mode) & ~(mode_t)S_IFMT)
		differ(model, "%s: mode is %#o on A, %#o on B", node_name(node), st[A].st_mode, st[B].st_mode);
	compare_number(model, node, "uid", st[A].st_uid, st[B].st_uid);
	compare_number(model, node, "gid", st[A].st_gid, st[B].st_gid);
	compare_number(model, node, "nlink", st[A].st_nlink, st[B].st_nlink);
	compare_number(model, node, "rdev", st[A].st_rdev, st[B].st_rdev);
	if (!S_ISDIR(st[B].st_mode))
		compare_number(model, node, "size", (uint64_t)st[A].st_size, (uint64_t)st[B].st_size);
	if (model->settings.compares_blocks && S_ISREG(st[B].st_mode))
		compare_number(model, node, "having blocks", st[A].st_blocks != 0, st[B].st_blocks != 0);
	compare_stamps(model, node, st);
	memcpy(node->seen, st, sizeof(node->seen));
}

/* ------------------------------------------------------------------------ */
/* What A's daemon knows                                                     */

static struct timespec timespec_of(const struct statx_timestamp *time)
{
	return (struct timespec){.tv_sec = time->tv_sec, .tv_nsec = time->tv_nsec};
}

/* Nothing but the node's creation sets it. */
static void compare_birth(const struct model *model, struct node *node, const struct statx *told)
{
	const struct timespec born = timespec_of(&told->stx_btime);

	if (!(told->stx_mask & STATX_BTIME))
		return;
	if (is_same(&node->born, &never))
		node->born = born;
	if (!is_same(&node->born, &born))
		differ(model, "%s: its birth time on A has changed", node_name(node));
}

void compare_with_daemon(const struct model *model, struct node *node, int fd, const char *name, bool follows,
			 const struct stat *st)
{
	const int flags = (follows ? 0 : AT_SYMLINK_NOFOLLOW) | AT_NO_AUTOMOUNT | AT_STATX_FORCE_SYNC;
	struct timespec mtime, ctime;
	struct statx told;

	if (statx(fd, name, flags, STATX_BASIC_STATS | STATX_BTIME, &told) < 0)
		differ(model, "%s: A does not know it any more: %s", node_name(node), strerror(errno));
	mtime = timespec_of(&told.stx_mtime);
	ctime = timespec_of(&told.stx_ctime);
	if (told.stx_ino != st->st_ino || told.stx_mode != st->st_mode)
		differ(model, "%s: A itself says mode %#o, inode %" PRIu64 "; its kernel %#o, %" PRIu64,
		       node_name(node), told.stx_mode, (uint64_t)told.stx_ino, st->st_mode, (uint64_t)st->st_ino);
	if (told.stx_uid != st->st_uid || told.stx_gid != st->st_gid)
		differ(model, "%s: A itself says uid %u, gid %u; its kernel %u, %u", node_name(node), told.stx_uid,
		       told.stx_gid, st->st_uid, st->st_gid);
	if (told.stx_nlink != st->st_nlink || told.stx_size != (uint64_t)st->st_size)
		differ(model, "%s: A itself says nlink %u, size %" PRIu64 "; its kernel %u, %" PRIu64, node_name(node),
		       told.stx_nlink, (uint64_t)told.stx_size, (unsigned)st->st_nlink, (uint64_t)st->st_size);
	if (!is_same(&mtime, &st->st_mtim) || !is_same(&ctime, &st->st_ctim))
		differ(model, "%s: A itself says other times than its kernel", node_name(node));
	compare_birth(model, node, &told);
}
