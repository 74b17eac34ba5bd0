// SPDX-License-Identifier: GPL-2.0-only
/*
 * How far a verb is. SIGUSR1 is held back for good, so no system call ends early, and is looked for whenever something
 * is done or waited for, as backup/cancel.c does with other signals.
 */
#include <inttypes.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "err.h"
#include "out.h"
#include "progress.h"

#define BAR_CELLS	20
#define BAR_COLUMNS	80	/* a terminal has to have, for all that stands beside the bar */
#define BAR_NS		100000000ULL
#define LINE_NS		1000000000ULL

static enum progress_mode mode = PROGRESS_NONE;

/**
 * struct step - what is under way
 * @verb: "copied", say; NULL: nothing is
 * @total: bytes
 * @done: so many of them
 * @since: when it began
 * @shown: when something was printed last
 * @percent: what that was
 */
static struct step {
	const char *verb;
	uint64_t total;
	uint64_t done;
	uint64_t since;
	uint64_t shown;
	int percent;
} step;

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/**
 * progress_parse() - what --progress says
 *
 * Return: an exit code; what is wrong has been reported.
 */
int progress_parse(const char *text, enum progress_mode *to)
{
	static const char *const words[] = { "auto", "none", "plain", "json" };

	for (unsigned int i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!strcmp(text, words[i])) {
			*to = i;
			return VBLK_OK;
		}
	}
	return err_report(VBLK_USAGE, "--progress", "neither auto, none, plain nor json");
}

/** progress_init() - from here on SIGUSR1 asks, and does not end the process */
void progress_init(enum progress_mode wanted)
{
	sigset_t set;

	mode = wanted;
	if (mode == PROGRESS_AUTO && !isatty(STDERR_FILENO))
		mode = PROGRESS_NONE;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

/** progress_undo() - in a child, which is to take the signal as others do */
void progress_undo(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static int percent_now(void)
{
	return step.total ? (double)step.done / step.total * 100 : 100;
}

/* "8.4G of 20G, 312M/s, 37 s left" */
static void describe(char *text, size_t size)
{
	char done[16], total[16], rate[16];
	double seconds = (now() - step.since) / 1e9;
	double bytes_per_second = seconds > 0 ? step.done / seconds : 0;
	int len;

	out_format_bytes(step.done, done, sizeof(done));
	out_format_bytes(step.total, total, sizeof(total));
	out_format_bytes(bytes_per_second, rate, sizeof(rate));
	len = snprintf(text, size, "%s of %s, %s/s", done, total, rate);
	if (bytes_per_second >= 1 && step.done < step.total)
		snprintf(text + len, size - len, ", %.0f s left",
			 (step.total - step.done) / bytes_per_second);
}

static bool has_room(void)
{
	struct winsize size;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= BAR_COLUMNS;
}

static void draw_bar(int percent)
{
	char bar[BAR_CELLS + 1], text[64];
	int cells = percent * BAR_CELLS / 100;

	if (percent == 100 || !has_room()) {
		fprintf(stderr, "\r%*s\r%3d %% %s%c", percent == 100 && has_room() ? BAR_COLUMNS - 1 : 0,
			"", percent, step.verb, percent == 100 ? '\n' : '\r');
		err_wipe(percent < 100);
		return;
	}
	memset(bar, ' ', BAR_CELLS);
	memset(bar, '#', cells);
	bar[BAR_CELLS] = '\0';
	describe(text, sizeof(text));
	fprintf(stderr, "%3d %% %s [%s] %-36.36s\r", percent, step.verb, bar, text);
	err_wipe(true);
}

static void print_json(int percent)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "progress", json_object_new_string(step.verb));
	json_object_object_add(o, "done_bytes", out_bytes_json(step.done));
	json_object_object_add(o, "total_bytes", out_bytes_json(step.total));
	json_object_object_add(o, "percent", json_object_new_int(percent));
	fprintf(stderr, "%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
	json_object_put(o);
}

static void print_line(int percent)
{
	char text[64];

	describe(text, sizeof(text));
	fprintf(stderr, "%s%3d %% %s, %s\n", mode == PROGRESS_AUTO ? "\r\033[K" : "", percent, step.verb,
		text);
}

static void show(int percent)
{
	switch (mode) {
	case PROGRESS_AUTO:
		draw_bar(percent);
		break;
	case PROGRESS_PLAIN:
		fprintf(stderr, "%3d %% %s\n", percent, step.verb);
		break;
	case PROGRESS_JSON:
		print_json(percent);
		break;
	case PROGRESS_NONE:
		break;
	}
}

/* Not more often than anybody can read; the beginning and the end always. */
static void show_what_is_new(void)
{
	uint64_t pause = mode == PROGRESS_AUTO ? BAR_NS : LINE_NS;
	int percent = percent_now();
	uint64_t at;

	if (mode == PROGRESS_NONE || percent == step.percent)
		return;
	at = now();
	if (step.percent >= 0 && percent < 100 && at - step.shown < pause)
		return;
	step.shown = at;
	step.percent = percent;
	show(percent);
}

/**
 * progress_start() - something begins that takes long
 * @verb: what is done to the bytes: "copied", say
 * @total_bytes: how many there are
 */
void progress_start(const char *verb, uint64_t total_bytes)
{
	step = (struct step) { .verb = verb, .total = total_bytes, .since = now(), .percent = -1 };
	progress_update(0);
}

/** progress_update() - so much of it is done */
void progress_update(uint64_t done_bytes)
{
	if (!step.verb)
		return;
	step.done = done_bytes < step.total ? done_bytes : step.total;
	show_what_is_new();
	progress_poll();
}

/** progress_poll() - for whoever waits: answer to SIGUSR1 */
void progress_poll(void)
{
	const struct timespec at_once = {};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	if (!step.verb || sigtimedwait(&set, NULL, &at_once) != SIGUSR1)
		return;
	if (mode == PROGRESS_JSON)
		print_json(percent_now());
	else
		print_line(percent_now());
}

/** progress_end() - it is done, or has failed */
void progress_end(void)
{
	step.verb = NULL;
}
