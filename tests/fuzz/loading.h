/* SPDX-License-Identifier: MIT */
/* What the fuzzers share: a database is loaded, and what came of it has to be a tree that can be saved and loaded again. */
#ifndef FUZZ_LOADING_H
#define FUZZ_LOADING_H

/* Ends the program if @condition does not hold, so that the fuzzer keeps the input; also where assertions are off. */
#define MUST(condition) ((condition) ? (void)0 : fuzz_fail(#condition, __FILE__, __LINE__))
_Noreturn void fuzz_fail(const char *what, const char *file, int line);

/* The path of @name in a directory of this process, which goes with it; good until the program ends. */
const char *fuzz_path(const char *name);

/* A database of ours with a directory, a file in it, and a link: what tests/data/ changes. */
void fuzz_make_small_tree(const char *path);

/* Runs statements, and takes what they say. */
void fuzz_run(const char *path, const char *sql);

/* Loads the database at @path, whatever it is. */
void fuzz_load(const char *path);

#endif
