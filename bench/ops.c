/* SPDX-License-Identifier: MIT */
/*
 * ops OPERATION DIRECTORY ENTRIES COUNT [LIMIT-MS]: what one operation costs in a directory.
 *
 * DIRECTORY holds ENTRIES empty files, made by the operation "fill" or "fill-nodes" and removed by "empty"; COUNT
 * of them, evenly spread, are worked on, or as many as LIMIT-MS allow, as others than ours may be a
 * thousand times slower.  What an operation needs besides is made before (within the limit as well)
 * and taken away after the part that is timed.  In between ops says "ready" and waits for a line, so that
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
	uint64_t limit_ns; /* for the preparation and for the timed part; UINT64_MAX if there is none */
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
	step_fn *tidy; /* once after for each name that was worked on, or NULL */
	step_fn *undo; /* and for each that was only prepared */
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

/* Asks the file system, whatever the kernel remembers. */
static int step_getattr(const struct bench *bench, unsigned i)
{
	struct statx stx;

	(void)bench;
	(void)i;
	return result_of(statx(AT_FDCWD, ".", AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &stx));
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
	{"rename", step_create, step_rename, .tidy = step_unlink_moved, .undo = step_unlink},
	{"link", .step = step_link, .tidy = step_unlink_moved},
	{"symlink", .step = step_symlink, .tidy = step_unlink_moved},
	{"unlink", step_create, step_unlink, .undo = step_unlink},
	{"rmdir", step_mkdir, step_rmdir, .undo = step_rmdir},
	{"chmod", .prepare = step_stat, .step = step_chmod},
	{"getattr", .prepare = step_getattr, .step = step_getattr},
	{"stat", step_stat, step_stat, .more_passes = 15},
	{"lookup", .step = step_stat},
	{"missing", step_missing, step_missing, .more_passes = 15},
	{"list", .step = step_list, .scope = DIRECTORY},
	{"list-again", step_list, step_list, .scope = DIRECTORY, .more_passes = 2},
	{"first", .step = step_first},
	{"read", step_write_and_read, step_read, .tidy = step_unlink, .undo = step_unlink},
	{"read-again", step_write_and_read, step_read, .tidy = step_unlink, .undo = step_unlink, .more_passes = 3},
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

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Looks at the clock seldom, so that this costs nothing. */
static bool is_over(uint64_t start, uint64_t limit_ns, unsigned i)
{
	return i % 16 == 15 && now_ns() - start >= limit_ns;
}

/*
 * Works on the names from number @from to @to, for as long as @limit_ns allows; @to becomes the number of
 * the first one that was left out.  Returns the exit status.
 */
static int for_names(const struct bench *bench, const struct operation *operation, step_fn *step, unsigned from,
		     unsigned *to, uint64_t limit_ns)
{
	uint64_t start = now_ns();

	for (unsigned i = from; step && i < *to; i++) {
		int err = step(bench, i);

		if (err)
			return complain(operation->name, err);
		if (is_over(start, limit_ns, i))
			*to = i + 1;
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

/* The timed part on the first @prepared names; @done of them were worked on.  Returns the exit status. */
static int measure(const struct bench *bench, const struct operation *operation, unsigned prepared, unsigned *done)
{
	uint64_t start = now_ns(), n = 0, end;

	for (unsigned pass = 0; pass <= operation->more_passes; pass++) {
		uint64_t used = now_ns() - start;
		int status;

		if (pass && used >= bench->limit_ns)
			break;
		*done = prepared;
		status = for_names(bench, operation, operation->step, 0, done, bench->limit_ns - used);
		if (status)
			return status;
		n += operation->scope == DIRECTORY ? bench->entries : *done;
	}
	end = now_ns();
	printf("%.1f %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", (double)(end - start) / (double)n, n, start, end);
	return 0;
}

/* Returns the exit status. */
static int tidy(const struct bench *bench, const struct operation *operation, unsigned prepared, unsigned done)
{
	int status = for_names(bench, operation, operation->tidy, 0, &done, UINT64_MAX);

	return status ? status : for_names(bench, operation, operation->undo, done, &prepared, UINT64_MAX);
}

/* Returns the exit status. */
static int run(const struct bench *bench, const struct operation *operation)
{
	unsigned prepared = operation->scope == DIRECTORY ? 1 : bench->count, done;
	int status;

	if (chdir(bench->directory))
		return complain(bench->directory, -errno);
	status = for_names(bench, operation, operation->prepare, 0, &prepared, bench->limit_ns);
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
	status = measure(bench, operation, prepared, &done);
	if (status || !wait_for_line())
		return status;
	return tidy(bench, operation, prepared, done);
}

static bool parse_arguments(struct bench *bench, int argc, char **argv)
{
	unsigned limit_ms;

	if (argc < 5 || argc > 6 || !parse_count(argv[3], &bench->entries) || !parse_count(argv[4], &bench->count))
		return false;
	bench->directory = argv[2];
	bench->limit_ns = UINT64_MAX;
	if (argc == 6) {
		if (!parse_count(argv[5], &limit_ms))
			return false;
		bench->limit_ns = (uint64_t)limit_ms * 1000000;
	}
	return true;
}

int main(int argc, char **argv)
{
	const struct operation *operation = argc > 1 ? find_operation(argv[1]) : NULL;
	struct bench bench = {0};
	int status;

	if (!operation || !parse_arguments(&bench, argc, argv)) {
		fprintf(stderr, "usage: ops OPERATION DIRECTORY ENTRIES COUNT [LIMIT-MS]\n");
		return STATUS_USAGE;
	}
	if (operation->scope == EVERY)
		bench.count = bench.entries;
	status = make_all_names(&bench) ? run(&bench, operation) : complain("names", -ENOMEM);
	free_all_names(&bench);
	return status;
}
