/* SPDX-License-Identifier: MIT */
/*
 * The verbs, for the table in main.c. A contract: each is defined in serving/<verb>.c or
 * verbs/<verb>.c, and its help is help/<verb>.txt. It parses its options, calls the library, prints
 * the answer, and returns the exit status. argv[0] is the verb.
 */
#ifndef BOW_CLI_VERBS_H
#define BOW_CLI_VERBS_H

typedef int bow_verb_func(int argc, char **argv);

bow_verb_func bow_verb_prepare, bow_verb_status, bow_verb_mount, bow_verb_umount, bow_verb_attach;
bow_verb_func bow_verb_detach, bow_verb_run, bow_verb_rollback, bow_verb_commit, bow_verb_verify;
bow_verb_func bow_verb_log, bow_verb_map, bow_verb_rescue, bow_verb_serve, bow_verb_diff;
bow_verb_func bow_verb_export, bow_verb_apply, bow_verb_list, bow_verb_mark;

#endif
