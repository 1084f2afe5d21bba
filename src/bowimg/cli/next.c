/* SPDX-License-Identifier: MIT */
/*
 * The library knows the image; the runtime directory knows who has it. Only both together give
 * advice that works: an image that is mounted has to be unmounted first.
 */
#include "bowimg/cli/next.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/show.h"

const char *bow_next_served(const struct bow_served *served, char *out, size_t bytes)
{
	static const char *const verbs[] = {
		[BOW_SERVED_MOUNT] = "mounted at",
		[BOW_SERVED_LOOP] = "attached as",
		[BOW_SERVED_FUSE] = "attached as",
		[BOW_SERVED_NBD] = "served at",
	};

	if (!served->alive)
		snprintf(out, bytes, "left by a process that was killed; nothing is lost");
	else if (served->before_only)
		snprintf(out, bytes, "as it was at %s%s, %s %s (process %d)",
			 served->mark[0] ? "the mark " : "prepare", served->mark,
			 verbs[served->how], served->where, (int)served->pid);
	else
		snprintf(out, bytes, "%s %s%s%s (process %d)", verbs[served->how], served->where,
			 !served->before_dir[0]	   ? ""
			 : served->before_attached ? ", as it was as "
						   : ", as it was at ",
			 served->before_dir, (int)served->pid);
	return out;
}

/* With a name that fits, see BOW_WORD(). */
enum { COMMAND_MAX = 192 };

/* The command that ends it; `name` is the image, or where it is mounted. */
static void end_it(const struct bow_served *served, const char *name, char *out, size_t bytes)
{
	if (served->how == BOW_SERVED_NBD)
		snprintf(out, bytes, "kill %d", (int)served->pid);
	else
		snprintf(out, bytes, "bowimg %s %s",
			 served->how == BOW_SERVED_MOUNT ? "umount" : "detach", BOW_WORD(name));
}

/* The commands that set the image free. */
static void free_it(const char *image, const struct bow_served *served, char *out, size_t bytes)
{
	bool mounted = served->how == BOW_SERVED_MOUNT && served->alive;
	size_t used = 0;

	if (served->before_dir[0])
		used = (size_t)snprintf(out, bytes, "bowimg %s %s, then ",
					served->before_attached ? "detach" : "umount",
					BOW_WORD(served->before_dir));
	end_it(served, mounted ? served->where : image, out + used, bytes - used);
}

/* What the library says of nbdkit names the process that has the image, which is not bowimg's. */
static bool find_daemon(const char *image, struct bow_served *out)
{
	return bow_served_find(image, out) && out->alive && out->how != BOW_SERVED_NBD;
}

bool bow_next_in_use(const char *image, char *out, size_t bytes)
{
	char command[COMMAND_MAX];
	struct bow_served served;

	if (!find_daemon(image, &served))
		return false;
	end_it(&served, image, command, sizeof(command));
	if (snprintf(out, bytes, "process %d serves it at %s; to end that: %s", (int)served.pid,
		     served.where, command) >= (int)bytes)
		snprintf(out, bytes, "process %d serves it; to end that: %s", (int)served.pid,
			 command);
	return true;
}

bool bow_next_hint(const char *image, const char *message, char *out, size_t bytes)
{
	char process[32], command[COMMAND_MAX];
	struct bow_served served;

	if (!find_daemon(image, &served))
		return false;
	snprintf(process, sizeof(process), "in use: process %d ", (int)served.pid);
	if (!strstr(message, process))
		return false;
	end_it(&served, image, command, sizeof(command));
	snprintf(out, bytes, "%s: %s",
		 served.before_only
			 ? "only as it was, which goes beside the disk if that comes first"
			 : "end that first",
		 command);
	return true;
}

static void next_of_checkpoint(const char *image, const struct bowimg_status *s,
			       const struct bow_served *served, char *out, size_t bytes)
{
	char word[BOW_SHOWN_MAX(PATH_MAX)], first[3 * PATH_MAX];
	const char *name = bow_shell_word(word, sizeof(word), image);

	if (served) {
		free_it(image, served, first, sizeof(first));
		snprintf(out, bytes, "%s, then bowimg rollback %s (or commit)", first, name);
	} else if (s->in_use) {
		snprintf(out, bytes,
			 "end the process that uses it, then bowimg rollback %s (or commit)", name);
	} else {
		snprintf(out, bytes, "bowimg mount %s DIR, bowimg rollback %s, or bowimg commit %s",
			 name, name, name);
	}
}

const char *bow_next_step(const char *image, const struct bowimg_status *s,
			  const struct bow_served *served, char *out, size_t bytes)
{
	if (s->state == BOWIMG_STATE_CHECKPOINT && strcmp(s->format, "bowimg") == 0)
		next_of_checkpoint(image, s, served, out, bytes);
	else
		snprintf(out, bytes, "%s", s->next);
	return out;
}
