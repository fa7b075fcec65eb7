/* SPDX-License-Identifier: MIT */
/* Saving a copy of a tree in a file: it grows under a name of its own beside the one that it gets.  See saver.h. */
#include "saver_internal.h"

#include "path.h"
#include "thread.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* So much of a name is kept in that under which the copy grows. */
#define TEMP_NAME_KEPT (NAME_MAX - 17)

static int refuse(struct store_error *error, int err, const char *why)
{
	snprintf(error->text, sizeof(error->text), "%s", why);
	return err;
}

/* SQLite takes what it finds beside a database for a part of it. */
static int check_beside(const char *path, const char *suffix, struct store_error *error)
{
	char name[PATH_MAX + 16];
	struct stat st;

	snprintf(name, sizeof(name), "%s%s", path, suffix);
	if (lstat(name, &st) < 0 || st.st_size == 0)
		return 0;
	snprintf(error->text, sizeof(error->text), "is a database that is in use, or was not closed: its %s is there",
		 suffix);
	return -EBUSY;
}

/* The database that @path would be a part of, as SQLite takes it, must not be there: it would find the copy for its own, and
 * lose what it has written itself. */
static int check_part(const char *path, const char *suffix, struct store_error *error)
{
	size_t len = strlen(path), suffix_len = strlen(suffix);
	char whole[PATH_MAX];
	struct stat st;

	if (len <= suffix_len || strcmp(path + len - suffix_len, suffix) != 0)
		return 0;
	snprintf(whole, sizeof(whole), "%.*s", (int)(len - suffix_len), path); /* shorter than the path */
	if (lstat(whole, &st) < 0)
		return 0;
	snprintf(error->text, sizeof(error->text), "belongs to what is there without %s", suffix);
	return -EBUSY;
}

static int check_parts(const char *path, struct store_error *error)
{
	int err = check_part(path, "-wal", error);

	if (!err)
		err = check_part(path, "-shm", error);
	return err ? err : check_part(path, "-journal", error);
}

/* A database that some mount keeps is not to be pulled away from it.  Our own is not opened to see that: closing it would
 * take SQLite's locks away. */
static int check_in_use(const struct saver *saver, const char *path, const struct stat *st, struct store_error *error)
{
	int fd, err = 0;

	if ((saver->store && store_is_file(saver->store, st)) || (saver->source && store_is_file(saver->source, st)))
		return refuse(error, -EBUSY, "is the database of this mount");
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return errno == EACCES ? 0 : -errno; /* rename(2) decides */
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		err = refuse(error, -EBUSY, "is the database of a mount");
	close(fd);
	return err;
}

static int check_target(const struct saver *saver, const char *path, struct store_error *error)
{
	int err = check_parts(path, error); /* first: what is part of a database is not to be opened */
	struct stat st;

	if (err)
		return err;
	if (lstat(path, &st) == 0)
		err = S_ISREG(st.st_mode) ? check_in_use(saver, path, &st, error)
					  : refuse(error, -EEXIST, "is no regular file");
	else if (errno != ENOENT)
		err = -errno;
	if (!err)
		err = check_beside(path, "-wal", error);
	return err ? err : check_beside(path, "-journal", error);
}

/* A name that nobody has: store_open() makes the file, or says that there is one.  A long one is cut, for it to be no longer than
 * a name can be. */
static int temp_name(const char *path, char temp[PATH_MAX])
{
	const char *name = strrchr(path, '/') + 1; /* it is absolute */
	const size_t kept = (size_t)(name - path) + strnlen(name, TEMP_NAME_KEPT);
	uint64_t number;
	int n;

	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		return -EIO;
	n = snprintf(temp, PATH_MAX, "%.*s.%016" PRIx64, (int)kept, path, number);
	return n > 0 && n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static struct saver_copy *copy_locked(struct saver *saver, uint64_t number)
{
	return &saver->copies[number % SAVER_COPIES];
}

static struct saver_copy *last_copy_locked(struct saver *saver)
{
	return copy_locked(saver, saver->copy_number);
}

static int write_copy(struct saver *saver, struct capture *capture, const char *temp, struct store_error *error)
{
	struct store *store;
	int err, close_err;

	err = store_open(temp, STORE_SAVE, &store, error);
	if (err)
		return err;
	err = capture_write(capture, store, saver->source, NULL, &saver->progress);
	if (err)
		snprintf(error->text, sizeof(error->text), "%s", store_reason());
	close_err = store_close(store);
	return err ? err : close_err;
}

static int save(struct saver *saver, struct store_error *error)
{
	struct capture *capture;
	char temp[PATH_MAX];
	int err;

	err = check_target(saver, saver->path, error);
	if (!err)
		err = temp_name(saver->path, temp);
	if (err)
		return err;
	err = capture_take(saver->tree, CAPTURE_ALL, &capture);
	if (err)
		return err;
	pthread_mutex_lock(&saver->lock);
	last_copy_locked(saver)->stop_ns = capture_stop_ns(capture);
	pthread_mutex_unlock(&saver->lock);
	err = write_copy(saver, capture, temp, error);
	capture_end(capture, true);
	/* Somebody may have come meanwhile. */
	if (!err)
		err = check_target(saver, saver->path, error);
	if (!err && rename(temp, saver->path) < 0)
		err = -errno;
	if (!err) {
		err = path_sync_directory(saver->path);
		return err == -EINVAL ? 0 : err; /* some file systems cannot */
	}
	(void)unlink(temp); /* the reason is told already */
	return err;
}

static void add_progress(const struct saver *saver, struct saver_copy *copy)
{
	copy->done = atomic_load(&saver->progress.done);
	copy->total = atomic_load(&saver->progress.total);
}

static void end_locked(struct saver *saver, int err, const char *reason)
{
	struct saver_copy *copy = last_copy_locked(saver);

	copy->state = err ? SAVER_COPY_FAILED : SAVER_COPY_DONE;
	copy->err = err;
	snprintf(copy->reason, sizeof(copy->reason), "%.*s", (int)sizeof(copy->reason) - 1, reason);
	add_progress(saver, copy);
}

static void *run(void *arg)
{
	struct saver *saver = arg;
	struct store_error error = {0};
	int err = -EAGAIN, tries;

	for (tries = 0; err == -EAGAIN && tries < SAVER_TRIES; tries++)
		err = save(saver, &error);
	pthread_mutex_lock(&saver->lock);
	end_locked(saver, err, error.text);
	pthread_mutex_unlock(&saver->lock);
	return NULL;
}

int saver_begin_copy(struct saver *saver, const char *path, uint64_t *number)
{
	int err = 0;

	pthread_mutex_lock(&saver->lock);
	if (last_copy_locked(saver)->state == SAVER_COPY_RUNS || saver->is_stopping) {
		err = -EBUSY;
		goto unlock;
	}
	if (saver->has_copier)
		(void)pthread_join(saver->copier, NULL); /* it has ended */
	saver->has_copier = false;
	snprintf(saver->path, sizeof(saver->path), "%s", path);
	*number = ++saver->copy_number;
	*last_copy_locked(saver) = (struct saver_copy){.number = *number, .state = SAVER_COPY_RUNS};
	atomic_store(&saver->progress.done, 0);
	atomic_store(&saver->progress.total, 0);
	/* Everybody waits while the copy is taken. */
	err = thread_start(&saver->copier, run, saver);
	if (err)
		end_locked(saver, err, "");
	else
		saver->has_copier = true;
unlock:
	pthread_mutex_unlock(&saver->lock);
	return err;
}

int saver_look_at_copy(struct saver *saver, uint64_t number, struct saver_copy *copy)
{
	int err = 0;

	pthread_mutex_lock(&saver->lock);
	if (number == 0)
		number = saver->copy_number;
	if (number > saver->copy_number)
		err = -EINVAL;
	else if (saver->copy_number - number >= SAVER_COPIES)
		err = -ESTALE;
	else
		*copy = *copy_locked(saver, number);
	if (!err && copy->state == SAVER_COPY_RUNS)
		add_progress(saver, copy);
	pthread_mutex_unlock(&saver->lock);
	return err;
}

void saver_end_copy(struct saver *saver)
{
	bool has_copier;

	atomic_store(&saver->progress.gives_up, true);
	pthread_mutex_lock(&saver->lock);
	has_copier = saver->has_copier;
	saver->has_copier = false;
	pthread_mutex_unlock(&saver->lock);
	if (has_copier)
		(void)pthread_join(saver->copier, NULL);
}
