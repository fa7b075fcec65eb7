/* SPDX-License-Identifier: MIT */
/*
 * by_path: how not to mirror a tree.  `by_path SOURCE MOUNTPOINT` does what a first idea of passthroughfs would do: it
 * remembers a path for each inode and gives that to the system calls, which follow whatever lies there by now; it opens
 * what it wants to look at; and it believes the numbers in file handles.  With -o by_descriptor an inode is a
 * descriptor, wherever that has been moved to.
 *
 * tests/mounted/test_confined.py breaks out of it, to prove that its attempts are good for something.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "llfuse.h"

/* An inode.  None is ever forgotten. */
struct node {
	struct node *next;
	uint64_t ino;
	mode_t type;
	char *name; /* the path under which it was found */
	char *path; /* by which it is used */
};

static struct {
	bool by_descriptor;
	int source_fd;
	pthread_mutex_t lock;
	/* guarded by lock */
	struct node *nodes;
	uint64_t last_ino;
} mirror = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int result(long done)
{
	return done < 0 ? -errno : 0;
}

static struct node *find(uint64_t ino)
{
	struct node *node;

	pthread_mutex_lock(&mirror.lock);
	for (node = mirror.nodes; node && node->ino != ino; node = node->next)
		;
	pthread_mutex_unlock(&mirror.lock);
	return node;
}

static const char *path_of(uint64_t ino)
{
	const struct node *node = find(ino);

	return node ? node->path : ""; /* which no system call finds */
}

/* A path below a node's. */
struct child {
	char path[PATH_MAX];
};

static struct child child_of(uint64_t parent, const char *name)
{
	struct child child;

	(void)snprintf(child.path, sizeof(child.path), "%s/%s", path_of(parent), name);
	return child;
}

static char *usable_path(const char *path)
{
	char *made = NULL;

	if (!mirror.by_descriptor)
		return strdup(path);
	(void)asprintf(&made, "/proc/self/fd/%d", open(path, O_PATH | O_NOFOLLOW));
	return made;
}

/* The number of what was found at @path; @ino, if it is not 0, for what is new. */
static uint64_t learn(const char *path, mode_t mode, uint64_t ino)
{
	struct node *node;

	pthread_mutex_lock(&mirror.lock);
	for (node = mirror.nodes; node && (node->type != (mode & S_IFMT) || strcmp(node->name, path));
	     node = node->next)
		;
	if (!node) {
		node = calloc(1, sizeof(*node));
		node->ino = ino ? ino : ++mirror.last_ino;
		node->type = mode & S_IFMT;
		node->name = strdup(path);
		node->path = usable_path(path);
		node->next = mirror.nodes;
		mirror.nodes = node;
	}
	ino = node->ino;
	pthread_mutex_unlock(&mirror.lock);
	return ino;
}

/* Opens what there is, to look at it. */
static int look(const char *path, struct stat *attr)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK);
	int err = fd < 0 ? -errno : result(fstat(fd, attr));

	if (fd >= 0)
		close(fd);
	return err;
}

/* Names are to be looked up each time, so that there is something to race with. */
static int fill(const char *path, uint64_t ino, struct llfuse_entry *entry)
{
	int err = result(lstat(path, &entry->attr));

	if (!err && !S_ISLNK(entry->attr.st_mode) && !S_ISDIR(entry->attr.st_mode))
		err = look(path, &entry->attr);
	if (err)
		return err;
	entry->attr_timeout_s = 1;
	entry->ino = learn(path, entry->attr.st_mode, ino);
	return 0;
}

static int fill_child(uint64_t parent, const char *name, struct llfuse_entry *entry)
{
	return fill(child_of(parent, name).path, 0, entry);
}

/* For a number that nobody was told: is it not the source's, of ext4? */
static int fill_forgotten(uint64_t ino, struct llfuse_entry *entry)
{
	union {
		struct file_handle head;
		uint32_t words[4]; /* size, type, inode number, generation */
	} handle = {.words = {8, 1, (uint32_t)ino, (uint32_t)(ino >> 32)}};
	char path[PATH_MAX] = "";
	int fd = open_by_handle_at(mirror.source_fd, &handle.head, O_PATH);
	char link[32];

	if (fd < 0)
		return -ESTALE;
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	(void)!readlink(link, path, sizeof(path) - 1);
	close(fd);
	return fill(path, ino, entry);
}

static void op_init(void *userdata, struct llfuse_conn *conn)
{
	(void)userdata;
	conn->want |= LLFUSE_CAP_POSIX_ACL | LLFUSE_CAP_EXPORT_SUPPORT;
}

static int op_lookup(struct llfuse_request *req, uint64_t parent, const char *name, struct llfuse_entry *entry)
{
	(void)req;
	if (!strcmp(name, ".") && !find(parent))
		return fill_forgotten(parent, entry);
	return !strcmp(name, ".") ? fill(find(parent)->name, 0, entry) : fill_child(parent, name, entry);
}

static int op_getattr(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, struct llfuse_entry *entry)
{
	const struct node *node = find(ino);

	(void)req, (void)file;
	entry->ino = ino;
	if (S_ISLNK(node->type))
		return result(lstat(node->name, &entry->attr));
	return S_ISDIR(node->type) ? result(stat(node->path, &entry->attr)) : look(node->path, &entry->attr);
}

static int op_setattr(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, const struct stat *attr,
		      unsigned fields, struct llfuse_entry *entry)
{
	uid_t uid = fields & LLFUSE_SET_UID ? attr->st_uid : (uid_t)-1;
	gid_t gid = fields & LLFUSE_SET_GID ? attr->st_gid : (gid_t)-1;
	struct timespec times[2] = {attr->st_atim, attr->st_mtim};
	const char *path = path_of(ino);
	int err = 0;

	if (fields & (LLFUSE_SET_UID | LLFUSE_SET_GID))
		err = result(chown(path, uid, gid));
	if (!err && (fields & LLFUSE_SET_MODE))
		err = result(chmod(path, attr->st_mode & 07777));
	if (!err && (fields & LLFUSE_SET_SIZE))
		err = result(truncate(path, attr->st_size));
	if (!err && (fields & (LLFUSE_SET_ATIME | LLFUSE_SET_MTIME)))
		err = result(utimensat(AT_FDCWD, path, times, 0));
	return err ? err : op_getattr(req, ino, file, entry);
}

static int answer(struct llfuse_data *data, ssize_t n)
{
	if (n < 0)
		return -errno;
	llfuse_data_filled(data, (size_t)n);
	return 0;
}

static int op_readlink(struct llfuse_request *req, uint64_t ino, struct llfuse_data *data)
{
	(void)req;
	return answer(data, readlink(find(ino)->name, llfuse_data_room(data), llfuse_data_size(data)));
}

static int op_mknod(struct llfuse_request *req, uint64_t parent, const char *name, mode_t mode, dev_t rdev,
		    struct llfuse_entry *entry)
{
	int err = result(mknod(child_of(parent, name).path, mode, rdev));

	(void)req;
	return err ? err : fill_child(parent, name, entry);
}

static int op_mkdir(struct llfuse_request *req, uint64_t parent, const char *name, mode_t mode,
		    struct llfuse_entry *entry)
{
	int err = result(mkdir(child_of(parent, name).path, mode));

	(void)req;
	return err ? err : fill_child(parent, name, entry);
}

static int op_symlink(struct llfuse_request *req, uint64_t parent, const char *name, const char *target,
		      struct llfuse_entry *entry)
{
	int err = result(symlink(target, child_of(parent, name).path));

	(void)req;
	return err ? err : fill_child(parent, name, entry);
}

static int op_unlink(struct llfuse_request *req, uint64_t parent, const char *name)
{
	(void)req;
	return result(unlink(child_of(parent, name).path));
}

static int op_rmdir(struct llfuse_request *req, uint64_t parent, const char *name)
{
	(void)req;
	return result(rmdir(child_of(parent, name).path));
}

static int op_rename(struct llfuse_request *req, uint64_t parent, const char *name, uint64_t new_parent,
		     const char *new_name, unsigned flags)
{
	struct child old = child_of(parent, name);

	(void)req;
	return result(renameat2(AT_FDCWD, old.path, AT_FDCWD, child_of(new_parent, new_name).path, flags));
}

static int op_link(struct llfuse_request *req, uint64_t ino, uint64_t new_parent, const char *new_name,
		   struct llfuse_entry *entry)
{
	struct child new = child_of(new_parent, new_name);
	int err = result(linkat(AT_FDCWD, path_of(ino), AT_FDCWD, new.path, AT_SYMLINK_FOLLOW));

	(void)req;
	if (!err)
		err = fill(new.path, 0, entry);
	entry->ino = ino;
	return err;
}

static int opened(struct llfuse_file *file, int fd)
{
	file->fh = (uint64_t)fd;
	file->direct_io = true;
	return result(fd);
}

static int op_open(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file)
{
	(void)req;
	return opened(file, open(path_of(ino), file->flags & ~O_NOFOLLOW));
}

static int op_create(struct llfuse_request *req, uint64_t parent, const char *name, mode_t mode,
		     struct llfuse_file *file, struct llfuse_entry *entry)
{
	int err = opened(file, open(child_of(parent, name).path, file->flags & ~O_NOFOLLOW, mode));

	(void)req;
	return err ? err : fill_child(parent, name, entry);
}

/* A file without a name is one that nobody is told of. */
static int op_tmpfile(struct llfuse_request *req, uint64_t parent, mode_t mode, struct llfuse_file *file,
		      struct llfuse_entry *entry)
{
	file->flags = (file->flags & ~O_TMPFILE) | O_CREAT;
	return op_create(req, parent, ".unnamed", mode, file, entry);
}

static int op_read(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off,
		   struct llfuse_data *data)
{
	(void)req, (void)ino;
	return llfuse_data_fd(data, (int)file->fh, off, llfuse_data_size(data));
}

static ssize_t op_write(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, const void *buf,
			size_t size, off_t off)
{
	ssize_t n = pwrite((int)file->fh, buf, size, off);

	(void)req, (void)ino;
	return n < 0 ? -errno : n;
}

static int op_release(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file)
{
	(void)req, (void)ino;
	return result(close((int)file->fh));
}

static int op_opendir(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file)
{
	DIR *dir = opendir(path_of(ino));

	(void)req;
	file->fh = (uintptr_t)dir;
	return dir ? 0 : -errno;
}

static int op_readdir(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off,
		      struct llfuse_dir *dir)
{
	DIR *stream = (DIR *)(uintptr_t)file->fh;
	const struct dirent *item;

	(void)req;
	off ? seekdir(stream, off) : rewinddir(stream);
	while ((item = readdir(stream))) {
		struct llfuse_entry entry = {.attr = {.st_ino = item->d_ino, .st_mode = DTTOIF((mode_t)item->d_type)}};

		if (llfuse_dir_wants_attr(dir) && item->d_name[0] != '.')
			(void)fill_child(ino, item->d_name, &entry); /* else without attributes */
		if (llfuse_dir_add(dir, item->d_name, &entry, telldir(stream)) == LLFUSE_DIR_FULL)
			break;
	}
	return 0;
}

static int op_releasedir(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file)
{
	(void)req, (void)ino;
	return result(closedir((DIR *)(uintptr_t)file->fh));
}

static int op_setxattr(struct llfuse_request *req, uint64_t ino, const char *name, const void *value, size_t size,
		       int flags)
{
	(void)req;
	return result(setxattr(path_of(ino), name, value, size, flags));
}

static int op_getxattr(struct llfuse_request *req, uint64_t ino, const char *name, struct llfuse_data *data)
{
	(void)req;
	return answer(data, getxattr(path_of(ino), name, llfuse_data_room(data), llfuse_data_size(data)));
}

static int op_listxattr(struct llfuse_request *req, uint64_t ino, struct llfuse_data *data)
{
	(void)req;
	return answer(data, listxattr(path_of(ino), llfuse_data_room(data), llfuse_data_size(data)));
}

static int op_removexattr(struct llfuse_request *req, uint64_t ino, const char *name)
{
	(void)req;
	return result(removexattr(path_of(ino), name));
}

static const struct llfuse_ops ops = {
	.init = op_init,
	.lookup = op_lookup,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.release = op_release,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.releasedir = op_releasedir,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
	.create = op_create,
	.tmpfile = op_tmpfile,
};

struct options {
	bool by_descriptor;
};

static const struct llfuse_option options[] = {
	{"by_descriptor", LLFUSE_OPTION_FLAG, offsetof(struct options, by_descriptor), NULL,
	 "keep descriptors, not paths"},
	{NULL, LLFUSE_OPTION_FLAG, 0, NULL, NULL},
};

static int serve(const struct llfuse_command *command, const struct options *given)
{
	const char *source = command->arguments[0];

	umask(0);
	mirror.by_descriptor = given->by_descriptor;
	mirror.source_fd = open(source, O_RDONLY | O_DIRECTORY);
	if (mirror.source_fd < 0 || learn(source, S_IFDIR, LLFUSE_ROOT_INODE) != LLFUSE_ROOT_INODE)
		return 1;
	mirror.last_ino = LLFUSE_ROOT_INODE;
	return llfuse_run(&ops, &command->config, NULL);
}

int main(int argc, char **argv)
{
	static const char *const arguments[] = {"SOURCE", NULL};
	const struct llfuse_program program = {
		.name = "by_path",
		.summary = "Mirrors SOURCE without any care.",
		.arguments = arguments,
		.options = options,
	};
	struct options given = {false};
	struct llfuse_command command;
	int status = llfuse_command_parse(&command, &program, argc, argv, &given);

	if (status < 0)
		status = serve(&command, &given);
	llfuse_command_free(&command);
	return status;
}
