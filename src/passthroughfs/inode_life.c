/* SPDX-License-Identifier: MIT */
/*
 * What an inode is and what keeps it: see inode_table.h.
 *
 * Knows when two looks at a file show the same file, when a descriptor may go, and
 * when an inode may.
 */
#include "inode_table.h"

#include "fd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

uint64_t inode_device(const struct statx *stx)
{
	return (uint64_t)stx->stx_dev_major << 32 | stx->stx_dev_minor;
}

static bool is_same_birth(const struct inode *inode, const struct statx *stx)
{
	return inode->type == (stx->stx_mode & S_IFMT) && inode->born.tv_sec == stx->stx_btime.tv_sec &&
	       inode->born.tv_nsec == stx->stx_btime.tv_nsec;
}

/* A handle that lasts tells for certain; without one there is the time of birth. */
bool inode_matches(const struct inode *inode, const struct statx *stx, const struct handle *handle)
{
	if (!inode->handle_size || !inode->mount->handles_last)
		return is_same_birth(inode, stx);
	return inode->handle_type == handle->type && inode->handle_size == handle->size &&
	       memcmp(inode->handle, handle->bytes, handle->size) == 0;
}

static struct idle_inodes *idle_of(struct inode_table *table, const struct inode *inode)
{
	return inode->has_spare_fd ? &table->spare : &table->idle;
}

void inode_leave_idle_locked(struct inode_table *table, struct inode *inode)
{
	struct idle_inodes *idle = idle_of(table, inode);

	if (!inode->is_idle)
		return;
	TAILQ_REMOVE(&idle->list, inode, idle);
	inode->is_idle = false;
	idle->n--;
}

int inode_become_idle_locked(struct inode_table *table, struct inode *inode)
{
	struct idle_inodes *idle = idle_of(table, inode);

	if (inode->is_idle || inode->holds || inode->keeps_fd || inode->fd < 0)
		return -1;
	TAILQ_INSERT_TAIL(&idle->list, inode, idle);
	inode->is_idle = true;
	idle->n++;
	if (idle->n <= idle->max)
		return -1;
	inode = TAILQ_FIRST(&idle->list);
	inode_leave_idle_locked(table, inode);
	return take_fd(&inode->fd);
}

struct inode *inode_take_unused_locked(struct inode_table *table, struct inode *inode)
{
	struct inode *unused = NULL;

	while (inode && !inode->lookups && !inode->holds && !inode->children) {
		struct inode *parent = inode->parent;

		inode_leave_idle_locked(table, inode);
		if (inode->ignores_writes)
			table->ignores_unknown = true;
		inode_hash_remove_locked(table, inode);
		mounts_unref(&table->mounts, inode->mount);
		inode->next_by_ino = unused;
		unused = inode;
		if (parent)
			parent->children--;
		inode = parent;
	}
	return unused;
}

void inode_free(struct inode *inode)
{
	fd_close(&inode->fd);
	free(inode->name);
	free(inode);
}

void inode_free_all(struct inode *unused)
{
	struct inode *next;

	for (; unused; unused = next) {
		next = unused->next_by_ino;
		inode_free(unused);
	}
}

int inode_path_fd(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	int copy;

	if (flags < 0)
		return -errno;
	if (!(flags & O_PATH))
		return fd_reopen(fd, O_PATH);
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return copy < 0 ? -errno : copy;
}

int inode_new(struct mount *mount, int fd, const struct statx *stx, const struct handle *handle, struct inode **made)
{
	scoped_fd kept = -1;
	struct inode *inode;

	if (!handle->size || mount->fd < 0) {
		kept = inode_path_fd(fd);
		if (kept < 0)
			return kept;
	}
	inode = malloc(sizeof(*inode) + handle->size);
	if (!inode)
		return -ENOMEM;
	*inode = (struct inode){
		.mount = mount,
		.dev = inode_device(stx),
		.source_ino = stx->stx_ino,
		.born = stx->stx_btime,
		.type = stx->stx_mode & S_IFMT,
		.lookups = 1,
		.fd = take_fd(&kept),
		.handle_type = handle->type,
		.handle_size = handle->size,
	};
	memcpy(inode->handle, handle->bytes, handle->size);
	*made = inode;
	return 0;
}

struct inode *inode_unplace_locked(struct inode_table *table, struct inode *inode)
{
	struct inode *parent = inode->parent;

	inode_leave_idle_locked(table, inode);
	if (!parent)
		return NULL;
	inode->parent = NULL;
	free(inode->name);
	inode->name = NULL;
	parent->children--;
	return inode_take_unused_locked(table, parent);
}

/* Renames outside can make it look as if a directory were below itself. */
static bool is_below(const struct inode *inode, const struct inode *above)
{
	while (inode && inode != above)
		inode = inode->parent;
	return inode != NULL;
}

/* Only those on the same mount are found again by name. */
struct inode *inode_place_locked(struct inode_table *table, struct inode *inode, struct inode *dir, char **name)
{
	struct inode *unused;

	if (inode_opens_by_handle(inode) || !*name || inode->mount != dir->mount)
		return NULL;
	if ((inode->parent == dir && strcmp(inode->name, *name) == 0) || is_below(dir, inode))
		return NULL;
	dir->children++; /* before it could go with the old place */
	unused = inode_unplace_locked(table, inode);
	inode->parent = dir;
	inode->name = *name;
	*name = NULL;
	return unused;
}
