/* SPDX-License-Identifier: MIT */
/* Who asks: what a request does not say of its caller, and /proc does. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "call.h"

int llfuse_groups(const struct llfuse_request *req, size_t n, gid_t *groups)
{
	gid_t *all = NULL;
	ssize_t count;

	if (!req->internal)
		return -ENOSYS;
	if (req->pid <= 0)
		return -ESRCH;
	count = llfuse_get_sup_groups(req->pid, &all);
	if (count > 0 && n)
		memcpy(groups, all, ((size_t)count < n ? (size_t)count : n) * sizeof(*groups));
	free(all);
	return (int)count;
}

bool llfuse_in_group(const struct llfuse_request *req, gid_t gid)
{
	gid_t *groups = NULL;
	bool is_in = req->gid == gid;
	ssize_t n;

	if (is_in || !req->internal || req->pid <= 0)
		return is_in;
	n = llfuse_get_sup_groups(req->pid, &groups);
	for (ssize_t i = 0; i < n && !is_in; i++)
		is_in = groups[i] == gid;
	free(groups);
	return is_in;
}

static size_t read_user_map(const char *path, char *map, size_t size)
{
	FILE *file = ll_proc_fopen(path);
	size_t n;

	if (!file)
		return 0;
	n = fread(map, 1, size, file);
	fclose(file);
	return n;
}

/* For who gave up CAP_SYS_PTRACE.  What users are there, as we see them: a namespace of the same has been made by who may
 * be all of them, and is taken for ours. */
static bool has_our_users(pid_t pid)
{
	char path[40], theirs[512], ours[512];
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/uid_map", pid);
	n = read_user_map(path, theirs, sizeof(theirs));
	return n && n < sizeof(theirs) && n == read_user_map("/proc/self/uid_map", ours, sizeof(ours)) &&
	       !memcmp(theirs, ours, n);
}

static bool stat_proc(const char *path, struct stat *st)
{
	int dir_fd = ll_proc_at(&path);

	return fstatat(dir_fd, path, st, 0) == 0;
}

/* Where it is in user namespaces decides what a capability is worth. */
static bool is_in_our_user_namespace(pid_t pid)
{
	struct stat theirs, ours;
	char path[40];

	if (!stat_proc("/proc/self/ns/user", &ours))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
	if (stat_proc(path, &theirs))
		return theirs.st_ino == ours.st_ino;
	return errno == EACCES && has_our_users(pid);
}

/* The effective capabilities.  Returns false if they cannot be read. */
static bool read_capabilities(pid_t pid, uint64_t *capabilities)
{
	char path[40], line[256];
	bool is_found = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = ll_proc_fopen(path);
	if (!file)
		return false;
	while (!is_found && fgets(line, sizeof(line), file))
		is_found = sscanf(line, "CapEff: %" SCNx64, capabilities) == 1;
	fclose(file);
	return is_found;
}

bool llfuse_has_capability(const struct llfuse_request *req, int capability)
{
	uint64_t capabilities;

	if (!req->internal || req->pid <= 0 || !read_capabilities(req->pid, &capabilities))
		return req->uid == 0;
	return (capabilities >> capability & 1) && is_in_our_user_namespace(req->pid);
}
