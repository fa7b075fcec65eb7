/* SPDX-License-Identifier: MIT */
/*
 * Kernel passthrough.  The kernel wants all overlapping opens of one inode to do their I/O
 * the same way: through the page cache, or all through one registered backing file;
 * anything else is EIO for the later one.  So the first open decides, and this table remembers
 * its decision, and the backing id that all share, until the last release.
 *
 * A release arrives after the kernel has let its open file go.  The table may
 * therefore think for a moment that an inode is still open; a new open then joins the old
 * decision, which is right too.
 *
 * Sharded by inode: the kernel is told of a backing file, which takes it a while, while nobody else may decide.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "call.h"
#include "caps.h"

struct io_mode {
	struct io_mode *next;
	uint64_t ino;
	uint64_t opens;
	int backing_id; /* 0: through the page cache */
	bool is_borrowed; /* the file system's own: not to be closed here */
};

enum { FIRST_BUCKETS = 16 };

void ll_io_modes_init(struct io_mode_table *table)
{
	for (size_t i = 0; i < ARRAY_SIZE(table->shards); i++)
		pthread_mutex_init(&table->shards[i].lock, NULL);
	pthread_mutex_init(&table->orphans_lock, NULL);
}

static void free_shard(struct io_mode_shard *shard)
{
	for (size_t i = 0; i < shard->n_buckets; i++)
		while (shard->buckets[i]) {
			struct io_mode *mode = shard->buckets[i];

			shard->buckets[i] = mode->next;
			free(mode);
		}
	free(shard->buckets);
	pthread_mutex_destroy(&shard->lock);
}

void ll_io_modes_done(struct io_mode_table *table)
{
	for (size_t i = 0; i < ARRAY_SIZE(table->shards); i++)
		free_shard(&table->shards[i]);
	free(table->orphans); /* the kernel closes them with the session */
	pthread_mutex_destroy(&table->orphans_lock);
}

/* Inode numbers may be pointers or counters: all their bits are to count. */
static uint64_t mix(uint64_t ino)
{
	return ino * UINT64_C(0x9E3779B97F4A7C15);
}

static struct io_mode_shard *shard_of(struct io_mode_table *table, uint64_t ino)
{
	return &table->shards[mix(ino) >> 60];
}

static struct io_mode **bucket_of(const struct io_mode_shard *shard, uint64_t ino)
{
	return &shard->buckets[(mix(ino) >> 28) & (shard->n_buckets - 1)];
}

static struct io_mode **find_locked(const struct io_mode_shard *shard, uint64_t ino)
{
	struct io_mode **mode;

	if (!shard->n_buckets)
		return NULL;
	mode = bucket_of(shard, ino);
	while (*mode && (*mode)->ino != ino)
		mode = &(*mode)->next;
	return *mode ? mode : NULL;
}

/* Keeps chains short.  Without memory for more buckets the old ones go on. */
static int grow_locked(struct io_mode_shard *shard)
{
	struct io_mode_shard larger = {.n_buckets = shard->n_buckets ? shard->n_buckets * 2 : FIRST_BUCKETS};

	if (shard->n_modes < shard->n_buckets)
		return 0;
	larger.buckets = calloc(larger.n_buckets, sizeof(struct io_mode *));
	if (!larger.buckets)
		return shard->n_buckets ? 0 : -ENOMEM;
	for (size_t i = 0; i < shard->n_buckets; i++)
		while (shard->buckets[i]) {
			struct io_mode *mode = shard->buckets[i];
			struct io_mode **to = bucket_of(&larger, mode->ino);

			shard->buckets[i] = mode->next;
			mode->next = *to;
			*to = mode;
		}
	free(shard->buckets);
	shard->buckets = larger.buckets;
	shard->n_buckets = larger.n_buckets;
	return 0;
}

static struct io_mode *add_locked(struct io_mode_shard *shard, uint64_t ino)
{
	struct io_mode **bucket, *mode;

	if (grow_locked(shard))
		return NULL;
	mode = calloc(1, sizeof(*mode));
	if (!mode)
		return NULL;
	mode->ino = ino;
	bucket = bucket_of(shard, ino);
	mode->next = *bucket;
	*bucket = mode;
	shard->n_modes++;
	return mode;
}

/* Puts CAP_FSETID out of effect.  Returns whether it was in effect; @before then is what was. */
static bool give_up_fsetid(struct caps *before)
{
	struct caps without;

	if (caps_get(before) < 0 || !caps_have(before, CAP_FSETID))
		return false;
	without = *before;
	caps_put(&without, CAP_FSETID, false);
	return caps_set(&without) == 0;
}

/* Returns the id or -errno. */
static int register_backing(fuse_req_t req, int backing_fd)
{
	/* The kernel will write with the credentials of now, also for who opens later to write: with this capability no
	 * write through the backing file would ever drop a setuid bit. */
	struct caps before;
	bool had_fsetid = give_up_fsetid(&before);
	int backing_id, err;

	ll_log_demote(true);
	errno = 0;
	backing_id = fuse_passthrough_open(req, backing_fd);
	err = errno ? -errno : -EIO;
	ll_log_demote(false);
	if (had_fsetid)
		(void)caps_set(&before); /* what was in effect may be so again */
	return backing_id > 0 ? backing_id : err;
}

/* libfuse closes a backing id by way of a request.  Where that is gone already, the id waits for
 * the next one; without memory to remember it, for the end of the session. */
static void close_backing(struct io_mode_table *table, fuse_req_t req, int backing_id)
{
	int *orphans;

	if (req) {
		(void)fuse_passthrough_close(req, backing_id); /* libfuse logs a failure */
		return;
	}
	pthread_mutex_lock(&table->orphans_lock);
	orphans = realloc(table->orphans, (table->n_orphans + 1) * sizeof(*orphans));
	if (orphans) {
		table->orphans = orphans;
		orphans[table->n_orphans++] = backing_id;
	}
	pthread_mutex_unlock(&table->orphans_lock);
}

static void close_orphans(struct io_mode_table *table, fuse_req_t req)
{
	if (!req || !table->n_orphans)
		return;
	pthread_mutex_lock(&table->orphans_lock);
	while (table->n_orphans)
		(void)fuse_passthrough_close(req, table->orphans[--table->n_orphans]);
	pthread_mutex_unlock(&table->orphans_lock);
}

/* The first open decides.  A file that the kernel will not take, such as one on a stacked file system, is served
 * through the page cache instead. */
static void decide_locked(struct io_mode *mode, fuse_req_t req, const struct llfuse_file *file)
{
	if (file->backing_id > 0) {
		mode->backing_id = file->backing_id;
		mode->is_borrowed = true;
	} else if (file->backing_fd >= 0) {
		int backing_id = register_backing(req, file->backing_fd);

		mode->backing_id = backing_id > 0 ? backing_id : 0;
	}
}

static bool is_passthrough_on(const struct llfuse_session *session)
{
	return atomic_load_explicit(&session->caps, memory_order_relaxed) & LLFUSE_CAP_PASSTHROUGH;
}

int ll_io_mode_open(struct llfuse_session *session, fuse_req_t req, uint64_t ino, const struct llfuse_file *file)
{
	struct io_mode_shard *shard = shard_of(&session->io_modes, ino);
	struct io_mode **found, *mode;
	int backing_id = 0;

	if (!is_passthrough_on(session))
		return 0;
	close_orphans(&session->io_modes, req);
	pthread_mutex_lock(&shard->lock);
	found = find_locked(shard, ino);
	mode = found ? *found : add_locked(shard, ino);
	if (mode) {
		if (!mode->opens)
			decide_locked(mode, req, file);
		mode->opens++;
		backing_id = mode->backing_id;
	}
	pthread_mutex_unlock(&shard->lock);
	return backing_id;
}

void ll_close_backings(struct llfuse_session *session, fuse_req_t req)
{
	close_orphans(&session->io_modes, req);
}

void ll_io_mode_release(struct llfuse_session *session, fuse_req_t req, uint64_t ino)
{
	struct io_mode_shard *shard = shard_of(&session->io_modes, ino);
	struct io_mode **found;
	int unused = 0;

	if (!is_passthrough_on(session))
		return;
	close_orphans(&session->io_modes, req);
	pthread_mutex_lock(&shard->lock);
	found = find_locked(shard, ino);
	if (found && --(*found)->opens == 0) {
		struct io_mode *mode = *found;

		if (!mode->is_borrowed)
			unused = mode->backing_id;
		*found = mode->next;
		shard->n_modes--;
		free(mode);
	}
	pthread_mutex_unlock(&shard->lock);
	if (unused)
		close_backing(&session->io_modes, req, unused);
}

int llfuse_backing_open(struct llfuse_request *req, int fd)
{
	const struct call *call = req->internal;

	if (!call || !is_passthrough_on(call->session))
		return -ENOSYS;
	return register_backing(call->fuse, fd);
}

void llfuse_backing_close(struct llfuse_session *session, int backing_id)
{
	close_backing(&session->io_modes, NULL, backing_id);
}

bool llfuse_file_passthrough(const struct llfuse_session *session, uint64_t ino)
{
	struct io_mode_shard *shard = shard_of((struct io_mode_table *)&session->io_modes, ino);
	struct io_mode **found;
	bool is_passthrough;

	pthread_mutex_lock(&shard->lock);
	found = find_locked(shard, ino);
	is_passthrough = found && (*found)->backing_id;
	pthread_mutex_unlock(&shard->lock);
	return is_passthrough;
}

static bool is_first_user_namespace(void)
{
	/* The kernel gives the first user namespace this fixed inode number (PROC_USER_INIT_INO). */
	const char first[] = "user:[4026531837]";
	const char *path = "/proc/self/ns/user";
	int dir_fd = ll_proc_at(&path);
	char link[64];
	ssize_t n = readlinkat(dir_fd, path, link, sizeof(link));

	return n == (ssize_t)sizeof(first) - 1 && !memcmp(link, first, sizeof(first) - 1);
}

/* The kernel offers passthrough to everyone and then refuses to register files without this
 * capability: Linux fs/fuse/backing.c. */
bool llfuse_passthrough_is_permitted(void)
{
	return caps_thread_has(CAP_SYS_ADMIN) && is_first_user_namespace();
}
