/* SPDX-License-Identifier: MIT */
/*
 * The command line that all programs share, and each one's own options, parsed in one
 * place with fuse_opt.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum {
	KEY_HELP,
	KEY_VERSION,
	KEY_DEBUG,
	KEY_DEBUG_FUSE,
	KEY_SINGLE,
	KEY_FOREGROUND,
	KEY_DAEMON,
	KEY_IO_URING,
	KEY_NO_IO_URING,
	KEY_RING_DEPTH,
	KEY_NO_YIELD,
	KEY_PROGRAM, /* and the program's options behind it, in their order */
};

static const struct fuse_opt common_options[] = {
	OPTION_KEY("-h", KEY_HELP),
	OPTION_KEY("--help", KEY_HELP),
	OPTION_KEY("-V", KEY_VERSION),
	OPTION_KEY("--version", KEY_VERSION),
	OPTION_KEY("--debug", KEY_DEBUG),
	OPTION_KEY("--debug-fuse", KEY_DEBUG_FUSE),
	OPTION_KEY("-d", KEY_DEBUG_FUSE),
	OPTION_KEY("debug", KEY_DEBUG_FUSE),
	OPTION_KEY("--single", KEY_SINGLE),
	OPTION_KEY("-s", KEY_SINGLE),
	OPTION_KEY("-f", KEY_FOREGROUND),
	OPTION_KEY("--daemon", KEY_DAEMON),
	OPTION_KEY("io_uring", KEY_IO_URING),
	OPTION_KEY("no_io_uring", KEY_NO_IO_URING),
	OPTION_KEY("io_uring_q_depth=", KEY_RING_DEPTH),
	OPTION_KEY("no_yield", KEY_NO_YIELD),
};

enum { HELP_COLUMN = 27 }; /* where the explanations begin */

static const char common_help[] =
	"  -h, --help               show this help and exit\n"
	"  -V, --version            show the versions and exit\n"
	"      --debug              log at debug level\n"
	"      --debug-fuse, -d     log each request\n"
	"      --single, -s         answer one request at a time\n"
	"      --daemon             go to the background once mounted\n"
	"  -f                       stay in the foreground (the default)\n"
	"  -o OPT[,OPT...]          mount options:\n"
	"      io_uring             requests over io_uring, where the kernel offers it (default)\n"
	"      no_io_uring          requests over /dev/fuse\n"
	"      io_uring_q_depth=N   requests at once on each CPU's ring (default 8)\n"
	"      no_yield             on io_uring: leave the scheduling of threads alone\n"
	"      max_threads=N        threads on /dev/fuse at most (default 10)\n"
	"      allow_other          let other users in\n"
	"      allow_root           let root in\n"
	"      auto_unmount         unmount when the program dies\n"
	"      fsname=NAME          the source shown by mount(8)\n"
	"      subtype=NAME         the type shown by mount(8), behind \"fuse.\"\n"
	"      ro, nosuid, nodev, noexec ...  as mount(8)\n";

/* Passed on to libfuse, as they are or with a value. */
static const char *const mount_options[] = {
	"ro",          "rw",         "suid",         "nosuid",       "dev",
	"nodev",       "exec",       "noexec",       "async",        "sync",
	"dirsync",     "noatime",    "nodiratime",   "symfollow",    "nosymfollow",
	"allow_other", "allow_root", "auto_unmount", "clone_fd",     "default_permissions",
	"fsname=",     "subtype=",   "max_read=",    "max_threads=", "max_idle_threads=",
	"context=",    "fscontext=", "defcontext=",  "rootcontext=",
};

/* For mount(8), fstab(5) and systemd, or without meaning to FUSE: accepted and dropped, also where a program gives them to
 * llfuse_init() itself. */
static const char *const ignored_options[] = {
	"defaults",   "auto",        "noauto",        "user",     "user=",      "nouser",   "users",
	"owner",      "group",       "nofail",        "_netdev",  "atime",      "diratime", "relatime",
	"norelatime", "strictatime", "nostrictatime", "lazytime", "nolazytime", "iversion", "noiversion",
	"mand",       "nomand",      "silent",        "loud",     "comment=",
};

/* What llfuse_command_free() frees. */
struct internal {
	char **strings;
	size_t n_strings;
	char *mount_options;
};

struct parse {
	struct llfuse_command *command;
	const struct llfuse_program *program;
	void *values;
	struct internal *internal;
	char **operands;
	size_t n_operands;
	bool wants_help, wants_version, is_refused;
};

static bool is_listed(const char *option, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t length = strlen(list[i]);

		if (list[i][length - 1] == '=' ? !strncmp(option, list[i], length) : !strcmp(option, list[i]))
			return true;
	}
	return false;
}

bool ll_option_is_ignored(const char *option)
{
	return is_listed(option, ignored_options, ARRAY_SIZE(ignored_options)) || !strncasecmp(option, "x-", 2);
}

static int refuse(struct parse *parse, const char *what, const char *option)
{
	llfuse_complain(parse->program->name, "%s%s (see --help)", what, option);
	parse->is_refused = true;
	return -1;
}

static int refuse_value(struct parse *parse, const char *option, const char *expected)
{
	llfuse_complain(parse->program->name, "%s: not %s", option, expected);
	parse->is_refused = true;
	return -1;
}

static int refuse_memory(struct parse *parse)
{
	llfuse_complain(parse->program->name, "%s", strerror(ENOMEM));
	parse->is_refused = true;
	return -1;
}

static char *keep_string(struct internal *internal, const char *string)
{
	char **strings = realloc(internal->strings, (internal->n_strings + 1) * sizeof(*strings));
	char *copy;

	if (!strings)
		return NULL;
	internal->strings = strings;
	copy = strdup(string);
	if (copy)
		strings[internal->n_strings++] = copy;
	return copy;
}

/* Digits only, all of @text, at most @max. */
static bool parse_number(const char *text, int base, uint64_t max, uint64_t *number)
{
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	*number = strtoull(text, &end, base);
	return !errno && !*end && *number <= max;
}

static bool parse_seconds(const char *text, double *seconds)
{
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return false;
	*seconds = strtod(text, &end);
	return !*end && *seconds <= LLFUSE_FOREVER_S;
}

static int store_value(struct parse *parse, const struct llfuse_option *option, const char *given)
{
	const char *text = strchr(given, '=');
	char *field = (char *)parse->values + option->offset;
	uint64_t number;
	double seconds;
	char *string;

	text = text ? text + 1 : "";
	switch (option->type) {
	case LLFUSE_OPTION_FLAG:
		*(bool *)(void *)field = true;
		return 0;
	case LLFUSE_OPTION_STRING:
		string = keep_string(parse->internal, text);
		if (!string)
			return refuse_memory(parse);
		*(char **)(void *)field = string;
		return 0;
	case LLFUSE_OPTION_UINT:
		if (!parse_number(text, 10, UINT64_MAX, &number))
			return refuse_value(parse, given, "a number");
		*(uint64_t *)(void *)field = number;
		return 0;
	case LLFUSE_OPTION_MODE:
		if (!parse_number(text, 8, 07777, &number))
			return refuse_value(parse, given, "an octal mode");
		*(mode_t *)(void *)field = (mode_t)number;
		return 0;
	case LLFUSE_OPTION_SECONDS:
		if (!parse_seconds(text, &seconds))
			return refuse_value(parse, given, "a number of seconds");
		*(double *)(void *)field = seconds;
		return 0;
	}
	return -1;
}

static int take_mount_option(struct parse *parse, const char *option)
{
	if (!option[0]) /* "ro," */
		return 0;
	if (option[0] == '-')
		return refuse(parse, "unknown option: ", option);
	if (ll_option_is_ignored(option))
		return 0;
	if (!is_listed(option, mount_options, ARRAY_SIZE(mount_options)))
		return refuse(parse, "unknown option: -o ", option);
	if (option[strlen(option) - 1] == '=')
		return refuse(parse, "needs a value: -o ", option);
	if (!strncmp(option, "max_", 4)) {
		uint64_t number;

		if (!parse_number(strchr(option, '=') + 1, 10, INT32_MAX, &number))
			return refuse_value(parse, option, "a number");
	}
	if (fuse_opt_add_opt_escaped(&parse->internal->mount_options, option))
		return refuse_memory(parse);
	return 0;
}

static int take_operand(struct parse *parse, const char *operand)
{
	char **operands = realloc(parse->operands, (parse->n_operands + 1) * sizeof(*operands));

	if (!operands)
		return refuse_memory(parse);
	parse->operands = operands;
	operands[parse->n_operands] = keep_string(parse->internal, operand);
	if (!operands[parse->n_operands])
		return refuse_memory(parse);
	parse->n_operands++;
	return 0;
}

static int take_ring_depth(struct parse *parse, const char *option)
{
	uint64_t depth;

	if (!parse_number(strchr(option, '=') + 1, 10, 1024, &depth) || !depth)
		return refuse_value(parse, option, "a number from 1 to 1024");
	parse->command->config.ring_depth = (unsigned)depth;
	return 0;
}

static int take_argument(void *data, const char *arg, int key, struct fuse_args *out)
{
	struct parse *parse = data;
	struct llfuse_config *config = &parse->command->config;

	(void)out; /* nothing is kept in the argument list */
	if (key >= KEY_PROGRAM)
		return store_value(parse, &parse->program->options[key - KEY_PROGRAM], arg);
	switch (key) {
	case FUSE_OPT_KEY_OPT:
		return take_mount_option(parse, arg);
	case FUSE_OPT_KEY_NONOPT:
		return take_operand(parse, arg);
	case KEY_HELP:
		parse->wants_help = true;
		break;
	case KEY_VERSION:
		parse->wants_version = true;
		break;
	case KEY_DEBUG:
		config->debug = true;
		break;
	case KEY_DEBUG_FUSE:
		config->debug_fuse = true;
		break;
	case KEY_SINGLE:
		config->workers = 1;
		break;
	case KEY_FOREGROUND:
		config->daemon = false;
		break;
	case KEY_DAEMON:
		config->daemon = true;
		break;
	case KEY_IO_URING:
		config->transport = LLFUSE_TRANSPORT_IO_URING;
		break;
	case KEY_NO_IO_URING:
		config->transport = LLFUSE_TRANSPORT_DEV_FUSE;
		break;
	case KEY_RING_DEPTH:
		return take_ring_depth(parse, arg);
	case KEY_NO_YIELD:
		config->no_yield = true;
		break;
	}
	return 0;
}

static size_t count_options(const struct llfuse_option *options)
{
	size_t n = 0;

	while (options && options[n].name)
		n++;
	return n;
}

/* "--file" and "mode" become the templates "--file=" and "mode=". */
static char *template_of(struct internal *internal, const struct llfuse_option *option)
{
	const char *end = option->type == LLFUSE_OPTION_FLAG ? "" : "=";
	char *name = NULL, *kept;

	if (asprintf(&name, "%s%s", option->name, end) < 0)
		return NULL;
	kept = keep_string(internal, name);
	free(name);
	return kept;
}

static struct fuse_opt *all_options(struct parse *parse)
{
	size_t n_own = count_options(parse->program->options), n = 0;
	struct fuse_opt *all = calloc(ARRAY_SIZE(common_options) + n_own + 1, sizeof(*all));

	if (!all)
		return NULL;
	memcpy(all, common_options, sizeof(common_options));
	n = ARRAY_SIZE(common_options);
	for (size_t i = 0; i < n_own; i++) {
		char *template = template_of(parse->internal, &parse->program->options[i]);

		if (!template) {
			free(all);
			return NULL;
		}
		all[n++] = (struct fuse_opt)OPTION_KEY(template, KEY_PROGRAM + (int)i);
	}
	all[n] = (struct fuse_opt)FUSE_OPT_END;
	return all;
}

static const struct llfuse_option *long_option_with_value(const struct llfuse_program *program, const char *arg)
{
	for (size_t i = 0; i < count_options(program->options); i++) {
		const struct llfuse_option *option = &program->options[i];

		if (option->type != LLFUSE_OPTION_FLAG && option->name[0] == '-' && !strcmp(option->name, arg))
			return option;
	}
	return NULL;
}

/* Copies @argv, with `--file VALUE` made into `--file=VALUE`: fuse_opt would take `--files` for it too. */
static int copy_arguments(struct parse *parse, int argc, char **argv, struct fuse_args *args)
{
	bool is_ended = false;

	for (int i = 0; i < argc; i++) {
		char *joined = NULL;
		int err;

		is_ended = is_ended || (i && !strcmp(argv[i], "--"));
		if (i && !is_ended && long_option_with_value(parse->program, argv[i])) {
			if (i + 1 == argc)
				return refuse(parse, "needs a value: ", argv[i]);
			if (asprintf(&joined, "%s=%s", argv[i], argv[i + 1]) < 0)
				return refuse_memory(parse);
			i++;
		}
		if (!is_ended && !strcmp(argv[i], "-o") && i + 1 == argc)
			return refuse(parse, "needs a value: ", argv[i]);
		err = fuse_opt_add_arg(args, joined ? joined : argv[i]);
		free(joined);
		if (err)
			return refuse_memory(parse);
	}
	return 0;
}

static void print_own_options(const struct llfuse_program *program, bool is_long)
{
	for (size_t i = 0; i < count_options(program->options); i++) {
		const struct llfuse_option *option = &program->options[i];
		const char *between = option->value_name ? (is_long ? " " : "=") : "";
		const char *value = option->value_name ? option->value_name : "";
		int width;

		if ((option->name[0] == '-') != is_long)
			continue;
		width = printf("      %s%s%s", option->name, between, value);
		printf("%*s%s\n", width < HELP_COLUMN ? HELP_COLUMN - width : 1, "", option->help);
	}
}

static void print_help(const struct llfuse_program *program)
{
	printf("usage: %s [options]", program->name);
	for (const char *const *name = program->arguments; name && *name; name++)
		printf(" %s", *name);
	printf(" MOUNTPOINT\n%s\n\noptions:\n", program->summary);
	print_own_options(program, true);
	fputs(common_help, stdout);
	print_own_options(program, false);
}

static int check_operands(struct parse *parse)
{
	const char *const *names = parse->program->arguments;
	size_t n_wanted = 1;

	while (names && names[n_wanted - 1])
		n_wanted++;
	if (parse->n_operands < n_wanted) {
		const char *missing = parse->n_operands + 1 < n_wanted ? names[parse->n_operands] : "MOUNTPOINT";

		return refuse(parse, "missing operand: ", missing);
	}
	if (parse->n_operands > n_wanted)
		return refuse(parse, "extra operand: ", parse->operands[n_wanted]);
	parse->command->arguments = parse->operands;
	parse->command->config.mountpoint = parse->operands[n_wanted - 1];
	return 0;
}

static void parse_arguments(struct parse *parse, int argc, char **argv)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_opt *options = all_options(parse);

	if (!options)
		(void)refuse_memory(parse);
	else if (!copy_arguments(parse, argc, argv, &args) && fuse_opt_parse(&args, parse, options, take_argument) &&
		 !parse->is_refused)
		(void)refuse(parse, "malformed command line", "");
	fuse_opt_free_args(&args);
	free(options);
}

/* Where standard output goes may be full.  Returns the exit status. */
static int end_output(const char *program)
{
	if (!fflush(stdout) && !ferror(stdout))
		return 0;
	llfuse_complain(program, "cannot write to standard output");
	return 1;
}

int llfuse_command_parse(struct llfuse_command *command, const struct llfuse_program *program, int argc, char **argv,
			 void *values)
{
	struct parse parse = {.command = command, .program = program, .values = values};

	memset(command, 0, sizeof(*command));
	command->config.name = program->name;
	ll_log_capture_libfuse();
	parse.internal = calloc(1, sizeof(*parse.internal));
	command->internal = parse.internal;
	if (!parse.internal) {
		(void)refuse_memory(&parse);
		return 2;
	}
	parse_arguments(&parse, argc, argv);
	if (!parse.is_refused && parse.wants_help)
		print_help(program);
	else if (!parse.is_refused && parse.wants_version)
		printf("%s %s (libfuse %s)\n", program->name, llfuse_version(), fuse_pkgversion());
	else if (!parse.is_refused && !check_operands(&parse)) {
		command->config.mount_options = parse.internal->mount_options;
		return -1;
	}
	free(parse.operands);
	return parse.is_refused ? 2 : end_output(program->name);
}

void llfuse_command_free(struct llfuse_command *command)
{
	struct internal *internal = command->internal;

	if (internal) {
		for (size_t i = 0; i < internal->n_strings; i++)
			free(internal->strings[i]);
		free(internal->strings);
		free(internal->mount_options);
		free(internal);
	}
	free(command->arguments);
	command->internal = NULL;
	command->arguments = NULL;
}
