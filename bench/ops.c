/* SPDX-License-Identifier: MIT */
/*
 * ops OPERATION DIRECTORY ENTRIES COUNT: what one operation costs in a directory.
 *
 * DIRECTORY holds ENTRIES empty files, made by the operation "fill" or "fill-nodes" and removed by "empty"; COUNT
 * of them, evenly spread, are worked on.  What an operation needs besides is made before and taken
 * away after the part that is timed.  In between ops says "ready" and waits for a line, so that
 * whoever measures can read counters, drop caches, or start two at once; then it says
 * "NANOSECONDS-PER-OPERATION OPERATIONS START END" (the clock is CLOCK_MONOTONIC) and waits again.
 *
 * The timed part is system calls only: names are made beforehand, and are relative.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NAME_LENGTH 11 /* of every name; reported with the memory that a file takes */
#define NAMES_MAX 10000000U
#define DATA_SIZE 4096

enum { STATUS_FAILED = 1, STATUS_USAGE = 2, STATUS_NOT_SUPPORTED = 3 };

typedef char name_t[NAME_LENGTH + 1];

struct bench {
	const char *directory;
	unsigned entries;
	unsigned count;
	name_t *known; /* files that are there throughout */
	name_t *made; /* what operations make */
	name_t *moved; /* second names */
};

/* One operation on the name number @i.  Returns 0 or -errno. */
typedef int step_fn(const struct bench *bench, unsigned i);

enum scope {
	CHOSEN, /* a step for each of the COUNT names */
	EVERY, /* a step for each of the ENTRIES */
	DIRECTORY, /* one step works on all of the directory, and counts as ENTRIES operations */
};

struct operation {
	const char *name;
	step_fn *prepare; /* once for each name before, or NULL */
	step_fn *step;
	step_fn *tidy; /* once for each name after, or NULL */
	enum scope scope;
	unsigned more_passes; /* over all names, where a single one would be too short to time */
};

static int result_of(int n)
{
	return n < 0 ? -errno : 0;
}

static int make_file(const char *name)
{
	int fd = open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);

	return fd < 0 ? -errno : result_of(close(fd));
}

static int step_fill(const struct bench *bench, unsigned i)
{
	return make_file(bench->known[i]);
}

/* As fill, with a request less for each of very many: nothing is opened. */
static int step_fill_nodes(const struct bench *bench, unsigned i)
{
	return result_of(mknod(bench->known[i], S_IFREG | 0644, 0));
}

static int step_empty(const struct bench *bench, unsigned i)
{
	return result_of(unlink(bench->known[i]));
}

static int step_create(const struct bench *bench, unsigned i)
{
	return make_file(bench->made[i]);
}

static int step_mknod(const struct bench *bench, unsigned i)
{
	return result_of(mknod(bench->made[i], S_IFREG | 0644, 0));
}

static int step_unlink(const struct bench *bench, unsigned i)
{
	return result_of(unlink(bench->made[i]));
}

static int step_mkdir(const struct bench *bench, unsigned i)
{
	return result_of(mkdir(bench->made[i], 0755));
}

static int step_rmdir(const struct bench *bench, unsigned i)
{
	return result_of(rmdir(bench->made[i]));
}

static int step_rename(const struct bench *bench, unsigned i)
{
	return result_of(rename(bench->made[i], bench->moved[i]));
}

static int step_link(const struct bench *bench, unsigned i)
{
	return result_of(link(bench->known[i], bench->moved[i]));
}

static int step_symlink(const struct bench *bench, unsigned i)
{
	return result_of(symlink(bench->known[i], bench->moved[i]));
}

static int step_unlink_moved(const struct bench *bench, unsigned i)
{
	return result_of(unlink(bench->moved[i]));
}

static int step_chmod(const struct bench *bench, unsigned i)
{
	return result_of(chmod(bench->known[i], 0640));
}

static int step_stat(const struct bench *bench, unsigned i)
{
	struct stat st;

	return result_of(stat(bench->known[i], &st));
}

static int step_missing(const struct bench *bench, unsigned i)
{
	struct stat st;

	if (!stat(bench->made[i], &st))
		return -EEXIST;
	return errno == ENOENT ? 0 : -errno;
}

static int lstat_all(DIR *dir, unsigned *n)
{
	struct dirent *entry;
	struct stat st;

	for (*n = 0; (errno = 0, entry = readdir(dir));) {
		/* Not everybody lists "." and "..". */
		if (entry->d_name[0] == '.')
			continue;
		(*n)++;
		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW))
			return -errno;
	}
	return -errno;
}

static int step_list(const struct bench *bench, unsigned i)
{
	DIR *dir = opendir(".");
	unsigned n;
	int err;

	(void)i;
	if (!dir)
		return -errno;
	err = lstat_all(dir, &n);
	closedir(dir);
	/* A file system that leaves some out must not look fast. */
	return err ? err : n == bench->entries ? 0 : -ENODATA;
}

/* How long it takes until a listing begins; one call, as large as the C library's. */
static int step_first(const struct bench *bench, unsigned i)
{
	char buffer[32768];
	int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ssize_t n;
	int err;

	(void)bench;
	(void)i;
	if (fd < 0)
		return -errno;
	n = getdents64(fd, buffer, sizeof(buffer));
	err = n < 0 ? -errno : n == 0 ? -ENODATA : 0;
	close(fd);
	return err;
}

static int step_write(const struct bench *bench, unsigned i)
{
	static const char data[DATA_SIZE];
	int fd = open(bench->made[i], O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
	ssize_t n;
	int err;

	if (fd < 0)
		return -errno;
	n = write(fd, data, sizeof(data));
	err = n < 0 ? -errno : n == sizeof(data) ? 0 : -EIO;
	if (close(fd) && !err)
		err = -errno;
	return err;
}

static int step_read(const struct bench *bench, unsigned i)
{
	char data[DATA_SIZE];
	int fd = open(bench->made[i], O_RDONLY | O_CLOEXEC);
	ssize_t n;
	int err;

	if (fd < 0)
		return -errno;
	n = read(fd, data, sizeof(data));
	err = n < 0 ? -errno : n == sizeof(data) ? 0 : -EIO;
	close(fd);
	return err;
}

static int step_write_and_read(const struct bench *bench, unsigned i)
{
	int err = step_write(bench, i);

	return err ? err : step_read(bench, i);
}

static const struct operation operations[] = {
	{"fill", .step = step_fill, .scope = EVERY},
	{"fill-nodes", .step = step_fill_nodes, .scope = EVERY},
	{"empty", .step = step_empty, .scope = EVERY},
	{"mkdir", .step = step_mkdir, .tidy = step_rmdir},
	{"create", .step = step_create, .tidy = step_unlink},
	{"mknod", .step = step_mknod, .tidy = step_unlink},
	{"rename", step_create, step_rename, .tidy = step_unlink_moved},
	{"link", .step = step_link, .tidy = step_unlink_moved},
	{"symlink", .step = step_symlink, .tidy = step_unlink_moved},
	{"unlink", step_create, step_unlink, .tidy = NULL},
	{"rmdir", step_mkdir, step_rmdir, .tidy = NULL},
	{"chmod", step_stat, step_chmod, .tidy = NULL},
	{"stat", step_stat, step_stat, .more_passes = 3},
	{"lookup", .step = step_stat},
	{"missing", step_missing, step_missing, .more_passes = 3},
	{"list", .step = step_list, .scope = DIRECTORY},
	{"list-again", step_list, step_list, .scope = DIRECTORY, .more_passes = 2},
	{"first", .step = step_first},
	{"read", step_write_and_read, step_read, .tidy = step_unlink},
	{"write", .step = step_write, .tidy = step_unlink},
};

static int complain(const char *what, int err)
{
	fprintf(stderr, "ops: %s: %s\n", what, strerror(-err));
	return err == -ENOSYS || err == -EOPNOTSUPP ? STATUS_NOT_SUPPORTED : STATUS_FAILED;
}

static const struct operation *find_operation(const char *name)
{
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		if (!strcmp(operations[i].name, name))
			return &operations[i];
	}
	return NULL;
}

static bool parse_count(const char *text, unsigned *count)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	*count = (unsigned)value;
	return !*end && value > 0 && value <= NAMES_MAX;
}

/* Names number 0 to @bench->count - 1, each @stride / @bench->count apart. */
static name_t *make_names(const struct bench *bench, const char *prefix, unsigned stride)
{
	name_t *names = calloc(bench->count, sizeof(*names));

	for (unsigned i = 0; names && i < bench->count; i++) {
		unsigned number = (unsigned)((uint64_t)i * stride / bench->count);

		snprintf(names[i], sizeof(names[i]), "%.4s%07u", prefix,
			 number % NAMES_MAX); /* the compiler counts digits */
	}
	return names;
}

static bool make_all_names(struct bench *bench)
{
	bench->known = make_names(bench, "file", bench->entries);
	bench->made = make_names(bench, "made", bench->count);
	bench->moved = make_names(bench, "move", bench->count);
	return bench->known && bench->made && bench->moved;
}

static void free_all_names(struct bench *bench)
{
	free(bench->known);
	free(bench->made);
	free(bench->moved);
}

/* Returns the exit status. */
static int for_each_name(const struct bench *bench, const struct operation *operation, step_fn *step)
{
	unsigned n = operation->scope == DIRECTORY ? 1 : bench->count;

	for (unsigned i = 0; step && i < n; i++) {
		int err = step(bench, i);

		if (err)
			return complain(operation->name, err);
	}
	return 0;
}

/* False if there will be no line: whoever measures is gone. */
static bool wait_for_line(void)
{
	int c;

	fflush(stdout);
	do
		c = getchar();
	while (c != '\n' && c != EOF);
	return c == '\n';
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Runs and reports the timed part.  Returns the exit status. */
static int measure(const struct bench *bench, const struct operation *operation)
{
	unsigned passes = 1 + operation->more_passes;
	uint64_t n = (uint64_t)passes * (operation->scope == DIRECTORY ? bench->entries : bench->count);
	uint64_t start = now_ns(), end;
	int status = 0;

	for (unsigned pass = 0; !status && pass < passes; pass++)
		status = for_each_name(bench, operation, operation->step);
	end = now_ns();
	if (!status)
		printf("%.1f %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", (double)(end - start) / (double)n, n, start, end);
	return status;
}

/* Returns the exit status. */
static int run(const struct bench *bench, const struct operation *operation)
{
	int status;

	if (chdir(bench->directory))
		return complain(bench->directory, -errno);
	status = for_each_name(bench, operation, operation->prepare);
	if (status)
		return status;
	/* While we wait, nothing of ours keeps the directory from being forgotten. */
	if (chdir("/"))
		return complain("/", -errno);
	puts("ready");
	if (!wait_for_line())
		return STATUS_FAILED;
	if (chdir(bench->directory))
		return complain(bench->directory, -errno);
	status = measure(bench, operation);
	if (status || !wait_for_line())
		return status;
	return for_each_name(bench, operation, operation->tidy);
}

int main(int argc, char **argv)
{
	const struct operation *operation = argc == 5 ? find_operation(argv[1]) : NULL;
	struct bench bench = {0};
	int status;

	if (!operation || !parse_count(argv[3], &bench.entries) || !parse_count(argv[4], &bench.count)) {
		fprintf(stderr, "usage: ops OPERATION DIRECTORY ENTRIES COUNT\n");
		return STATUS_USAGE;
	}
	bench.directory = argv[2];
	if (operation->scope == EVERY)
		bench.count = bench.entries;
	status = make_all_names(&bench) ? run(&bench, operation) : complain("names", -ENOMEM);
	free_all_names(&bench);
	return status;
}
