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

/* Where it is in user namespaces decides what a capability is worth. */
static bool is_in_our_user_namespace(pid_t pid)
{
	const char *our_path = "/proc/self/ns/user", *their_path;
	struct stat theirs, ours;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
	their_path = path;
	return fstatat(ll_proc_at(&their_path), their_path, &theirs, 0) == 0 &&
	       fstatat(ll_proc_at(&our_path), our_path, &ours, 0) == 0 && theirs.st_ino == ours.st_ino;
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
