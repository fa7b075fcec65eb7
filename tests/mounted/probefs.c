/* SPDX-License-Identifier: MIT */
/*
 * probefs: a file system for the tests of the library.  Each of its files exercises one feature; what happened
 * is asked, and what is to happen is ordered, through the file "control": write a command, wait with poll(2), read
 * the result, or ask for it as the extended attribute user.result.  Commands are carried out by a thread of their
 * own, as notifications must be.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/stat.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "llfuse.h"

enum {
	MAX_NODES = 200,
	MAX_LOCKS = 16,
	MAX_XATTRS = 8,
	N_MANY = 5000,
	N_BARE = 20,
	MAX_INO = 20000,
	LONGEST_NAME = 4095,
	PATTERN_BYTES = (1 << 20) + 12345,
	SHORT_BYTES = 300000, /* what is behind the descriptor of "short" */
	TORN_BYTES = 5 * 65536, /* what can be read of "torn" */
	COMMAND_BYTES = 4096,
};

/* The inode numbers of what the directories "many", "bare" and "long" hold; the table of nodes has those below. */
#define MANY_FIRST UINT64_C(10000)
#define BARE_FIRST UINT64_C(9000)
#define LONG_ONLY UINT64_C(8000)

enum kind {
	DIRECTORY, /* the root */
	MANY, /* a directory of N_MANY entries */
	BARE, /* a directory whose listing knows no attributes */
	LONG, /* a directory of one file, which has the longest name */
	LINK,
	CONTROL,
	HEAP, /* an ordinary file in memory */
	ROOM, /* the pattern, in one room */
	MEMORY, /* the pattern, as one segment */
	SEGMENTS, /* segments of node.chunk bytes, each second one zeros */
	DESCRIPTOR, /* the pattern, from a descriptor */
	SHORT, /* as DESCRIPTOR, but the file behind it is shorter than its attributes say */
	BROKEN, /* from a descriptor that cannot be read */
	TORN, /* from a descriptor that cannot be read beyond TORN_BYTES */
	PATCHED, /* as TORN, but its first page comes from memory */
	MIXED, /* memory, descriptor and zeros in turn */
	SLOW, /* each read takes 5 ms */
	ENDLESS, /* a read that ends when it is interrupted */
	WHOAMI, /* who reads it */
	BACKED, /* kernel passthrough, if --passthrough, to what the command "backing" names */
};

/* What is wrong with the entries that handlers answer with. */
enum wrong_entry {
	NOTHING_WRONG,
	NO_TYPE, /* in st_mode */
	OTHER_TYPE, /* of what is made */
	NO_INO, /* of what is made */
	NO_SHOWN_INO, /* which is not wrong: st_ino is left to the library */
};

struct xattr {
	char name[256];
	void *value;
	size_t size;
};

struct node {
	char name[64];
	enum kind kind;
	bool is_gone; /* its name was removed */
	size_t chunk;
	mode_t mode;
	char *bytes;
	size_t size;
	struct xattr xattrs[MAX_XATTRS];
};

struct lock {
	uint64_t ino; /* 0: free */
	uint64_t owner;
	bool is_flock;
	short type;
	off_t start, end;
	pid_t pid;
};

struct options {
	bool has_locks, has_no_open, is_kept_mounted, is_passthrough, is_writeback, stops_early, is_dont_mask;
	bool has_opendir, leaves, fails_to_leave, has_no_enosys;
	uint64_t max_write; /* 0: the library's */
};

static const struct llfuse_option option_table[] = {
	{"--locks", LLFUSE_OPTION_FLAG, offsetof(struct options, has_locks), NULL, "decide about locks"},
	{"--no-open", LLFUSE_OPTION_FLAG, offsetof(struct options, has_no_open), NULL, "no open handler"},
	{"--keep-mounted", LLFUSE_OPTION_FLAG, offsetof(struct options, is_kept_mounted), NULL, "close, not unmount"},
	{"--passthrough", LLFUSE_OPTION_FLAG, offsetof(struct options, is_passthrough), NULL, "kernel passthrough"},
	{"--writeback", LLFUSE_OPTION_FLAG, offsetof(struct options, is_writeback), NULL, "the writeback cache"},
	{"--stop-early", LLFUSE_OPTION_FLAG, offsetof(struct options, stops_early), NULL, "stop before the loop"},
	{"--dont-mask", LLFUSE_OPTION_FLAG, offsetof(struct options, is_dont_mask), NULL, "leave modes unmasked"},
	{"--opendir", LLFUSE_OPTION_FLAG, offsetof(struct options, has_opendir), NULL, "open directories"},
	{"--no-enosys", LLFUSE_OPTION_FLAG, offsetof(struct options, has_no_enosys), NULL, "ENOSYS is passing"},
	{"--leave", LLFUSE_OPTION_FLAG, offsetof(struct options, leaves), NULL, "go where the mount is out of reach"},
	{"--leave-in-vain", LLFUSE_OPTION_FLAG, offsetof(struct options, fails_to_leave), NULL, "the same, then fail"},
	{"--max-write", LLFUSE_OPTION_UINT, offsetof(struct options, max_write), "N", "ask for writes of N bytes"},
	{NULL, LLFUSE_OPTION_FLAG, 0, NULL, NULL},
};

static struct fs {
	struct options options;
	struct llfuse_session *session;
	const char *mountpoint;

	pthread_rwlock_t lock; /* guards the nodes, locks, backing and last_create */
	struct node nodes[MAX_NODES]; /* the first is the root; never moved, never used again */
	_Atomic size_t n_nodes;
	struct lock locks[MAX_LOCKS];
	char backing[1024];
	bool is_backing_path_only;
	char last_create[128];

	_Atomic int running, most_running;
	_Atomic int64_t held; /* lookups that the kernel has not given back */
	_Atomic int64_t held_of[MAX_INO];
	_Atomic uint64_t releases_set, releases_done;
	_Atomic uint64_t open_delay_ms; /* of "backed" */
	_Atomic int64_t backed_begun, backed_open;
	_Atomic bool has_open_flags; /* opens of "backed" set flags that mean nothing with a backing file */
	_Atomic int64_t opened, released; /* files and directories */
	_Atomic int wrong_op; /* the handler of this enum llfuse_op ... */
	_Atomic int wrong_result; /* ... returns this, if it is not 0 */
	_Atomic int lock_waiters;
	_Atomic int wrong_entry; /* enum wrong_entry */
	_Atomic uint64_t names_bytes; /* of what listxattr answers for "room" */

	uint8_t *pattern;
	int pattern_fd, short_fd, unreadable_fd;
	int memory_fd; /* our own memory, where */
	char *torn; /* a mapping that ends later than what is behind it */

	pthread_mutex_t control_lock; /* innermost */
	pthread_cond_t control_changed;
	char command[COMMAND_BYTES];
	char result[COMMAND_BYTES];
	bool is_ordered, is_done, is_ending;
	struct llfuse_poll *waiter;
} fs = {
	.lock = PTHREAD_RWLOCK_INITIALIZER,
	.control_lock = PTHREAD_MUTEX_INITIALIZER,
	.control_changed = PTHREAD_COND_INITIALIZER,
};

/* --- How many handlers run ------------------------------------------------------------------ */

struct running {
	char unused;
};

static struct running enter(void)
{
	int now = atomic_fetch_add(&fs.running, 1) + 1, most = atomic_load(&fs.most_running);

	while (now > most && !atomic_compare_exchange_weak(&fs.most_running, &most, now))
		;
	return (struct running){0};
}

static void leave(struct running *running)
{
	(void)running;
	atomic_fetch_sub(&fs.running, 1);
}

/* First in each handler. */
#define COUNT_RUNNING                                                                                                  \
	struct running running __attribute__((cleanup(leave))) = enter();                                              \
	(void)running

/* Second in the handlers that can be told to return what they must not. */
#define RETURN_WRONG(op)                                                                                               \
	do {                                                                                                           \
		if (atomic_load(&fs.wrong_op) == (op) && atomic_load(&fs.wrong_result))                                \
			return atomic_load(&fs.wrong_result);                                                          \
	} while (0)

static void sleep_ms(long ms)
{
	struct timespec time = {.tv_nsec = ms * 1000000};

	nanosleep(&time, NULL);
}

/* --- Nodes --------------------------------------------------------------------------------- */

static uint64_t ino_of(const struct node *node)
{
	return LLFUSE_ROOT_INODE + (uint64_t)(node - fs.nodes);
}

static struct node *node_of(uint64_t ino)
{
	return ino - LLFUSE_ROOT_INODE < fs.n_nodes ? &fs.nodes[ino - LLFUSE_ROOT_INODE] : NULL;
}

/* HEAP for what is not in the table: the files of "many", "bare" and "long". */
static enum kind kind_of(uint64_t ino)
{
	enum kind kind;

	pthread_rwlock_rdlock(&fs.lock);
	kind = node_of(ino) ? node_of(ino)->kind : HEAP;
	pthread_rwlock_unlock(&fs.lock);
	return kind;
}

static struct node *find_node(const char *name)
{
	for (size_t i = 1; i < fs.n_nodes; i++)
		if (!fs.nodes[i].is_gone && !strcmp(fs.nodes[i].name, name))
			return &fs.nodes[i];
	return NULL;
}

static struct node *add_node(const char *name, enum kind kind, mode_t mode, size_t size)
{
	struct node *node;

	if (fs.n_nodes == MAX_NODES || strlen(name) >= sizeof(node->name))
		return NULL;
	node = &fs.nodes[fs.n_nodes++];
	snprintf(node->name, sizeof(node->name), "%s", name);
	node->kind = kind;
	node->mode = mode;
	node->size = size;
	return node;
}

static int resize(struct node *node, size_t size)
{
	char *bytes = realloc(node->bytes, size ? size : 1);

	if (!bytes)
		return -ENOMEM;
	if (size > node->size)
		memset(bytes + node->size, 0, size - node->size);
	node->bytes = bytes;
	node->size = size;
	return 0;
}

static int set_bytes(struct node *node, const char *text)
{
	int err = resize(node, strlen(text));

	if (!err)
		memcpy(node->bytes, text, node->size);
	return err;
}

static void fill_plain(struct llfuse_entry *entry, uint64_t ino, mode_t mode, size_t size)
{
	entry->ino = ino;
	entry->attr.st_ino = atomic_load(&fs.wrong_entry) == NO_SHOWN_INO ? 0 : ino;
	entry->entry_timeout_s = entry->attr_timeout_s = LLFUSE_FOREVER_S;
	entry->attr.st_mode = atomic_load(&fs.wrong_entry) == NO_TYPE ? mode & ~(mode_t)S_IFMT : mode;
	entry->attr.st_nlink = 1;
	entry->attr.st_size = (off_t)size;
	entry->attr.st_blksize = 4096;
	entry->attr.st_ctim.tv_sec = entry->attr.st_mtim.tv_sec = entry->attr.st_atim.tv_sec = 1000000000;
}

static void fill_node(struct llfuse_entry *entry, const struct node *node)
{
	struct stat st;

	fill_plain(entry, ino_of(node), node->mode, node->size);
	entry->attr.st_nlink = node->is_gone ? 0 : 1;
	if (node->kind == BACKED) {
		entry->attr_timeout_s = 0;
		if (!stat(fs.backing, &st))
			entry->attr.st_size = st.st_size;
	}
}

static int fill(struct llfuse_entry *entry, uint64_t ino)
{
	const struct node *node = node_of(ino);

	if (ino >= MANY_FIRST && ino < MANY_FIRST + N_MANY)
		fill_plain(entry, ino, S_IFREG | 0644, (size_t)(ino - MANY_FIRST));
	else if ((ino >= BARE_FIRST && ino < BARE_FIRST + N_BARE) || ino == LONG_ONLY)
		fill_plain(entry, ino, S_IFREG | 0644, 7);
	else if (node)
		fill_node(entry, node);
	else
		return -ESTALE;
	return 0;
}

static void held_add(uint64_t ino, int64_t n)
{
	atomic_fetch_add(&fs.held, n);
	if (ino < MAX_INO && atomic_fetch_add(&fs.held_of[ino], n) + n < 0)
		llfuse_log(LLFUSE_LOG_ERROR, "probefs", "BUG: more lookups of %" PRIu64 " given back than held", ino);
}

/* --- Names --------------------------------------------------------------------------------- */

static uint64_t generated(const char *name, const char *format, uint64_t first, int n)
{
	char same[32];
	int i = -1;

	if (sscanf(name + 1, "%d", &i) != 1 || i < 0 || i >= n)
		return 0;
	snprintf(same, sizeof(same), "%s%05d", format, i);
	return strcmp(name, same) ? 0 : first + (uint64_t)i;
}

static int op_lookup(struct llfuse_request *req, uint64_t parent, const char *name, struct llfuse_entry *entry)
{
	const struct node *dir, *found;
	uint64_t ino = 0;

	COUNT_RUNNING;
	RETURN_WRONG(LLFUSE_OP_LOOKUP);
	(void)req;
	pthread_rwlock_rdlock(&fs.lock);
	dir = node_of(parent);
	if (dir && dir->kind == MANY)
		ino = generated(name, "m", MANY_FIRST, N_MANY);
	else if (dir && dir->kind == BARE)
		ino = generated(name, "b", BARE_FIRST, N_BARE);
	else if (dir && dir->kind == LONG)
		ino = strlen(name) == LONGEST_NAME ? LONG_ONLY : 0;
	else if ((found = find_node(name)))
		ino = ino_of(found);
	entry->entry_timeout_s = LLFUSE_FOREVER_S; /* also that it is not there */
	if (ino && !fill(entry, ino))
		held_add(ino, 1);
	pthread_rwlock_unlock(&fs.lock);
	return 0;
}

static void op_forget(struct llfuse_request *req, size_t n, const struct llfuse_forget *forgets)
{
	COUNT_RUNNING;
	(void)req;
	for (size_t i = 0; i < n; i++)
		if (forgets[i].ino != LLFUSE_ROOT_INODE)
			held_add(forgets[i].ino, -(int64_t)forgets[i].nlookup);
}

static int op_getattr(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, struct llfuse_entry *entry)
{
	int err;

	COUNT_RUNNING;
	RETURN_WRONG(LLFUSE_OP_GETATTR);
	(void)req, (void)file;
	pthread_rwlock_rdlock(&fs.lock);
	err = fill(entry, ino);
	pthread_rwlock_unlock(&fs.lock);
	return err;
}

static int op_setattr(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, const struct stat *attr,
		      unsigned fields, struct llfuse_entry *entry)
{
	struct node *node;
	int err = 0;

	COUNT_RUNNING;
	RETURN_WRONG(LLFUSE_OP_SETATTR);
	(void)req, (void)file;
	pthread_rwlock_wrlock(&fs.lock);
	node = node_of(ino);
	if (node && (fields & LLFUSE_SET_MODE))
		node->mode = attr->st_mode;
	if (node && node->kind == HEAP && (fields & LLFUSE_SET_SIZE))
		err = resize(node, (size_t)attr->st_size);
	if (!err)
		err = fill(entry, ino);
	pthread_rwlock_unlock(&fs.lock);
	return err;
}

static int op_readlink(struct llfuse_request *req, uint64_t ino, struct llfuse_data *data)
{
	COUNT_RUNNING;
	RETURN_WRONG(LLFUSE_OP_READLINK);
	(void)req, (void)ino;
	return llfuse_data_mem(data, "target", 6);
}

static int op_unlink(struct llfuse_request *req, uint64_t parent, const char *name)
{
	struct node *node;

	COUNT_RUNNING;
	RETURN_WRONG(LLFUSE_OP_UNLINK);
	(void)req, (void)parent;
	pthread_rwlock_wrlock(&fs.lock);
	node = find_node(name);
	if (node)
		node->is_gone = true;
	pthread_rwlock_unlock(&fs.lock);
	return node ? 0 : -ENOENT;
}

static int make_file(struct llfuse_request *req, const char *name, mode_t mode, struct llfuse_entry *entry)
{
	struct node *node;

	pthread_rwlock_wrlock(&fs.lock);
	node = add_node(name, HEAP, mode, 0);
	if (node) {
		node->is_gone = !name[0];
		snprintf(fs.last_create, sizeof(fs.last_create), "%o %o %d %d", mode & 07777, req->umask, (int)req->uid,
			 (int)req->gid);
		fill_node(entry, node);
		if (atomic_load(&fs.wrong_entry) == OTHER_TYPE)
			entry->attr.st_mode ^= S_IFREG ^ S_IFDIR;
		if (atomic_load(&fs.wrong_entry) == NO_INO)
			entry->ino = 0;
		else
			held_add(entry->ino, 1);
	}
	pthread_rwlock_unlock(&fs.lock);
	return node ? 0 : -ENOSPC;
}

static int op_mknod(struct llfuse_request *req, uint64_t parent, const char *name, mode_t mode, dev_t rdev,
		    struct llfuse_entry *entry)
{
	COUNT_RUNNING;
	RETURN_WRONG(LLFUSE_OP_MKNOD);
	(void)parent, (void)rdev;
	return make_file(req, name, mode, entry);
}

/* To be compared with the releases at the end. */
static int count_open(int err)
{
	if (!err)
		atomic_fetch_add(&fs.opened, 1);
	return err;
}

static int op_create(struct llfuse_request *req, uint64_t parent, const char *name, mode_t mode,
		     struct llfuse_file *file, struct llfuse_entry *entry)
{
	COUNT_RUNNING;
	RETURN_WRONG(LLFUSE_OP_CREATE);
	(void)parent;
	file->keep_cache = true;
	return count_open(make_file(req, name, mode, entry));
}

static int op_tmpfile(struct llfuse_request *req, uint64_t parent, mode_t mode, struct llfuse_file *file,
		      struct llfuse_entry *entry)
{
	COUNT_RUNNING;
	(void)parent, (void)file;
	return count_open(make_file(req, "", mode, entry));
}

/* Returns whether there was room. */
static bool list_one(struct llfuse_dir *dir, const char *name, uint64_t ino, off_t next_off, bool is_bare)
{
	struct llfuse_entry entry = {0};
	int result;

	(void)fill(&entry, ino);
	if (is_bare)
		entry.ino = 0;
	result = llfuse_dir_add(dir, name, &entry, next_off);
	if (result == LLFUSE_DIR_COUNTED)
		held_add(ino, 1);
	return result > LLFUSE_DIR_FULL;
}

static void list_generated(struct llfuse_dir *dir, const char *format, uint64_t first, int n, off_t off)
{
	char name[32];

	for (off_t i = off; i < n; i++) {
		snprintf(name, sizeof(name), "%s%05d", format, (int)i);
		if (!list_one(dir, name, first + (uint64_t)i, i + 1, first == BARE_FIRST))
			return;
	}
}

static void list_long(struct llfuse_dir *dir, off_t off)
{
	char name[LONGEST_NAME + 1] = "";

	memset(name, 'n', LONGEST_NAME);
	if (!off)
		(void)list_one(dir, name, LONG_ONLY, 1, false);
}

static void list_nodes(struct llfuse_dir *dir, off_t off)
{
	if (off < 1 && !list_one(dir, ".", LLFUSE_ROOT_INODE, 1, false))
		return;
	if (off < 2 && !list_one(dir, "..", LLFUSE_ROOT_INODE, 2, false))
		return;
	for (size_t i = off < 2 ? 1 : (size_t)off - 1; i < fs.n_nodes; i++)
		if (!fs.nodes[i].is_gone && !list_one(dir, fs.nodes[i].name, ino_of(&fs.nodes[i]), (off_t)i + 2, false))
			return;
}

static int op_readdir(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off,
		      struct llfuse_dir *dir)
{
	const struct node *node;

	COUNT_RUNNING;
	RETURN_WRONG(LLFUSE_OP_READDIR);
	(void)req, (void)file;
	pthread_rwlock_rdlock(&fs.lock);
	node = node_of(ino);
	if (node && node->kind == MANY)
		list_generated(dir, "m", MANY_FIRST, N_MANY, off);
	else if (node && node->kind == BARE)
		list_generated(dir, "b", BARE_FIRST, N_BARE, off);
	else if (node && node->kind == LONG)
		list_long(dir, off);
	else
		list_nodes(dir, off);
	pthread_rwlock_unlock(&fs.lock);
	return 0;
}

/* --- Open files ---------------------------------------------------------------------------- */

/* file->fh is a descriptor of the backing file plus 1, or 0. */
static int open_backing(struct llfuse_file *file)
{
	char path[sizeof(fs.backing)];
	bool is_path_only;
	int fd;

	atomic_fetch_add(&fs.backed_begun, 1);
	for (uint64_t ms = atomic_load(&fs.open_delay_ms); ms; ms--)
		sleep_ms(1);
	pthread_rwlock_rdlock(&fs.lock);
	snprintf(path, sizeof(path), "%s", fs.backing);
	is_path_only = fs.is_backing_path_only;
	pthread_rwlock_unlock(&fs.lock);
	fd = open(path, (file->flags & O_ACCMODE) == O_RDONLY ? O_RDONLY | O_CLOEXEC : O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	atomic_fetch_add(&fs.backed_open, 1);
	file->keep_cache = file->nonseekable = atomic_load(&fs.has_open_flags);
	file->fh = (uint64_t)fd + 1;
	file->backing_fd = is_path_only ? fs.unreadable_fd : fd;
	return 0;
}

static int op_open(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file)
{
	enum kind kind = kind_of(ino);

	COUNT_RUNNING;
	RETURN_WRONG(LLFUSE_OP_OPEN);
	(void)req;
	file->direct_io =
		(file->flags & O_DIRECT) || kind == CONTROL || kind == SLOW || kind == ENDLESS || kind == WHOAMI;
	file->keep_cache = !file->direct_io && kind == HEAP;
	if (kind == HEAP && (file->flags & O_TRUNC)) {
		pthread_rwlock_wrlock(&fs.lock);
		(void)resize(node_of(ino), 0);
		pthread_rwlock_unlock(&fs.lock);
	}
	return count_open(kind == BACKED ? open_backing(file) : 0);
}

static int op_opendir(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file)
{
	COUNT_RUNNING;
	(void)req, (void)ino, (void)file;
	atomic_fetch_add(&fs.opened, 1);
	return 0;
}

static int op_releasedir(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file)
{
	COUNT_RUNNING;
	(void)req, (void)ino, (void)file;
	atomic_fetch_add(&fs.released, 1);
	return 0;
}

static void unlock_all(uint64_t ino, uint64_t owner, bool is_flock)
{
	pthread_rwlock_wrlock(&fs.lock);
	for (size_t i = 0; i < MAX_LOCKS; i++)
		if (fs.locks[i].ino == ino && fs.locks[i].owner == owner && fs.locks[i].is_flock == is_flock)
			fs.locks[i].ino = 0;
	pthread_rwlock_unlock(&fs.lock);
}

static int op_flush(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file)
{
	COUNT_RUNNING;
	RETURN_WRONG(LLFUSE_OP_FLUSH);
	(void)req;
	unlock_all(ino, file->lock_owner, false);
	return 0;
}

static int op_release(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file)
{
	COUNT_RUNNING;
	(void)req;
	atomic_fetch_add(&fs.released, 1);
	if (file->fh) {
		close((int)(file->fh - 1));
		atomic_fetch_sub(&fs.backed_open, 1);
	}
	if (file->release_flock)
		unlock_all(ino, file->lock_owner, true);
	return 0;
}

/* --- Data ---------------------------------------------------------------------------------- */

static void count_release(void *arg)
{
	(void)arg;
	atomic_fetch_add(&fs.releases_done, 1);
}

static void unlock_and_count_release(void *arg)
{
	pthread_rwlock_unlock(arg);
	count_release(NULL);
}

static void set_release(struct llfuse_data *data, void (*release)(void *arg), void *arg)
{
	atomic_fetch_add(&fs.releases_set, 1);
	llfuse_data_release(data, release, arg);
}

static int read_room(const char *bytes, size_t size, off_t off, struct llfuse_data *data)
{
	size_t n = (size_t)off < size ? size - (size_t)off : 0;
	char *room = llfuse_data_room(data);

	if (!room)
		return -ENOMEM;
	if (n > llfuse_data_size(data))
		n = llfuse_data_size(data);
	if (n)
		memcpy(room, bytes + off, n);
	llfuse_data_filled(data, n);
	return 0;
}

/* The bytes stay where they are and the lock is held until the answer is sent. */
static int read_heap(const struct node *node, off_t off, struct llfuse_data *data)
{
	pthread_rwlock_rdlock(&fs.lock);
	set_release(data, unlock_and_count_release, &fs.lock);
	if ((size_t)off >= node->size)
		return 0;
	return llfuse_data_mem(data, node->bytes + off, node->size - (size_t)off);
}

/* Chunk by chunk; the kind of a chunk follows from its place in the file. */
static int read_chunks(const struct node *node, off_t start, struct llfuse_data *data)
{
	size_t off = (size_t)start, end = off + llfuse_data_size(data);
	int err = 0;

	while (!err && off < end && off < node->size) {
		size_t number = off / node->chunk, n = (number + 1) * node->chunk - off;

		if (n > node->size - off)
			n = node->size - off;
		if (node->kind == MIXED && number % 3 == 1)
			err = llfuse_data_fd(data, fs.pattern_fd, (off_t)off, n);
		else if (number % (node->kind == MIXED ? 3 : 2) == 0)
			err = llfuse_data_mem(data, fs.pattern + off, n);
		else
			err = llfuse_data_mem(data, NULL, n);
		off += n;
	}
	return err;
}

static int read_endless(struct llfuse_request *req, struct llfuse_data *data)
{
	for (int i = 0; i < 10000; i++) {
		if (llfuse_interrupted(req))
			return -EINTR;
		sleep_ms(1);
	}
	return llfuse_data_mem(data, "not interrupted\n", 16);
}

static int read_whoami(struct llfuse_request *req, off_t off, struct llfuse_data *data)
{
	char text[2048];
	gid_t groups[100];
	int n = llfuse_groups(req, 100, groups);
	int used = snprintf(text, sizeof(text), "%d %u %u %d:", req->pid, req->uid, req->gid, n);

	for (int i = 0; i < n && i < 100; i++)
		used += snprintf(text + used, sizeof(text) - (size_t)used, " %u", groups[i]);
	return read_room(text, (size_t)used, off, data);
}

static int read_backed(const struct llfuse_file *file, off_t off, struct llfuse_data *data)
{
	return llfuse_data_fd(data, (int)file->fh - 1, off, llfuse_data_size(data));
}

static int read_torn(enum kind kind, off_t off, struct llfuse_data *data)
{
	size_t n = kind == PATCHED && off < 4096 ? 4096 - (size_t)off : 0;
	int err = llfuse_data_mem(data, fs.pattern + off, n);

	if (!err)
		err = llfuse_data_fd(data, fs.memory_fd, (off_t)(uintptr_t)fs.torn + off + (off_t)n,
				     llfuse_data_size(data));
	return err;
}

static int read_result(off_t off, struct llfuse_data *data)
{
	char text[COMMAND_BYTES];

	pthread_mutex_lock(&fs.control_lock);
	memcpy(text, fs.result, sizeof(text));
	pthread_mutex_unlock(&fs.control_lock);
	return read_room(text, strlen(text), off, data);
}

static int op_read(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off,
		   struct llfuse_data *data)
{
	const struct node *node = node_of(ino);

	COUNT_RUNNING;
	if (!node)
		return 0;
	switch (kind_of(ino)) {
	case CONTROL:
		return read_result(off, data);
	case HEAP:
		return read_heap(node, off, data);
	case SLOW:
		sleep_ms(5);
		return read_room("slow\n", 5, off, data);
	case ENDLESS:
		return read_endless(req, data);
	case WHOAMI:
		return read_whoami(req, off, data);
	case BACKED:
		return read_backed(file, off, data);
	case ROOM:
		return read_room((const char *)fs.pattern, node->size, off, data);
	default:
		break;
	}
	RETURN_WRONG(LLFUSE_OP_READ);
	set_release(data, count_release, NULL);
	if ((size_t)off >= node->size)
		return 0;
	if (node->kind == MEMORY)
		return llfuse_data_mem(data, fs.pattern + off, node->size - (size_t)off);
	if (node->kind == DESCRIPTOR)
		return llfuse_data_fd(data, fs.pattern_fd, off, llfuse_data_size(data));
	if (node->kind == SHORT)
		return llfuse_data_fd(data, fs.short_fd, off, llfuse_data_size(data));
	if (node->kind == TORN || node->kind == PATCHED)
		return read_torn(node->kind, off, data);
	if (node->kind == BROKEN)
		return llfuse_data_fd(data, fs.unreadable_fd, off, llfuse_data_size(data));
	return read_chunks(node, off, data);
}

static void order(const char *text, size_t size)
{
	pthread_mutex_lock(&fs.control_lock);
	snprintf(fs.command, sizeof(fs.command), "%.*s", (int)size, text);
	fs.is_ordered = true;
	fs.is_done = false;
	pthread_cond_signal(&fs.control_changed);
	pthread_mutex_unlock(&fs.control_lock);
}

static ssize_t write_heap(struct node *node, const void *buf, size_t size, off_t off)
{
	int err = 0;

	pthread_rwlock_wrlock(&fs.lock);
	if (node->size < (size_t)off + size)
		err = resize(node, (size_t)off + size);
	if (!err)
		memcpy(node->bytes + off, buf, size);
	pthread_rwlock_unlock(&fs.lock);
	return err ? err : (ssize_t)size;
}

static ssize_t op_write(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, const void *buf,
			size_t size, off_t off)
{
	struct node *node = node_of(ino);
	ssize_t n;

	COUNT_RUNNING;
	(void)req;
	if (!node)
		return -EBADF;
	switch (kind_of(ino)) {
	case CONTROL:
		if (size >= COMMAND_BYTES)
			return -EFBIG;
		order(buf, size);
		return (ssize_t)size;
	case BACKED:
		n = pwrite((int)file->fh - 1, buf, size, off);
		return n < 0 ? -errno : n;
	case HEAP:
		return write_heap(node, buf, size, off);
	default:
		return -EBADF;
	}
}

static int op_fallocate(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, int mode, off_t off,
			off_t len)
{
	struct node *node = node_of(ino);
	int err = 0;

	COUNT_RUNNING;
	(void)req, (void)file;
	if (mode || !node || kind_of(ino) != HEAP)
		return -EOPNOTSUPP;
	pthread_rwlock_wrlock(&fs.lock);
	if (node->size < (size_t)(off + len))
		err = resize(node, (size_t)(off + len));
	pthread_rwlock_unlock(&fs.lock);
	return err;
}

/* As if each file had one hole, from its byte 100 on to its end. */
static off_t op_lseek(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off, int whence)
{
	COUNT_RUNNING;
	(void)req, (void)ino, (void)file;
	if (whence == SEEK_HOLE)
		return off < 100 ? 100 : off;
	return off < 100 ? off : -ENXIO;
}

static ssize_t op_copy_file_range(struct llfuse_request *req, uint64_t ino_in, struct llfuse_file *file_in,
				  off_t off_in, uint64_t ino_out, struct llfuse_file *file_out, off_t off_out,
				  size_t len, unsigned flags)
{
	struct node *in = node_of(ino_in), *out = node_of(ino_out);
	int err = 0;

	COUNT_RUNNING;
	(void)req, (void)file_in, (void)file_out, (void)flags;
	if (!in || !out || kind_of(ino_in) != HEAP || kind_of(ino_out) != HEAP)
		return -EXDEV;
	pthread_rwlock_wrlock(&fs.lock);
	if ((size_t)off_in >= in->size)
		len = 0;
	else if (len > in->size - (size_t)off_in)
		len = in->size - (size_t)off_in;
	if (len && out->size < (size_t)off_out + len)
		err = resize(out, (size_t)off_out + len);
	if (len && !err)
		memmove(out->bytes + off_out, in->bytes + off_in, len);
	pthread_rwlock_unlock(&fs.lock);
	return err ? err : (ssize_t)len;
}

/* --- Extended attributes ------------------------------------------------------------------- */

static struct xattr *find_xattr(struct node *node, const char *name)
{
	for (size_t i = 0; node && i < MAX_XATTRS; i++)
		if (node->xattrs[i].value && !strcmp(node->xattrs[i].name, name))
			return &node->xattrs[i];
	return NULL;
}

static struct xattr *free_xattr(struct node *node)
{
	for (size_t i = 0; node && i < MAX_XATTRS; i++)
		if (!node->xattrs[i].value)
			return &node->xattrs[i];
	return NULL;
}

static int op_setxattr(struct llfuse_request *req, uint64_t ino, const char *name, const void *value, size_t size,
		       int flags)
{
	struct xattr *xattr;
	char uid[24];
	char *copy;
	int err = 0;

	COUNT_RUNNING;
	if (!strcmp(name, "system.uid")) { /* is who sets it */
		size = (size_t)snprintf(uid, sizeof(uid), "%u", (unsigned)req->uid);
		value = uid;
	}
	copy = malloc(size + 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, value, size);
	pthread_rwlock_wrlock(&fs.lock);
	xattr = find_xattr(node_of(ino), name);
	if (xattr && (flags & XATTR_CREATE))
		err = -EEXIST;
	else if (!xattr && (flags & XATTR_REPLACE))
		err = -ENODATA;
	else if (!xattr && !(xattr = free_xattr(node_of(ino))))
		err = -ENOSPC;
	if (!err) {
		free(xattr->value);
		snprintf(xattr->name, sizeof(xattr->name), "%s", name);
		xattr->value = copy;
		xattr->size = size;
		copy = NULL;
	}
	pthread_rwlock_unlock(&fs.lock);
	free(copy);
	return err;
}

/* A value that may be larger than the room: what fits is filled, and all of it is claimed. */
static int fill_and_claim(struct llfuse_data *data, size_t size)
{
	size_t n = llfuse_data_size(data) < size ? llfuse_data_size(data) : size;
	char *room = llfuse_data_room(data);

	if (!room)
		return -ENOMEM;
	memcpy(room, fs.pattern, n);
	llfuse_data_filled(data, size);
	return 0;
}

static int op_getxattr(struct llfuse_request *req, uint64_t ino, const char *name, struct llfuse_data *data)
{
	struct xattr *xattr;
	size_t size;

	COUNT_RUNNING;
	RETURN_WRONG(LLFUSE_OP_GETXATTR);
	(void)req;
	if (kind_of(ino) == CONTROL)
		return strcmp(name, "user.result") ? -ENODATA : read_result(0, data);
	if (kind_of(ino) == ROOM && sscanf(name, "user.bytes.%zu", &size) == 1)
		return llfuse_data_mem(data, fs.pattern, size);
	if (kind_of(ino) == ROOM && sscanf(name, "user.room.%zu", &size) == 1)
		return fill_and_claim(data, size);
	pthread_rwlock_rdlock(&fs.lock);
	set_release(data, unlock_and_count_release, &fs.lock);
	xattr = find_xattr(node_of(ino), name);
	return xattr ? llfuse_data_mem(data, xattr->value, xattr->size) : -ENODATA;
}

/* Names of 63 bytes, as many as make @size bytes. */
static int list_generated_names(struct llfuse_data *data, size_t size)
{
	static const char name[] = "user.4567890123456789012345678901234567890123456789012345678901";
	int err = 0;

	for (size_t done = 0; done < size && !err; done += sizeof(name))
		err = llfuse_data_mem(data, name, size - done < sizeof(name) ? size - done : sizeof(name));
	return err;
}

static int op_listxattr(struct llfuse_request *req, uint64_t ino, struct llfuse_data *data)
{
	struct node *node;
	char names[MAX_XATTRS * 256];
	size_t n = 0;

	COUNT_RUNNING;
	(void)req;
	if (kind_of(ino) == ROOM)
		return list_generated_names(data, atomic_load(&fs.names_bytes));
	pthread_rwlock_rdlock(&fs.lock);
	node = node_of(ino);
	for (size_t i = 0; node && i < MAX_XATTRS; i++)
		if (node->xattrs[i].value) {
			memcpy(names + n, node->xattrs[i].name, strlen(node->xattrs[i].name) + 1);
			n += strlen(node->xattrs[i].name) + 1;
		}
	pthread_rwlock_unlock(&fs.lock);
	return read_room(names, n, 0, data);
}

static int op_removexattr(struct llfuse_request *req, uint64_t ino, const char *name)
{
	struct xattr *xattr;

	COUNT_RUNNING;
	(void)req;
	pthread_rwlock_wrlock(&fs.lock);
	xattr = find_xattr(node_of(ino), name);
	if (xattr) {
		free(xattr->value);
		xattr->value = NULL;
	}
	pthread_rwlock_unlock(&fs.lock);
	return xattr ? 0 : -ENODATA;
}

/* --- Locks --------------------------------------------------------------------------------- */

static struct lock *conflict_locked(uint64_t ino, uint64_t owner, bool is_flock, short type, off_t start, off_t end)
{
	for (size_t i = 0; i < MAX_LOCKS; i++) {
		struct lock *lock = &fs.locks[i];

		if (lock->ino == ino && lock->owner != owner && lock->is_flock == is_flock && start <= lock->end &&
		    lock->start <= end && (type == F_WRLCK || lock->type == F_WRLCK))
			return lock;
	}
	return NULL;
}

static off_t end_of(const struct flock *lock)
{
	return lock->l_len ? lock->l_start + lock->l_len - 1 : INT64_MAX;
}

/* Whole locks are replaced and removed: splitting them is not what is tested here. */
static int set_lock(uint64_t ino, uint64_t owner, bool is_flock, short type, off_t start, off_t end, pid_t pid)
{
	struct lock *place = NULL;
	int err = 0;

	pthread_rwlock_wrlock(&fs.lock);
	if (type != F_UNLCK && conflict_locked(ino, owner, is_flock, type, start, end))
		err = -EAGAIN;
	for (size_t i = 0; i < MAX_LOCKS && !err; i++) {
		struct lock *lock = &fs.locks[i];

		if (lock->ino == ino && lock->owner == owner && lock->is_flock == is_flock && start <= lock->end &&
		    lock->start <= end)
			lock->ino = 0;
		if (!lock->ino)
			place = lock;
	}
	if (!err && type != F_UNLCK && !place)
		err = -ENOLCK;
	else if (!err && type != F_UNLCK)
		*place = (struct lock){ino, owner, is_flock, type, start, end, pid};
	pthread_rwlock_unlock(&fs.lock);
	return err;
}

static int op_getlk(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, struct flock *flock)
{
	struct lock *lock;

	COUNT_RUNNING;
	(void)req;
	pthread_rwlock_rdlock(&fs.lock);
	lock = conflict_locked(ino, file->lock_owner, false, flock->l_type, flock->l_start, end_of(flock));
	flock->l_type = lock ? lock->type : F_UNLCK;
	if (lock) {
		flock->l_start = lock->start;
		flock->l_len = lock->end == INT64_MAX ? 0 : lock->end - lock->start + 1;
		flock->l_pid = lock->pid;
	}
	pthread_rwlock_unlock(&fs.lock);
	return 0;
}

static int op_setlk(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, struct flock *lock, bool sleep)
{
	int err;

	COUNT_RUNNING;
	atomic_fetch_add(&fs.lock_waiters, sleep);
	do {
		err = set_lock(ino, file->lock_owner, false, lock->l_type, lock->l_start, end_of(lock), req->pid);
		if (err != -EAGAIN || !sleep)
			break;
		sleep_ms(1);
		err = -EINTR;
	} while (!llfuse_interrupted(req));
	atomic_fetch_sub(&fs.lock_waiters, sleep);
	return err;
}

static int op_flock(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, int op)
{
	short type = op & LOCK_UN ? F_UNLCK : op & LOCK_EX ? F_WRLCK : F_RDLCK;

	COUNT_RUNNING;
	return set_lock(ino, file->lock_owner, true, type, 0, INT64_MAX, req->pid);
}

/* --- What else there is -------------------------------------------------------------------- */

struct sum {
	uint32_t a, b;
	uint32_t sum, product;
};

#define PROBE_SUM _IOWR('p', 1, struct sum)
#define PROBE_VERSION _IOR('p', 2, uint64_t)
#define PROBE_CHECK _IOW('p', 3, uint32_t)

static int op_ioctl(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, unsigned cmd, const void *in,
		    size_t in_size, void *out, size_t out_size)
{
	uint64_t version = UINT64_C(0x0102030405060708);
	struct sum sum;
	uint32_t number;

	COUNT_RUNNING;
	(void)req, (void)ino, (void)file;
	if (cmd == PROBE_SUM && in_size == sizeof(sum) && out_size == sizeof(sum)) {
		memcpy(&sum, in, sizeof(sum));
		sum.sum = sum.a + sum.b;
		sum.product = sum.a * sum.b;
		memcpy(out, &sum, sizeof(sum));
		return 7;
	}
	if (cmd == PROBE_VERSION && out_size == sizeof(version)) {
		memcpy(out, &version, sizeof(version));
		return 0;
	}
	if (cmd == PROBE_CHECK && in_size == sizeof(number)) {
		memcpy(&number, in, sizeof(number));
		return number == 42 ? 0 : -EDOM;
	}
	return -ENOTTY;
}

static int op_poll(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, unsigned events,
		   unsigned *revents, struct llfuse_poll *poll)
{
	bool is_control = kind_of(ino) == CONTROL;
	struct llfuse_poll *unused = poll;

	COUNT_RUNNING;
	(void)req, (void)file;
	pthread_mutex_lock(&fs.control_lock);
	if (!is_control || fs.is_done) {
		*revents = events & (POLLIN | POLLOUT);
	} else {
		*revents = events & POLLOUT;
		if (poll) {
			unused = fs.waiter;
			fs.waiter = poll;
		}
	}
	pthread_mutex_unlock(&fs.control_lock);
	llfuse_poll_free(unused);
	return 0;
}

static int op_statx(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, unsigned flags, unsigned mask,
		    struct statx *stx, double *attr_timeout_s)
{
	struct llfuse_entry entry = {0};
	int err = op_getattr(req, ino, file, &entry);

	(void)flags, (void)mask;
	if (err)
		return err;
	*attr_timeout_s = entry.attr_timeout_s;
	stx->stx_mask = STATX_BASIC_STATS | STATX_BTIME;
	stx->stx_mode = (uint16_t)entry.attr.st_mode;
	stx->stx_nlink = (uint32_t)entry.attr.st_nlink;
	stx->stx_ino = entry.attr.st_ino;
	stx->stx_size = (uint64_t)entry.attr.st_size;
	stx->stx_blksize = 4096;
	stx->stx_mtime.tv_sec = stx->stx_ctime.tv_sec = stx->stx_atime.tv_sec = 1000000000;
	stx->stx_btime.tv_sec = 900000000;
	stx->stx_btime.tv_nsec = 123456789;
	return 0;
}

static int op_statfs(struct llfuse_request *req, uint64_t ino, struct statvfs *st)
{
	COUNT_RUNNING;
	RETURN_WRONG(LLFUSE_OP_STATFS);
	(void)req, (void)ino;
	st->f_bsize = st->f_frsize = 4096;
	st->f_blocks = 1000;
	st->f_bfree = 600;
	st->f_bavail = 500;
	st->f_files = 300;
	st->f_ffree = st->f_favail = 200;
	st->f_namemax = 63;
	return 0;
}

static void op_init(void *userdata, struct llfuse_conn *conn)
{
	(void)userdata;
	if (fs.options.is_passthrough)
		conn->want |= LLFUSE_CAP_PASSTHROUGH;
	if (fs.options.is_writeback)
		conn->want |= LLFUSE_CAP_WRITEBACK_CACHE;
	if (fs.options.is_dont_mask)
		conn->want |= LLFUSE_CAP_DONT_MASK;
	/* So that what the kernel may keep is decided by the notifications alone. */
	conn->want |= LLFUSE_CAP_EXPLICIT_INVAL_DATA | LLFUSE_CAP_EXPIRE_ONLY;
	conn->no_enosys = fs.options.has_no_enosys;
	if (fs.options.max_write)
		conn->max_write = (uint32_t)fs.options.max_write;
	llfuse_log(LLFUSE_LOG_INFO, "probefs", "init");
}

static void op_destroy(void *userdata)
{
	(void)userdata;
	llfuse_log(LLFUSE_LOG_INFO, "probefs", "destroy");
	llfuse_log(LLFUSE_LOG_INFO, "probefs", "opens: %" PRId64 ", releases: %" PRId64, atomic_load(&fs.opened),
		   atomic_load(&fs.released));
	llfuse_log(LLFUSE_LOG_INFO, "probefs", "backed files still open: %" PRId64, atomic_load(&fs.backed_open));
}

/* --- Commands ------------------------------------------------------------------------------ */

/* Each but "last_create" gets what is behind the command's name, and returns -errno, or a number that is the result. */
struct command {
	const char *name;
	int64_t (*run)(char *args);
};

static char *word(char **args)
{
	char *found = strsep(args, " ");

	return found ? found : (char *)(uintptr_t) "";
}

static uint64_t number(char **args)
{
	return strtoull(word(args), NULL, 0);
}

static int64_t run_set(char *args)
{
	const char *name = word(&args);
	struct node *node;
	int err;

	pthread_rwlock_wrlock(&fs.lock);
	node = find_node(name);
	if (!node)
		node = add_node(name, HEAP, S_IFREG | 0644, 0);
	err = node ? set_bytes(node, args ? args : "") : -ENOSPC;
	pthread_rwlock_unlock(&fs.lock);
	return err;
}

static int64_t run_remove(char *args)
{
	struct node *node;

	pthread_rwlock_wrlock(&fs.lock);
	node = find_node(word(&args));
	if (node)
		node->is_gone = true;
	pthread_rwlock_unlock(&fs.lock);
	return node ? 0 : -ENOENT;
}

static int64_t run_ino(char *args)
{
	const struct node *node;

	pthread_rwlock_rdlock(&fs.lock);
	node = find_node(word(&args));
	pthread_rwlock_unlock(&fs.lock);
	return node ? (int64_t)ino_of(node) : -ENOENT;
}

static int64_t run_inval_inode(char *args)
{
	uint64_t ino = number(&args);
	off_t off = (off_t)strtoll(word(&args), NULL, 0);

	return llfuse_notify_inval_inode(fs.session, ino, off, (off_t)number(&args));
}

static int64_t run_inval_entry(char *args)
{
	return llfuse_notify_inval_entry(fs.session, LLFUSE_ROOT_INODE, word(&args));
}

static int64_t run_delete(char *args)
{
	uint64_t child = number(&args);

	return llfuse_notify_delete(fs.session, LLFUSE_ROOT_INODE, child, word(&args));
}

static int64_t run_expire_entry(char *args)
{
	return llfuse_notify_expire_entry(fs.session, LLFUSE_ROOT_INODE, word(&args));
}

static int64_t run_store(char *args)
{
	uint64_t ino = number(&args);
	off_t off = (off_t)number(&args);

	return llfuse_notify_store(fs.session, ino, off, args, strlen(args));
}

static int64_t run_epoch(char *args)
{
	(void)args;
	return llfuse_notify_increment_epoch(fs.session);
}

static int64_t run_stop(char *args)
{
	(void)args;
	llfuse_stop(fs.session);
	return 0;
}

static int64_t run_transport(char *args)
{
	(void)args;
	return llfuse_session_transport(fs.session);
}

static int64_t run_caps(char *args)
{
	(void)args;
	return llfuse_session_caps(fs.session);
}

static int64_t run_passthrough(char *args)
{
	return llfuse_file_passthrough(fs.session, number(&args));
}

static int64_t run_stats(char *args)
{
	const char *name = word(&args);
	struct llfuse_stats stats;
	int64_t count = -ENOENT;

	llfuse_stats_read(fs.session, &stats);
	for (int op = 0; op < LLFUSE_OP_COUNT; op++)
		if (!strcmp(name, llfuse_op_name((enum llfuse_op)op)))
			count = (int64_t)stats.op[op].count;
	return count;
}

static int64_t run_lookups(char *args)
{
	(void)args;
	return atomic_load(&fs.held);
}

static int64_t run_lookups_of(char *args)
{
	uint64_t ino = number(&args);

	return ino < MAX_INO ? atomic_load(&fs.held_of[ino]) : -EINVAL;
}

static int64_t run_max_concurrency(char *args)
{
	(void)args;
	return atomic_exchange(&fs.most_running, 0);
}

/* How many release functions were set and not called (or called twice). */
static int64_t run_unreleased(char *args)
{
	uint64_t done = atomic_load(&fs.releases_done);

	(void)args;
	return (int64_t)(atomic_load(&fs.releases_set) - done);
}

static int64_t run_backing(char *args)
{
	pthread_rwlock_wrlock(&fs.lock);
	snprintf(fs.backing, sizeof(fs.backing), "%s", args);
	fs.is_backing_path_only = false;
	pthread_rwlock_unlock(&fs.lock);
	return 0;
}

static int64_t run_backing_path_only(char *args)
{
	(void)run_backing(args);
	pthread_rwlock_wrlock(&fs.lock);
	fs.is_backing_path_only = true;
	pthread_rwlock_unlock(&fs.lock);
	return 0;
}

static int64_t run_open_delay(char *args)
{
	atomic_store(&fs.open_delay_ms, number(&args));
	return 0;
}

static int64_t run_open_flags(char *args)
{
	atomic_store(&fs.has_open_flags, number(&args) != 0);
	return 0;
}

static int64_t run_names_bytes(char *args)
{
	atomic_store(&fs.names_bytes, number(&args));
	return 0;
}

/* "wrong lookup 5": from now on this handler returns 5; "wrong lookup 0" ends it. */
static int64_t run_wrong(char *args)
{
	const char *name = word(&args);

	for (int op = 0; op < LLFUSE_OP_COUNT; op++)
		if (!strcmp(name, llfuse_op_name((enum llfuse_op)op))) {
			atomic_store(&fs.wrong_op, op);
			atomic_store(&fs.wrong_result, (int)strtol(word(&args), NULL, 0));
			return 0;
		}
	return -ENOENT;
}

static int64_t run_lock_waiters(char *args)
{
	(void)args;
	return atomic_load(&fs.lock_waiters);
}

static int64_t run_wrong_entry(char *args)
{
	atomic_store(&fs.wrong_entry, (int)number(&args));
	return 0;
}

static int64_t run_opens(char *args)
{
	(void)args;
	return atomic_load(&fs.opened) - atomic_load(&fs.released);
}

static int64_t run_opens_begun(char *args)
{
	(void)args;
	return atomic_load(&fs.backed_begun);
}

static int64_t run_stacktrace(char *args)
{
	(void)args;
	llfuse_stacktrace();
	return 0;
}

static const struct command commands[] = {
	{"set", run_set},
	{"remove", run_remove},
	{"ino", run_ino},
	{"inval_inode", run_inval_inode},
	{"inval_entry", run_inval_entry},
	{"delete", run_delete},
	{"expire_entry", run_expire_entry},
	{"store", run_store},
	{"epoch", run_epoch},
	{"stop", run_stop},
	{"transport", run_transport},
	{"caps", run_caps},
	{"passthrough", run_passthrough},
	{"stats", run_stats},
	{"lookups", run_lookups},
	{"lookups_of", run_lookups_of},
	{"max_concurrency", run_max_concurrency},
	{"unreleased", run_unreleased},
	{"backing", run_backing},
	{"backing_path_only", run_backing_path_only},
	{"open_delay", run_open_delay},
	{"open_flags", run_open_flags},
	{"names_bytes", run_names_bytes},
	{"wrong", run_wrong},
	{"lock_waiters", run_lock_waiters},
	{"wrong_entry", run_wrong_entry},
	{"opens", run_opens},
	{"opens_begun", run_opens_begun},
	{"stacktrace", run_stacktrace},
};

static void carry_out(char *line, char *result, size_t size)
{
	const char *name = strsep(&line, " ");
	char none[] = "";
	int64_t value = -ENOSYS;

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(commands[i].name, name))
			value = commands[i].run(line ? line : none);
	snprintf(result, size, "%" PRId64, value);
	if (!strcmp(name, "last_create")) { /* the one whose result is no number */
		pthread_rwlock_rdlock(&fs.lock);
		snprintf(result, size, "%s", fs.last_create);
		pthread_rwlock_unlock(&fs.lock);
	}
}

static void *run_commands(void *arg)
{
	char line[COMMAND_BYTES], result[COMMAND_BYTES];

	(void)pthread_setname_np(pthread_self(), "notifier");
	for (;;) {
		struct llfuse_poll *waiter;

		pthread_mutex_lock(&fs.control_lock);
		while (!fs.is_ordered && !fs.is_ending)
			pthread_cond_wait(&fs.control_changed, &fs.control_lock);
		if (fs.is_ending) {
			pthread_mutex_unlock(&fs.control_lock);
			return arg;
		}
		memcpy(line, fs.command, sizeof(line));
		fs.is_ordered = false;
		pthread_mutex_unlock(&fs.control_lock);

		carry_out(line, result, sizeof(result));

		pthread_mutex_lock(&fs.control_lock);
		memcpy(fs.result, result, sizeof(result));
		fs.is_done = true;
		waiter = fs.waiter;
		fs.waiter = NULL;
		pthread_mutex_unlock(&fs.control_lock);
		if (waiter)
			(void)llfuse_poll_notify(waiter); /* fails only when the mount is gone */
		llfuse_poll_free(waiter);
	}
}

static void end_commands(pthread_t thread)
{
	pthread_mutex_lock(&fs.control_lock);
	fs.is_ending = true;
	pthread_cond_signal(&fs.control_changed);
	pthread_mutex_unlock(&fs.control_lock);
	pthread_join(thread, NULL);
	if (fs.waiter)
		llfuse_log(LLFUSE_LOG_INFO, "probefs", "poll_notify after main: %d", llfuse_poll_notify(fs.waiter));
	llfuse_poll_free(fs.waiter);
}

/* --- The program --------------------------------------------------------------------------- */

static const struct llfuse_ops all_ops = {
	.init = op_init,
	.destroy = op_destroy,
	.lookup = op_lookup,
	.forget = op_forget,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.unlink = op_unlink,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.release = op_release,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.releasedir = op_releasedir,
	.statfs = op_statfs,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
	.create = op_create,
	.fallocate = op_fallocate,
	.lseek = op_lseek,
	.copy_file_range = op_copy_file_range,
	.ioctl = op_ioctl,
	.poll = op_poll,
	.getlk = op_getlk,
	.setlk = op_setlk,
	.flock = op_flock,
	.tmpfile = op_tmpfile,
	.statx = op_statx,
};

/* fsync and most of what changes names stay unset. */
static struct llfuse_ops chosen_ops(void)
{
	struct llfuse_ops ops = all_ops;

	if (!fs.options.has_locks) {
		ops.getlk = NULL;
		ops.setlk = NULL;
		ops.flock = NULL;
	}
	if (!fs.options.has_opendir) {
		ops.opendir = NULL;
		ops.releasedir = NULL;
	}
	if (fs.options.has_no_open) {
		ops.open = NULL;
		ops.create = NULL; /* would open too */
	}
	return ops;
}

static int pattern_file(size_t size)
{
	int fd = memfd_create("pattern", MFD_CLOEXEC);

	if (fd >= 0 && pwrite(fd, fs.pattern, size, 0) != (ssize_t)size) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Read as a file, memory gives EIO where nothing is behind a mapping. */
static bool make_torn(void)
{
	int fd = pattern_file(TORN_BYTES);

	if (fd < 0)
		return false;
	fs.torn = mmap(NULL, PATTERN_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	fs.memory_fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	return fs.torn != MAP_FAILED && fs.memory_fd >= 0;
}

static bool make_pattern(void)
{
	fs.pattern = malloc(PATTERN_BYTES);
	if (!fs.pattern)
		return false;
	for (size_t i = 0; i < PATTERN_BYTES; i++)
		fs.pattern[i] = (uint8_t)(i ^ (i >> 8) ^ (i >> 16));
	fs.pattern_fd = pattern_file(PATTERN_BYTES);
	fs.short_fd = pattern_file(SHORT_BYTES);
	fs.unreadable_fd = open("/dev/null", O_PATH | O_CLOEXEC);
	return fs.pattern_fd >= 0 && fs.short_fd >= 0 && fs.unreadable_fd >= 0 && make_torn();
}

static void make_nodes(void)
{
	static const struct {
		const char *name;
		enum kind kind;
		size_t size, chunk;
	} files[] = {
		{"control", CONTROL, 0, 0},
		{"room", ROOM, PATTERN_BYTES, 0},
		{"memory", MEMORY, PATTERN_BYTES, 0},
		{"segments1000", SEGMENTS, PATTERN_BYTES, 1000}, /* more than one writev(2) takes */
		{"segments40000", SEGMENTS, PATTERN_BYTES, 40000},
		{"segments200000", SEGMENTS, PATTERN_BYTES, 200000}, /* zeros longer than the library keeps */
		{"descriptor", DESCRIPTOR, PATTERN_BYTES, 0},
		{"short", SHORT, PATTERN_BYTES, 0},
		{"broken", BROKEN, PATTERN_BYTES, 0},
		{"torn", TORN, PATTERN_BYTES, 0},
		{"patched", PATCHED, PATTERN_BYTES, 0},
		{"mixed", MIXED, PATTERN_BYTES, 5000},
		{"slow", SLOW, 5, 0},
		{"endless", ENDLESS, 16, 0},
		{"whoami", WHOAMI, 0, 0},
		{"backed", BACKED, 0, 0},
	};

	add_node("", DIRECTORY, S_IFDIR | 0777, 0);
	add_node("many", MANY, S_IFDIR | 0755, 0);
	add_node("bare", BARE, S_IFDIR | 0755, 0);
	add_node("long", LONG, S_IFDIR | 0755, 0);
	add_node("link", LINK, S_IFLNK | 0777, 6);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		add_node(files[i].name, files[i].kind, S_IFREG | 0666, files[i].size)->chunk = files[i].chunk;
}

static void free_all(void)
{
	for (size_t i = 0; i < fs.n_nodes; i++) {
		free(fs.nodes[i].bytes);
		for (size_t j = 0; j < MAX_XATTRS; j++)
			free(fs.nodes[i].xattrs[j].value);
	}
	free(fs.pattern);
	close(fs.pattern_fd);
	close(fs.short_fd);
	close(fs.unreadable_fd);
	close(fs.memory_fd);
	munmap(fs.torn, PATTERN_BYTES);
}

/* The leak sanitizer asks, where it is linked in: it works by way of /proc. */
static bool has_left;
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return has_left;
}

/* Another mount namespace without our mount, and a root directory that has neither /proc nor /sys nor /dev. */
static int leave_mount(void *userdata)
{
	int proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);

	(void)userdata;
	has_left = true;
	if (proc_fd < 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    umount2(fs.mountpoint, MNT_DETACH) < 0 || chroot("/proc/sys") < 0 || chdir("/") < 0) {
		llfuse_complain("probefs", "cannot leave: %s", strerror(errno));
		return -errno;
	}
	llfuse_use_proc(proc_fd);
	if (!fs.options.fails_to_leave)
		return 0;
	llfuse_complain("probefs", "left in vain");
	return -EXDEV;
}

static int serve(struct llfuse_config *config)
{
	struct llfuse_ops ops = chosen_ops();
	pthread_t thread;
	int err;

	fs.mountpoint = config->mountpoint;
	if (fs.options.leaves || fs.options.fails_to_leave) {
		config->mounted = leave_mount;
		config->unmount_from_outside = true;
	}
	if (llfuse_init(&ops, config, &fs, &fs.session))
		return 1;
	if (fs.options.stops_early) {
		llfuse_log(LLFUSE_LOG_INFO, "probefs", "notify before main: %d",
			   llfuse_notify_inval_inode(fs.session, LLFUSE_ROOT_INODE, 0, 0));
		llfuse_stop(fs.session);
	}
	pthread_create(&thread, NULL, run_commands, NULL);
	err = llfuse_main(fs.session);
	end_commands(thread);
	llfuse_log(LLFUSE_LOG_INFO, "probefs", "main: %d", err);
	llfuse_close(fs.session, !fs.options.is_kept_mounted);
	return err ? 1 : 0;
}

int main(int argc, char **argv)
{
	const struct llfuse_program program = {
		.name = "probefs", .summary = "Serves the tests of the library.", .options = option_table};
	struct llfuse_command command;
	int status = llfuse_command_parse(&command, &program, argc, argv, &fs.options);

	if (status < 0 && !make_pattern())
		status = 1;
	if (status < 0) {
		make_nodes();
		status = serve(&command.config);
		free_all();
	}
	llfuse_command_free(&command);
	return status;
}
