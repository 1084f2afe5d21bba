/* SPDX-License-Identifier: MIT */
#include "bowimg/serve/servers.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bowimg/host/process.h"
#include "bowimg/serve/runtime.h"
#include "bowimg/serve/runtime_dir.h"

#define PREFIX "nbd-"

static void set_name(char *out, size_t bytes, pid_t pid)
{
	snprintf(out, bytes, PREFIX "%d.json", (int)pid);
}

static bool is_note(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	size_t bytes = strlen(name), suffix = strlen(".json");

	return strncmp(name, PREFIX, strlen(PREFIX)) == 0 && bytes > suffix &&
	       strcmp(name + bytes - suffix, ".json") == 0;
}

static bool unpack(json_t *root, struct bow_server_note *out)
{
	const char *image = "", *uri = "";
	json_int_t pid = 0, start_time = 0;
	int before_only = 0;

	if (json_unpack(root, "{s:s, s:s, s:b, s:I, s:I}", "image", &image, "uri", &uri,
			"before-only", &before_only, "pid", &pid, "start-time", &start_time) ||
	    pid <= 0 || pid > INT_MAX || start_time < 0)
		return false;
	bow_state_unescape(out->image, sizeof(out->image), image);
	bow_state_unescape(out->uri, sizeof(out->uri), uri);
	out->before_only = before_only;
	out->pid = (pid_t)pid;
	out->start_time = (uint64_t)start_time;
	return true;
}

bool bow_servers_read(const char *path, struct bow_server_note *out)
{
	json_t *root = is_note(path) ? json_load_file(path, 0, NULL) : NULL;
	bool ok = root && unpack(root, out);

	json_decref(root);
	return ok;
}

static int remove_stale(void *ctx, const char *path)
{
	struct bow_server_note note;

	(void)ctx;
	if (bow_servers_read(path, &note) && bow_process_start_time(note.pid) != note.start_time)
		unlink(path);
	return 0;
}

void bow_servers_add(const char *image, const char *uri, bool before_only)
{
	char base[PATH_MAX], name[64];
	pid_t pid = getpid();

	if (bow_runtime_base(base, sizeof(base), NULL))
		return;
	bow_runtime_each(remove_stale, NULL, NULL);
	set_name(name, sizeof(name), pid);
	json_t *root = json_pack("{s:o, s:o, s:b, s:I, s:I}", "image", bow_state_escaped(image),
				 "uri", bow_state_escaped(uri), "before-only", before_only, "pid",
				 (json_int_t)pid, "start-time",
				 (json_int_t)bow_process_start_time(pid));
	if (root)
		bow_state_replace(base, name, root, NULL);
}

void bow_servers_remove(void)
{
	char base[PATH_MAX], name[64], path[PATH_MAX + 65];

	if (bow_runtime_base(base, sizeof(base), NULL))
		return;
	set_name(name, sizeof(name), getpid());
	snprintf(path, sizeof(path), "%s/%s", base, name);
	unlink(path);
}
