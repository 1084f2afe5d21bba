# SPDX-License-Identifier: MIT
#
# bowimg: plain GNU make, no configure step. Try "make help".
#
# Variables that can be given on the command line or in the environment:
#
#	CC AR PKG_CONFIG	the tools (gcc or clang)
#	CFLAGS			optimisation and debugging (-O2 -g)
#	CPPFLAGS LDFLAGS	added to bowimg's own
#	HARDEN			hardening flags; HARDEN= switches them off
#	W=1			warnings are errors
#	V=1			show every command
#	BUILD			where everything is built (build)
#	PREFIX			/usr/local
#	DESTDIR			put before every installed path, for packages
#	BINDIR LIBDIR INCLUDEDIR MANDIR PKGCONFIGDIR	below PREFIX unless given
#	BASHCOMPDIR ZSHCOMPDIR FISHCOMPDIR	the same, for the completions of these shells
#	NBDKITPLUGINDIR		the same: where nbdkit's own are, with PREFIX for its prefix
#	ONLY			check-*: only tests whose path contains this
#	TEST_JOBS		check, check-unit, check-bats, check-e2e: at a time (one for each core)
#	FUZZ_SECONDS		check-fuzz: for each target (5)
#
# A change of flags rebuilds everything ($(BUILD)/.build-config remembers them). A change of paths does
# not: no program knows where it is installed, so that "make && make install PREFIX=..." builds once.

ifeq ($(origin CC),default)
CC		:= cc
endif
PKG_CONFIG	?= pkg-config
comma		:= ,
CFLAGS		?= -O2 -g
HARDEN		?= -fstack-protector-strong -fstack-clash-protection -D_FORTIFY_SOURCE=2
BUILD		?= build
PREFIX		?= /usr/local
BINDIR		?= $(PREFIX)/bin
LIBDIR		?= $(PREFIX)/lib
INCLUDEDIR	?= $(PREFIX)/include
MANDIR		?= $(PREFIX)/share/man
PKGCONFIGDIR	?= $(LIBDIR)/pkgconfig
BASHCOMPDIR	?= $(PREFIX)/share/bash-completion/completions
ZSHCOMPDIR	?= $(PREFIX)/share/zsh/site-functions
FISHCOMPDIR	?= $(PREFIX)/share/fish/vendor_completions.d
ONLY		?=
TEST_JOBS	?= $(shell nproc)

VERSION		:= $(shell sed -n 's/^.define BOWIMG_VERSION "\(.*\)"/\1/p' include/bowimg.h)
# Programs go on with a library of this name: STABILITY.md. Before 1.0 every second number is another one.
ABI		:= $(shell echo $(VERSION) | sed 's/^\(0\.[0-9]*\).*/\1/; s/^\([1-9][0-9]*\)\..*/\1/')
SONAME		:= libbowimg.so.$(ABI)

# Images on NBD servers are understood where libnbd is.
LIBNBD		:= $(shell $(PKG_CONFIG) --exists libnbd && echo yes)
LIB_PACKAGES	:= ext2fs com_err libxxhash blkid zlib $(if $(LIBNBD),libnbd)
PROG_PACKAGES	:= fuse3 jansson libarchive
PACKAGES	:= $(LIB_PACKAGES) $(PROG_PACKAGES)

WARN		:= -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wvla \
		   -Wpointer-arith $(if $(W),-Werror)
ALL_CPPFLAGS	:= -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Iinclude -Isrc -I$(BUILD)/gen \
		   $(shell $(PKG_CONFIG) --cflags $(PACKAGES)) $(CPPFLAGS)
# One set of objects serves the shared library, the static one, and the program.
ALL_CFLAGS	:= -std=gnu11 -fPIC $(HARDEN) $(WARN) $(CFLAGS)
ALL_LDFLAGS	:= $(if $(HARDEN),-Wl$(comma)-z$(comma)relro -Wl$(comma)-z$(comma)now) $(LDFLAGS)
LIB_LIBS	:= $(shell $(PKG_CONFIG) --libs $(LIB_PACKAGES)) -lpthread
PROG_LIBS	:= $(shell $(PKG_CONFIG) --libs $(PROG_PACKAGES)) $(LIB_LIBS)

# The plugin is built where nbdkit's headers are. Found first: next to the program, as in $(BUILD).
NBDKIT		:= $(shell $(PKG_CONFIG) --exists nbdkit && echo yes)
ifeq ($(NBDKIT),yes)
nbdkit_prefix	:= $(shell $(PKG_CONFIG) --variable=prefix nbdkit)
NBDKITPLUGINDIR	?= $(patsubst $(nbdkit_prefix)/%,$(PREFIX)/%,$(shell \
		   $(PKG_CONFIG) --variable=plugindir nbdkit))
endif
NBDKITPLUGINDIR	?= $(LIBDIR)/nbdkit/plugins

# The rooms of the house: src/README.md. Folders lie at most three deep.
sources		= $(sort $(foreach depth,* */* */*/* */*/*/*,$(wildcard src/$(1)/$(depth).c)))
NBD_SRC		:= $(wildcard src/lib/disk/nbd/*.c)
NBD_UNUSED	:= $(if $(LIBNBD),%/missing.c,$(filter-out %/missing.c,$(NBD_SRC)))
LIB_SRC		:= $(filter-out $(NBD_UNUSED),$(call sources,lib))
PLUGIN_SRC	:= $(call sources,nbdkit)
CLI_SRC		:= src/bowimg/main.c $(call sources,bowimg/cli)
# What the verbs call; tests link it, too.
PROG_SRC	:= $(filter-out $(CLI_SRC) %/missing.c,$(call sources,bowimg))
# The static program has neither FUSE nor NBD: a room's missing.c stands for the rest of it.
STATIC_SRC	:= $(filter-out src/lib/disk/nbd/% src/bowimg/fuse/%,$(call sources,lib) $(call sources,bowimg)) \
		   $(wildcard src/lib/disk/nbd/missing.c src/bowimg/fuse/missing.c)
STATIC_PACKAGES	:= $(filter-out libnbd fuse3,$(PACKAGES))
TESTLIB_SRC	:= $(sort $(wildcard tests/lib/*.c tests/lab/*.c))
SUITES		:= unit property crash fault fuzz
# Unit tests lie in the folders of what they test.
test_files	= $(foreach depth,* */* */*/* */*/*/*,$(wildcard tests/$(1)/$(depth).c))
TEST_SRC	:= $(filter-out $(if $(NBDKIT),,%/test_nbdkit_plugin.c), \
		   $(sort $(foreach f,$(foreach s,$(SUITES),$(call test_files,$(s))),$(if \
		   $(filter test_%,$(notdir $(f))),$(f)))))
# What a suite's programs share: the other files of its folder.
suite_helpers	= $(filter-out tests/$(1)/test_%,$(sort $(wildcard tests/$(1)/*.c tests/$(1)/targets/*.c)))

ifneq ($(filter-out clean help uninstall,$(or $(MAKECMDGOALS),all)),)
ifneq ($(shell $(PKG_CONFIG) --exists $(PACKAGES) && echo yes),yes)
$(error $(PKG_CONFIG) does not find all of: $(PACKAGES). On Debian run scripts/setup-debian)
endif
endif

HELP_TXT	:= $(sort $(wildcard src/bowimg/cli/help/*.txt))

objects		= $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
TOOL_SRC	:= $(sort $(wildcard tests/tools/*.c))
ALL_SRC		:= $(sort $(LIB_SRC) $(STATIC_SRC)) $(TOOL_SRC) $(PROG_SRC) $(PLUGIN_SRC) $(CLI_SRC) $(TESTLIB_SRC) \
		   $(TEST_SRC) $(foreach s,$(SUITES),$(call suite_helpers,$(s))) tests/fuzz/libfuzzer/driver.c
TEST_PROGRAMS	:= $(patsubst tests/%.c,$(BUILD)/tests/%,$(TEST_SRC))
suite_programs	= $(filter $(BUILD)/tests/$(1)/%,$(TEST_PROGRAMS))
only		= $(if $(ONLY),$(foreach t,$(1),$(if $(findstring $(ONLY),$(t)),$(t))),$(1))

LIBA		:= $(BUILD)/libbowimg.a
LIBSO		:= $(BUILD)/$(SONAME)
# With the internals visible: for the program and the tests, never installed.
INTERNAL	:= $(BUILD)/internal.a
PROGRAM		:= $(BUILD)/bowimg
PLUGIN		:= $(if $(NBDKIT),$(BUILD)/nbdkit-bowimg-plugin.so)
PC		:= $(BUILD)/libbowimg.pc
COMPLETIONS	:= $(foreach s,bash zsh fish,$(BUILD)/completions/bowimg.$(s))

# "make -s" says nothing at all.
silent		= $(findstring s,$(firstword -$(MAKEFLAGS)))
ifeq ($(V),)
quiet		= @$(if $(silent),,printf '  %-8s %s\n' $(1) $@;)
else
quiet		=
endif

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all static tests check $(SUITES:%=check-%) check-bats check-e2e \
	check-root check-cluster check-package check-crash-asan check-bats-asan check-mutants check-coverage coverage lint asan bench bench-counts \
	tsan check-tsan \
	install uninstall help clean html format print-cppflags print-test-libs print-soname FORCE

all: $(PROGRAM) $(LIBA) $(LIBSO) $(PLUGIN) $(PC) $(COMPLETIONS)

# ---- what is built ---------------------------------------------------------------------------

# The program finds the plugin from where it lies itself.
PLUGIN_PATH	:= $(shell realpath -sm --relative-to='$(BINDIR)' '$(NBDKITPLUGINDIR)')

# Each is written when its text changes, and what depends on it is built again.
$(BUILD)/.build-config: TEXT = $(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(PROG_LIBS)
$(BUILD)/.plugin-path: TEXT = $(PLUGIN_PATH)
$(BUILD)/.paths: TEXT = $(LIBDIR) $(INCLUDEDIR)
$(BUILD)/.build-config $(BUILD)/.plugin-path $(BUILD)/.paths: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(TEXT)' | cmp -s - $@ || printf '%s\n' '$(TEXT)' >$@

$(BUILD)/obj/%.o: %.c $(BUILD)/.build-config
	@mkdir -p $(@D)
	$(call quiet,CC)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# The usage texts as C strings: src/bowimg/cli/help is their only source.
$(BUILD)/gen/help.h: scripts/help-strings $(HELP_TXT) $(wildcard src/bowimg/cli/help/shared/*.txt) \
		$(BUILD)/.build-config
	@mkdir -p $(@D)
	$(call quiet,GEN)scripts/help-strings $(HELP_TXT) >$@
$(BUILD)/obj/src/bowimg/main.o: $(BUILD)/gen/help.h

# From the same texts, and the table of verbs.
$(BUILD)/completions/bowimg.%: src/bowimg/cli/completions/bowimg.% scripts/completions src/bowimg/main.c \
		$(BUILD)/gen/help.h
	@mkdir -p $(@D)
	$(call quiet,GEN)scripts/completions $* $(abspath $(BUILD)/gen/help.h) $(abspath src/bowimg/main.c) >$@

# What the public header declares is what the libraries show, and nothing else.
$(BUILD)/gen/exports: include/bowimg.h $(BUILD)/.build-config
	@mkdir -p $(@D)
	$(call quiet,GEN)$(CC) -E -P $< | grep -o 'bowimg_[a-z0-9_]* *(' | tr -d ' (' | sort -u >$@
$(BUILD)/gen/version-script: $(BUILD)/gen/exports
	$(call quiet,GEN){ echo '{ global:'; sed 's/$$/;/' $<; echo 'local: *; };'; } >$@

$(INTERNAL): $(call objects,$(LIB_SRC) $(PROG_SRC))
	$(call quiet,AR)rm -f $@ && $(AR) qcs $@ $^

$(LIBA): $(call objects,$(LIB_SRC)) $(BUILD)/gen/exports
	$(call quiet,AR)$(CC) -r -nostdlib -o $(BUILD)/obj/libbowimg.o $(filter %.o,$^) && \
		objcopy --keep-global-symbols=$(BUILD)/gen/exports $(BUILD)/obj/libbowimg.o && \
		rm -f $@ && $(AR) qcs $@ $(BUILD)/obj/libbowimg.o

$(LIBSO): $(call objects,$(LIB_SRC)) $(BUILD)/gen/version-script
	$(call quiet,LD)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -shared -Wl,-soname,$(SONAME) \
		-Wl,--version-script=$(BUILD)/gen/version-script -Wl,-z,defs -o $@ \
		$(filter %.o,$^) $(LIB_LIBS)

$(PROGRAM): $(call objects,$(CLI_SRC)) $(INTERNAL)
	$(call quiet,LD)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -pie -o $@ $^ $(PROG_LIBS)

# A table in libarchive names every format that it can write. Nobody asks for xar, so that its name may
# stand for another one: xar wants libxml2, and that one wants more than all the rest.
STATIC_LIBS	= $(filter-out -lxml2 -lacl,$(shell $(PKG_CONFIG) --static --libs $(STATIC_PACKAGES)))
static: $(BUILD)/static/bowimg
$(BUILD)/static/bowimg: $(call objects,$(STATIC_SRC))
	@mkdir -p $(@D)
	$(call quiet,LD)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -static-pie -o $@ $^ \
		-Wl,--defsym=archive_write_set_format_xar=archive_write_set_format_ustar \
		$(STATIC_LIBS) -lpthread

$(BUILD)/obj/src/bowimg/nbd/exec.o: $(BUILD)/.plugin-path
$(BUILD)/obj/src/bowimg/nbd/exec.o: ALL_CPPFLAGS += -DBOW_NBDKIT_PLUGIN_PATH='"$(PLUGIN_PATH)"'

# It shows nbdkit one function, and brings a library of its own.
$(BUILD)/nbdkit-bowimg-plugin.so: $(call objects,$(PLUGIN_SRC) src/lib/base/show.c) $(LIBA)
	$(call quiet,LD)echo '{ global: plugin_init; local: *; };' >$(BUILD)/gen/plugin-script && \
		$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -shared -Wl,--version-script=$(BUILD)/gen/plugin-script \
		-o $@ $^ $(LIB_LIBS)

$(PC): $(BUILD)/.build-config $(BUILD)/.paths include/bowimg.h
	$(call quiet,GEN)printf '%s\n' 'Name: libbowimg' 'Description: undo for disk images' \
		'Version: $(VERSION)' 'Requires.private: $(LIB_PACKAGES)' \
		'Libs: -L$(LIBDIR) -lbowimg' 'Libs.private: -lpthread' \
		'Cflags: -I$(INCLUDEDIR)' >$@

# The plugin's inside, for its test.
$(BUILD)/plugin.a: $(call objects,$(PLUGIN_SRC))
	$(call quiet,AR)rm -f $@ && $(AR) qcs $@ $^

$(BUILD)/testlib.a: $(call objects,$(TESTLIB_SRC))
	$(call quiet,AR)rm -f $@ && $(AR) qcs $@ $^

$(BUILD)/obj/tests/%.o: ALL_CPPFLAGS += -Itests/lib -Itests/lab -Itests -Itests/unit

define suite_rule
$(BUILD)/tests/$(1)/%: $(BUILD)/obj/tests/$(1)/%.o $(call objects,$(call suite_helpers,$(1))) \
		$(BUILD)/testlib.a $(INTERNAL) $(wildcard tests/$(1)/LDFLAGS)
	@mkdir -p $$(@D)
	$$(call quiet,LD)$$(CC) $$(ALL_CFLAGS) $$(ALL_LDFLAGS) -pie -o $$@ $$(filter %.o,$$^) \
		-Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $$(PROG_LIBS) -lcmocka $(shell cat tests/$(1)/LDFLAGS 2>/dev/null)
endef
$(foreach suite,$(SUITES),$(eval $(call suite_rule,$(suite))))
$(BUILD)/tests/unit/nbdkit/test_nbdkit_plugin: $(BUILD)/plugin.a

$(BUILD)/fuzzer: $(call objects,tests/fuzz/libfuzzer/driver.c $(call suite_helpers,fuzz)) \
		$(BUILD)/testlib.a $(INTERNAL)
	$(call quiet,LD)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(PROG_LIBS)

# What the end-to-end tests use besides the program under test.
TOOLS		:= $(patsubst tests/%.c,$(BUILD)/tests/%,$(TOOL_SRC))
$(BUILD)/tests/tools/%: $(BUILD)/obj/tests/tools/%.o $(BUILD)/testlib.a $(INTERNAL)
	@mkdir -p $(@D)
	$(call quiet,LD)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -pie -o $@ $(filter %.o %.a,$^) $(PROG_LIBS)

tests: $(TEST_PROGRAMS) $(TOOLS)

# ---- checks: every one ends with "N passed, N failed" ------------------------------------------

RUN_TESTS = $(if $(V),,@)BOWIMG=$(abspath $(PROGRAM)) scripts/run-tests

check: all $(call suite_programs,unit) $(call suite_programs,fuzz)
	$(RUN_TESTS) -j $(TEST_JOBS) $(call only,$(call suite_programs,unit) \
		$(call suite_programs,fuzz) $(wildcard tests/cli/*.bats tests/cli/*/*.bats))

# The counts of programs that keep some go to descriptor 9, past the counting of tests.
$(patsubst %,check-%,$(filter-out fuzz,$(SUITES))): check-%: all tests
	$(if $(V),,@)exec 9>&1; SUMMARY_FD=9 \
		BOWIMG=$(abspath $(PROGRAM)) scripts/run-tests \
		$(if $(filter unit,$*),-j $(TEST_JOBS)) $(call only,$(call suite_programs,$*))

# First all that was ever found, then each target for FUZZ_SECONDS with libFuzzer, built by clang.
FUZZ_CFLAGS := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
check-fuzz: all tests
	$(if $(V),,@)$(MAKE) --no-print-directory BUILD=$(BUILD)/fuzz CC=clang HARDEN= \
		CFLAGS='$(FUZZ_CFLAGS)' $(BUILD)/fuzz/fuzzer
	$(if $(V),,@)exec 9>&1; SUMMARY_FD=9 BUILD=$(BUILD) \
		scripts/run-tests $(call suite_programs,fuzz) scripts/fuzz

check-bats: all $(TOOLS)
	$(RUN_TESTS) -j $(TEST_JOBS) $(call only,$(wildcard tests/cli/*.bats tests/cli/*/*.bats))

check-e2e check-root: all $(TOOLS)
	$(RUN_TESTS) -j $(TEST_JOBS) $(call only,$(wildcard tests/e2e/*/*.bats))

# Each file has a Ceph of its own: one after the other.
check-cluster: all $(TOOLS)
	$(RUN_TESTS) $(call only,$(wildcard tests/cluster/*.bats))

check-package:
	scripts/check-package

lint: all
	scripts/lint $(BUILD)

SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
asan:
	$(if $(V),,@)$(MAKE) -k --no-print-directory BUILD=$(BUILD)/asan HARDEN= \
		CFLAGS='-O1 -g $(SANITIZE)' check-unit check-property check-bats-asan

# The verbs that read the most of what others wrote, as a program. What serves is left to the suites
# above.
ASAN_BATS := $(filter tests/cli/diff/% tests/cli/rescue%,$(wildcard tests/cli/*.bats tests/cli/*/*.bats))
check-bats-asan: $(PROGRAM)
	$(if $(V),,@)BOWIMG_TEST_SANITIZED=1 BOWIMG=$(abspath $(PROGRAM)) \
		scripts/run-tests -j $(TEST_JOBS) $(call only,$(ASAN_BATS))

# A tenth of the power cuts, or as many as CRASH_STATES says.
check-crash-asan:
	$(if $(V),,@)CRASH_STATES=$${CRASH_STATES:-120000} ROT_STEP=$${ROT_STEP:-31} DMBOW_SEEDS=$${DMBOW_SEEDS:-200} \
		ASAN_OPTIONS=detect_leaks=1 $(MAKE) -k --no-print-directory BUILD=$(BUILD)/asan \
		HARDEN= CFLAGS='-O1 -g $(SANITIZE)' check-crash

# What runs in several threads, with FUSE's stacks as large as the sanitizer needs them; then locks
# that are missing, each of which it must find.
TSAN_CFLAGS := -O1 -g -fsanitize=thread -fno-omit-frame-pointer
TSAN_TESTS := unit/lib/base/test_crew unit/lib/engine/test_gather unit/lib/engine/test_ahead \
	unit/lib/engine/test_before unit/lib/engine/test_give unit/lib/engine/test_many_order \
	unit/lib/disk/test_nbd_threads unit/lib/disk/test_nbd_again \
	unit/lib/disk/test_writeback unit/lib/disk/test_writeback_room unit/lib/disk/test_writeback_round \
	unit/nbdkit/test_nbdkit_plugin property/test_property
# With many random bits in addresses the sanitizer does not find its place.
NO_ASLR = $(shell setarch -R true 2>/dev/null && echo setarch -R)
tsan:
	$(if $(V),,@)$(MAKE) -k --no-print-directory BUILD=$(BUILD)/tsan HARDEN= CFLAGS='$(TSAN_CFLAGS)' \
		CPPFLAGS='-DBOW_FUSE_STACK_BYTES=8388608 -DBOW_CREW_STACK_BYTES=8388608' check-tsan
check-tsan: all $(filter $(TSAN_TESTS:%=$(BUILD)/tests/%),$(TEST_PROGRAMS))
	$(if $(V),,@)export TSAN_CC='$(CC) $(TSAN_CFLAGS)' CASE=threads OPS=$${OPS:-60000}; \
		BOWIMG=$(abspath $(PROGRAM)) $(NO_ASLR) scripts/run-tests $(call only,$(filter \
		$(BUILD)/tests/%,$^) $(wildcard tests/tsan/*.bats)) && $(NO_ASLR) \
		scripts/run-tests -n "planted races" scripts/check-tsan $(BUILD)

check-mutants: all tests
	$(RUN_TESTS) -n check-mutants scripts/check-mutants $(BUILD)

coverage:
	scripts/coverage $(BUILD)
check-coverage:
	$(if $(V),,@)exec 9>&1; SUMMARY_FD=9 scripts/run-tests -n coverage scripts/coverage $(BUILD)

bench: all $(BUILD)/tests/unit/bowimg/diff/test_diff_cost
	BUILD=$(BUILD) scripts/bench
	BUILD=$(BUILD) scripts/bench-marks
	SUMMARY_FD=9 $(BUILD)/tests/unit/bowimg/diff/test_diff_cost 9>&1 >/dev/null

# What does not depend on the machine has a line, above which it fails.
bench-counts: $(BUILD)/tests/tools/counts
	$(if $(V),,@)$< $(ONLY)

# For the tools that read C without building it, or build single files in their own way.
print-cppflags:
	@echo '$(ALL_CPPFLAGS) -DBOW_NBDKIT_PLUGIN_PATH="$(PLUGIN_PATH)"'
print-soname:
	@echo '$(SONAME)'
print-test-libs:
	@echo '$(PROG_LIBS) -lcmocka'

# The manual for a browser; names what is missing.
html:
	scripts/man-html $(BUILD)/html

format:
	find include src tests -name '*.[ch]' -exec clang-format -i {} +

# ---- installing ----------------------------------------------------------------------------------

MAN_PAGES := $(sort $(wildcard man/*.[1-9]))
INSTALLED := $(BINDIR)/bowimg $(LIBDIR)/libbowimg.a $(LIBDIR)/$(SONAME) $(LIBDIR)/libbowimg.so \
	$(PKGCONFIGDIR)/libbowimg.pc $(INCLUDEDIR)/bowimg.h \
	$(foreach page,$(MAN_PAGES),$(MANDIR)/man$(subst .,,$(suffix $(page)))/$(notdir $(page))) \
	$(BASHCOMPDIR)/bowimg $(ZSHCOMPDIR)/_bowimg $(FISHCOMPDIR)/bowimg.fish \
	$(if $(PLUGIN),$(NBDKITPLUGINDIR)/nbdkit-bowimg-plugin.so)

install: all
	install -d $(addprefix $(DESTDIR),$(sort $(dir $(INSTALLED))))
	install -m 755 $(PROGRAM) $(DESTDIR)$(BINDIR)/bowimg
	install -m 644 $(LIBA) $(DESTDIR)$(LIBDIR)/libbowimg.a
	install -m 755 $(LIBSO) $(DESTDIR)$(LIBDIR)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/libbowimg.so
	$(if $(PLUGIN),install -m 755 $(PLUGIN) $(DESTDIR)$(NBDKITPLUGINDIR)/nbdkit-bowimg-plugin.so)
	install -m 644 $(PC) $(DESTDIR)$(PKGCONFIGDIR)/libbowimg.pc
	install -m 644 include/bowimg.h $(DESTDIR)$(INCLUDEDIR)/bowimg.h
	for page in $(MAN_PAGES); do \
		install -m 644 $$page $(DESTDIR)$(MANDIR)/man$${page##*.}/ || exit 1; done
	install -m 644 $(BUILD)/completions/bowimg.bash $(DESTDIR)$(BASHCOMPDIR)/bowimg
	install -m 644 $(BUILD)/completions/bowimg.zsh $(DESTDIR)$(ZSHCOMPDIR)/_bowimg
	install -m 644 $(BUILD)/completions/bowimg.fish $(DESTDIR)$(FISHCOMPDIR)/bowimg.fish

uninstall:
	rm -f $(addprefix $(DESTDIR),$(INSTALLED))

clean:
	rm -rf $(BUILD)

help:
	@printf '%s\n' \
		'all              the program, the libraries (default)' \
		'static           build/static/bowimg: one file for initramfs and rescue, without FUSE and NBD' \
		'check            unit tests and command-line tests, under two minutes' \
		'check-unit       the modules, one by one' \
		'check-property   random operations against a plain array' \
		'check-crash      power cuts at every write; flipped bits' \
		'check-crash-asan the same under ASan and UBSan, shorter' \
		'check-mutants    small wrong changes, each of which a test must find' \
		'coverage         what the power-cut, property and fault tests reach' \
		'check-fault      errors at every operation and allocation' \
		'check-fuzz       hostile bytes in every structure' \
		'check-bats       the command line' \
		'check-e2e        real file systems on loop devices (root); also: check-root' \
		'check-cluster    disks in a Ceph of this machine (root; scripts/setup-debian cluster)' \
		'check-package    symbols, install and uninstall, the header from C++' \
		'asan             unit, property and some command-line tests under ASan and UBSan' \
		'tsan             what runs in several threads, under ThreadSanitizer (root)' \
		'lint             layers, format, static analysis, shellcheck, help and man' \
		'bench            the figures' \
		'bench-counts     barriers, bytes for the log and requests, each with a line it must keep to' \
		'html             the manual as HTML, in build/html (mandoc)' \
		'format           run clang-format on everything' \
		'install, uninstall, clean'
	@sed -n 's/^#\t/  /p' Makefile

-include $(patsubst %.c,$(BUILD)/obj/%.d,$(ALL_SRC))
