/* SPDX-License-Identifier: MIT */
/*
 * one_number: a source whose files all say that they have the same inode number, as a server may that others work on.  The
 * files "x" and "y" hold their names.  The file "f" holds how often it was made: to look for "anew" makes it anew.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "llfuse.h"

enum {
	X_INO = 2,
	Y_INO = 3,
	F_INO = 100, /* of the first; counted on for each that is made */
	SAID_INO = 42,
};

static _Atomic uint64_t f_ino = F_INO;

static uint64_t ino_of(const char *name)
{
	if (strcmp(name, "x") == 0)
		return X_INO;
	if (strcmp(name, "y") == 0)
		return Y_INO;
	return strcmp(name, "f") == 0 ? f_ino : 0;
}

static bool is_gone(uint64_t ino)
{
	return ino >= F_INO && ino != f_ino;
}

static int op_getattr(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, struct llfuse_entry *entry)
{
	bool is_root = ino == LLFUSE_ROOT_INODE;

	(void)req;
	(void)file;
	if (is_gone(ino))
		return -ESTALE;
	*entry = (struct llfuse_entry){.ino = ino};
	entry->attr.st_ino = is_root ? ino : SAID_INO;
	entry->attr.st_mode = is_root ? S_IFDIR | 0755 : S_IFREG | 0644;
	entry->attr.st_nlink = 1;
	entry->attr.st_size = is_root ? 0 : 1;
	return 0;
}

static int op_lookup(struct llfuse_request *req, uint64_t parent, const char *name, struct llfuse_entry *entry)
{
	uint64_t ino = ino_of(name);

	(void)parent;
	if (strcmp(name, "anew") == 0)
		f_ino++;
	return ino ? op_getattr(req, ino, NULL, entry) : -ENOENT;
}

static int op_read(struct llfuse_request *req, uint64_t ino, struct llfuse_file *file, off_t off,
		   struct llfuse_data *data)
{
	static const char digits[] = "0123456789";

	(void)req;
	(void)file;
	if (is_gone(ino))
		return -ESTALE;
	if (off)
		return 0;
	if (ino >= F_INO)
		return llfuse_data_mem(data, digits + (ino - F_INO) % 10, 1);
	return llfuse_data_mem(data, ino == X_INO ? "x" : "y", 1);
}

int main(int argc, char **argv)
{
	static const struct llfuse_ops ops = {.lookup = op_lookup, .getattr = op_getattr, .read = op_read};
	const struct llfuse_program program = {
		.name = "one_number",
		.summary = "Shows files that have one inode number.",
	};
	struct llfuse_command command;
	int status = llfuse_command_parse(&command, &program, argc, argv, NULL);

	if (status < 0)
		status = llfuse_run(&ops, &command.config, NULL);
	llfuse_command_free(&command);
	return status;
}
