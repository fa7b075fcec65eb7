/* SPDX-License-Identifier: MIT */
/*
 * model [OPTION]... SEED STEPS A B: see model.h, and usage() for the options.  A and B are empty
 * directories, B on a kernel tmpfs; both mounted with nodev.  Exit status: enum exit_status.
 */
#include "model.h"

#include "model_report.h"
#include "model_step.h"
#include "model_user.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char usage[] = "usage: model [OPTION]... SEED STEPS A B\n"
			    "Does the same STEPS random operations in A and in B, and says where they differ.\n"
			    "  --until STEP    end after this step\n"
			    "  --only LIST     do only these steps: 3,17,20-22\n"
			    "  --verbose       print each operation\n"
			    "  --thorough      after each step, look past what the kernel remembers of A\n"
			    "  --blocks        compare whether a file has blocks\n"
			    "  --no-seek-hole  leave out SEEK_HOLE and SEEK_DATA\n"
			    "  --outside DIR   A shows this directory: do some of the steps there\n";

/* ------------------------------------------------------------------------ */
/* Command line                                                              */

static uint64_t parse_number(const char *text, const char *what)
{
	char *end;
	uint64_t number;

	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno || end == text || *end)
		broken(0, "%s: %s is no number", what, text);
	return number;
}

static void parse_operands(struct settings *settings, char **operands)
{
	settings->seed = parse_number(operands[0], "SEED");
	settings->steps = parse_number(operands[1], "STEPS");
	settings->dir[A] = operands[2];
	settings->dir[B] = operands[3];
}

static void parse(struct settings *settings, int argc, char **argv)
{
	static const struct option options[] = {
		{"until", required_argument, NULL, 'u'},   {"only", required_argument, NULL, 'o'},
		{"verbose", no_argument, NULL, 'v'},       {"thorough", no_argument, NULL, 't'},
		{"blocks", no_argument, NULL, 'b'},        {"no-seek-hole", no_argument, NULL, 's'},
		{"outside", required_argument, NULL, 'd'}, {NULL, 0, NULL, 0},
	};
	uint64_t until = UINT64_MAX;
	int option;

	*settings = (struct settings){.seeks_holes = true};
	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (option) {
		case 'u':
			until = parse_number(optarg, "--until");
			break;
		case 'o':
			settings->only = optarg;
			break;
		case 'v':
			settings->is_verbose = true;
			break;
		case 't':
			settings->is_thorough = true;
			break;
		case 'b':
			settings->compares_blocks = true;
			break;
		case 'd':
			settings->source = optarg;
			break;
		case 's':
			settings->seeks_holes = false;
			break;
		default:
			fputs(usage, stderr);
			exit(EXIT_BROKEN);
		}
	}
	if (argc - optind != 4) {
		fputs(usage, stderr);
		exit(EXIT_BROKEN);
	}
	parse_operands(settings, argv + optind);
	if (until < settings->steps)
		settings->steps = until;
}

/* Whether --only names @step. */
static bool is_wanted(const struct settings *settings, uint64_t step)
{
	const char *at = settings->only;
	uint64_t from, to;
	char *end;

	if (!at)
		return true;
	while (*at) {
		from = to = strtoull(at, &end, 10);
		if (*end == '-')
			to = strtoull(end + 1, &end, 10);
		if (end == at || (*end && *end != ','))
			broken(0, "--only: %s", settings->only);
		if (from <= step && step <= to)
			return true;
		at = *end ? end + 1 : end;
	}
	return false;
}

/* ------------------------------------------------------------------------ */
/* The run                                                                   */

static void make_pattern(struct model *model)
{
	struct random random;
	size_t i;

	model->pattern_fd = memfd_create("pattern", MFD_CLOEXEC);
	if (model->pattern_fd < 0 || ftruncate(model->pattern_fd, 3 * (off_t)BYTES_MAX) < 0)
		broken(errno, "the pattern's file");
	model->pattern = mmap(NULL, 2 * BYTES_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, model->pattern_fd, 0);
	if (model->pattern == MAP_FAILED)
		broken(errno, "the pattern");
	random_start(&random, model->settings.seed, 0);
	for (i = 0; i < 2 * BYTES_MAX; i++)
		model->pattern[i] = (unsigned char)random_next(&random);
}

/* Everybody may do something in the roots. */
static void open_root(struct model *model, enum side side)
{
	struct stat st;

	model->root[side] = open(model->settings.dir[side], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (model->root[side] < 0 || fchown(model->root[side], 0, 0) < 0 || fchmod(model->root[side], 0777) < 0 ||
	    fstat(model->root[side], &st) < 0)
		broken(errno, "%s", model->settings.dir[side]);
	model->dev[side] = st.st_dev;
}

static void open_source(struct model *model)
{
	model->source_root = -1;
	if (!model->settings.source)
		return;
	model->source_root = open(model->settings.source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (model->source_root < 0)
		broken(errno, "%s", model->settings.source);
}

static void model_init(struct model *model)
{
	size_t i;

	tree_init(&model->tree);
	for (i = 0; i < SLOTS; i++)
		model->slots[i].fd[A] = model->slots[i].fd[B] = -1;
	user_init();
	open_root(model, A);
	open_root(model, B);
	open_source(model);
	make_pattern(model);
	umask(0);
	model_probe(model);
}

static void model_run(struct model *model)
{
	tree_begin_step(&model->tree);
	tree_compare(model);
	for (model->step = 1; model->step <= model->settings.steps; model->step++) {
		if (!is_wanted(&model->settings, model->step))
			continue;
		step_do(model);
		tree_compare(model);
	}
}

int main(int argc, char **argv)
{
	static struct model model;

	parse(&model.settings, argc, argv);
	model_init(&model);
	model_run(&model);
	printf("model: the same after %" PRIu64 " steps, seed %" PRIu64 "\n", model.settings.steps,
	       model.settings.seed);
	return EXIT_SAME;
}
