/* SPDX-License-Identifier: MIT */
/*
 * Any bytes are loaded as a database.  With --seeds FROM TO, in place of fuzzing, the databases that the statements in
 * the directory FROM (tests/data/refused) make are written to TO, to begin with.
 */
#include "loading.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void make_seed(const char *from, const char *to, const char *name)
{
	char path[4096], text[8192];
	FILE *file;
	size_t n;

	(void)snprintf(path, sizeof(path), "%s/%s", from, name);
	file = fopen(path, "r");
	MUST(file);
	n = (size_t)snprintf(text, sizeof(text), "PRAGMA ignore_check_constraints = ON;");
	n += fread(text + n, 1, sizeof(text) - n - 1, file);
	text[n] = '\0';
	fclose(file);
	(void)snprintf(path, sizeof(path), "%s/%s.db", to, name);
	fuzz_make_small_tree(path);
	fuzz_run(path, text);
}

static void make_seeds(const char *from, const char *to)
{
	DIR *dir = opendir(from);
	struct dirent *entry;

	MUST(dir);
	while ((entry = readdir(dir)))
		if (strstr(entry->d_name, ".sql"))
			make_seed(from, to, entry->d_name);
	closedir(dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	if (*argc == 4 && strcmp((*argv)[1], "--seeds") == 0) {
		make_seeds((*argv)[2], (*argv)[3]);
		exit(0);
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	const char *path = fuzz_path("a.db");
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	MUST(fd >= 0);
	MUST(write(fd, bytes, n) == (ssize_t)n);
	close(fd);
	fuzz_load(path);
	return 0;
}
