/* SPDX-License-Identifier: MIT */
/* hello: a whole file system.  `hello MOUNTPOINT`, then `cat MOUNTPOINT/hello`. */
#include <errno.h>
#include <llfuse.h>
#include <string.h>

static const char text[] = "Hello, world!\n";

static int op_getattr(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, struct llfuse_entry *entry)
{
	(void)req, (void)file;
	entry->ino = entry->attr.st_ino = ino;
	entry->attr_timeout_s = entry->entry_timeout_s = LLFUSE_FOREVER_S;
	entry->attr.st_nlink = 1;
	entry->attr.st_mode = ino == LLFUSE_ROOT_INODE ? S_IFDIR | 0755 : S_IFREG | 0444;
	entry->attr.st_size = ino == LLFUSE_ROOT_INODE ? 0 : sizeof(text) - 1;
	return 0;
}

static int op_lookup(struct llfuse_request *req, uint64_t parent, const char *name, struct llfuse_entry *entry)
{
	(void)parent;
	return strcmp(name, "hello") ? -ENOENT : op_getattr(req, 2, NULL, entry);
}

static int op_readdir(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off,
		      struct llfuse_dir *dir)
{
	struct llfuse_entry entry = {0};

	(void)ino, (void)file;
	op_getattr(req, 2, NULL, &entry);
	if (off == 0)
		llfuse_dir_add(dir, "hello", &entry, 1);
	return 0;
}

static int op_read(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off,
		   struct llfuse_data *data)
{
	(void)req, (void)ino, (void)file;
	if ((size_t)off >= sizeof(text) - 1)
		return 0;
	return llfuse_data_mem(data, text + off, sizeof(text) - 1 - (size_t)off);
}

int main(int argc, char **argv)
{
	const struct llfuse_program program = {.name = "hello", .summary = "Mounts one file that greets."};
	const struct llfuse_ops ops = {
		.getattr = op_getattr, .lookup = op_lookup, .readdir = op_readdir, .read = op_read};
	struct llfuse_command command;
	int status = llfuse_command_parse(&command, &program, argc, argv, NULL);

	if (status < 0)
		status = llfuse_run(&ops, &command.config, NULL);
	llfuse_command_free(&command);
	return status;
}
