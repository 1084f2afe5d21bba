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
#	NBDKITPLUGINDIR		the same: where nbdkit's own are, with PREFIX for its prefix
#	ONLY			check-*: only tests whose path contains this
#	TEST_JOBS		check, check-unit, check-bats: tests at a time (one for each core)
#	FUZZ_SECONDS		check-fuzz: for each target (5; where CI=true 60)
#
# A change of flags rebuilds everything ($(BUILD)/.build-config remembers them).

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
ONLY		?=
TEST_JOBS	?= $(shell nproc)

VERSION		:= $(shell sed -n 's/^.define BOWIMG_VERSION "\(.*\)"/\1/p' include/bowimg.h)
SONAME		:= libbowimg.so.0

# Images on NBD servers are understood where libnbd is.
LIBNBD		:= $(shell $(PKG_CONFIG) --exists libnbd && echo yes)
LIB_PACKAGES	:= ext2fs com_err libxxhash blkid zlib $(if $(LIBNBD),libnbd)
PROG_PACKAGES	:= fuse3 jansson libarchive liblzma
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

LAYERS		:= base device maps format log operations
NBD_SRC		:= $(wildcard src/device/nbd*.c)
NBD_UNUSED	:= $(if $(LIBNBD),src/device/nbd_missing.c,$(filter-out %/nbd_missing.c,$(NBD_SRC)))
LIB_SRC		:= $(filter-out $(NBD_UNUSED),$(sort $(wildcard $(LAYERS:%=src/%/*.c))))
PLUGIN_SRC	:= $(sort $(wildcard src/fronts/nbdkit_*.c))
FRONT_SRC	:= $(filter-out $(PLUGIN_SRC),$(sort $(wildcard src/fronts/*.c)))
PROG_SRC	:= $(sort $(wildcard src/programs/*.c))
TESTLIB_SRC	:= $(sort $(wildcard tests/lib/*.c))
SUITES		:= unit property crash fault fuzz
TEST_SRC	:= $(sort $(wildcard $(SUITES:%=tests/%/test_*.c)))
# What a suite's programs share: the other files of its folder.
suite_helpers	= $(filter-out $(TEST_SRC),$(sort $(wildcard tests/$(1)/*.c)))

ifneq ($(filter-out clean help uninstall,$(or $(MAKECMDGOALS),all)),)
ifneq ($(shell $(PKG_CONFIG) --exists $(PACKAGES) && echo yes),yes)
$(error $(PKG_CONFIG) does not find all of: $(PACKAGES). On Debian run scripts/setup-debian)
endif
endif

HELP_TXT	:= $(sort $(wildcard src/programs/help/*.txt))

objects		= $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
TOOL_SRC	:= $(sort $(wildcard tests/tools/*.c))
ALL_SRC		:= $(LIB_SRC) $(TOOL_SRC) $(FRONT_SRC) $(PLUGIN_SRC) $(PROG_SRC) $(TESTLIB_SRC) \
		   $(wildcard $(SUITES:%=tests/%/*.c)) tests/fuzz/libfuzzer/driver.c
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

ifeq ($(V),)
quiet		= @printf '  %-8s %s\n' $(1) $@;
else
quiet		=
endif

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all tests check $(SUITES:%=check-%) check-bats check-e2e \
	check-root check-package check-crash-asan check-mutants check-coverage coverage lint asan bench \
	install uninstall help clean format print-cppflags print-test-libs FORCE

all: $(PROGRAM) $(LIBA) $(LIBSO) $(PLUGIN) $(PC)

# ---- what is built ---------------------------------------------------------------------------

BUILD_CONFIG	:= $(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(PROG_LIBS) $(PREFIX) \
		   $(LIBDIR) $(INCLUDEDIR) $(NBDKITPLUGINDIR)
$(BUILD)/.build-config: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(BUILD_CONFIG)' | cmp -s - $@ || printf '%s\n' '$(BUILD_CONFIG)' >$@

$(BUILD)/obj/%.o: %.c $(BUILD)/.build-config
	@mkdir -p $(@D)
	$(call quiet,CC)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# The usage texts as C strings: src/programs/help/*.txt is their only source.
$(BUILD)/gen/help.h: $(HELP_TXT) $(BUILD)/.build-config
	@mkdir -p $(@D)
	$(call quiet,GEN)for f in $(HELP_TXT); do \
		printf 'static const char help_%s[] =\n' "$$(basename "$$f" .txt)"; \
		sed -e 's/[\\"]/\\&/g' -e 's/.*/\t"&\\n"/' "$$f"; \
		printf '\t"";\n'; \
	done >$@
$(BUILD)/obj/src/programs/main.o: $(BUILD)/gen/help.h

# What the public header declares is what the libraries show, and nothing else.
$(BUILD)/gen/exports: include/bowimg.h $(BUILD)/.build-config
	@mkdir -p $(@D)
	$(call quiet,GEN)$(CC) -E -P $< | grep -o 'bowimg_[a-z0-9_]* *(' | tr -d ' (' | sort -u >$@
$(BUILD)/gen/version-script: $(BUILD)/gen/exports
	$(call quiet,GEN){ echo '{ global:'; sed 's/$$/;/' $<; echo 'local: *; };'; } >$@

$(INTERNAL): $(call objects,$(LIB_SRC) $(FRONT_SRC))
	$(call quiet,AR)rm -f $@ && $(AR) qcs $@ $^

$(LIBA): $(call objects,$(LIB_SRC)) $(BUILD)/gen/exports
	$(call quiet,AR)$(CC) -r -nostdlib -o $(BUILD)/obj/libbowimg.o $(filter %.o,$^) && \
		objcopy --keep-global-symbols=$(BUILD)/gen/exports $(BUILD)/obj/libbowimg.o && \
		rm -f $@ && $(AR) qcs $@ $(BUILD)/obj/libbowimg.o

$(LIBSO): $(call objects,$(LIB_SRC)) $(BUILD)/gen/version-script
	$(call quiet,LD)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -shared -Wl,-soname,$(SONAME) \
		-Wl,--version-script=$(BUILD)/gen/version-script -Wl,-z,defs -o $@ \
		$(filter %.o,$^) $(LIB_LIBS)

$(PROGRAM): $(call objects,$(PROG_SRC)) $(INTERNAL)
	$(call quiet,LD)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -pie -o $@ $^ $(PROG_LIBS)

$(BUILD)/obj/src/fronts/nbd_exec.o: ALL_CPPFLAGS += -DBOW_NBDKIT_PLUGIN_DIR='"$(NBDKITPLUGINDIR)"'

# It shows nbdkit one function, and brings a library of its own.
$(BUILD)/nbdkit-bowimg-plugin.so: $(call objects,$(PLUGIN_SRC)) $(LIBA)
	$(call quiet,LD)echo '{ global: plugin_init; local: *; };' >$(BUILD)/gen/plugin-script && \
		$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -shared -Wl,--version-script=$(BUILD)/gen/plugin-script \
		-o $@ $^ $(LIB_LIBS)

$(PC): $(BUILD)/.build-config include/bowimg.h
	$(call quiet,GEN)printf '%s\n' 'Name: libbowimg' 'Description: undo for disk images' \
		'Version: $(VERSION)' 'Requires.private: $(LIB_PACKAGES)' \
		'Libs: -L$(LIBDIR) -lbowimg' 'Libs.private: -lpthread' \
		'Cflags: -I$(INCLUDEDIR)' >$@

$(BUILD)/testlib.a: $(call objects,$(TESTLIB_SRC))
	$(call quiet,AR)rm -f $@ && $(AR) qcs $@ $^

$(BUILD)/obj/tests/%.o: ALL_CPPFLAGS += -Itests/lib -Itests

define suite_rule
$(BUILD)/tests/$(1)/%: $(BUILD)/obj/tests/$(1)/%.o $(call objects,$(call suite_helpers,$(1))) \
		$(BUILD)/testlib.a $(INTERNAL) $(wildcard tests/$(1)/LDFLAGS)
	@mkdir -p $$(@D)
	$$(call quiet,LD)$$(CC) $$(ALL_CFLAGS) $$(ALL_LDFLAGS) -pie -o $$@ $$(filter %.o %.a,$$^) \
		$$(PROG_LIBS) -lcmocka $(shell cat tests/$(1)/LDFLAGS 2>/dev/null)
endef
$(foreach suite,$(SUITES),$(eval $(call suite_rule,$(suite))))

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
		$(call suite_programs,fuzz) $(wildcard tests/cli/*.bats))

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

check-bats: all
	$(RUN_TESTS) -j $(TEST_JOBS) $(call only,$(wildcard tests/cli/*.bats))

check-e2e check-root: all $(TOOLS)
	$(RUN_TESTS) $(call only,$(wildcard tests/e2e/*.bats))

check-package:
	scripts/check-package

lint: all
	scripts/lint $(BUILD)

SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
asan:
	$(if $(V),,@)$(MAKE) -k --no-print-directory BUILD=$(BUILD)/asan HARDEN= \
		CFLAGS='-O1 -g $(SANITIZE)' check-unit check-property

# A tenth of the power cuts, or as many as CRASH_STATES says.
check-crash-asan:
	$(if $(V),,@)CRASH_STATES=$${CRASH_STATES:-120000} ROT_STEP=$${ROT_STEP:-31} DMBOW_SEEDS=$${DMBOW_SEEDS:-200} \
		ASAN_OPTIONS=detect_leaks=1 $(MAKE) -k --no-print-directory BUILD=$(BUILD)/asan \
		HARDEN= CFLAGS='-O1 -g $(SANITIZE)' check-crash

check-mutants: all tests
	$(RUN_TESTS) -n check-mutants scripts/check-mutants $(BUILD)

coverage:
	scripts/coverage $(BUILD)
check-coverage:
	$(if $(V),,@)exec 9>&1; SUMMARY_FD=9 scripts/run-tests -n coverage scripts/coverage $(BUILD)

bench: all $(BUILD)/tests/unit/test_diff_cost
	BUILD=$(BUILD) scripts/bench
	BUILD=$(BUILD) scripts/bench-nbd
	SUMMARY_FD=9 $(BUILD)/tests/unit/test_diff_cost 9>&1 >/dev/null

# For the tools that read C without building it, or build single files in their own way.
print-cppflags:
	@echo '$(ALL_CPPFLAGS) -DBOW_NBDKIT_PLUGIN_DIR="$(NBDKITPLUGINDIR)"'
print-test-libs:
	@echo '$(PROG_LIBS) -lcmocka'

format:
	clang-format -i $(wildcard include/*.h src/*/*.[ch] tests/*/*.[ch])

# ---- installing ----------------------------------------------------------------------------------

INSTALLED := $(BINDIR)/bowimg $(LIBDIR)/libbowimg.a $(LIBDIR)/$(SONAME) $(LIBDIR)/libbowimg.so \
	$(PKGCONFIGDIR)/libbowimg.pc $(INCLUDEDIR)/bowimg.h $(MANDIR)/man1/bowimg.1 \
	$(MANDIR)/man5/bowimg-format.5 \
	$(MANDIR)/man5/bowimg-patch.5 $(if $(PLUGIN),$(NBDKITPLUGINDIR)/nbdkit-bowimg-plugin.so)

install: all
	install -d $(addprefix $(DESTDIR),$(sort $(dir $(INSTALLED))))
	install -m 755 $(PROGRAM) $(DESTDIR)$(BINDIR)/bowimg
	install -m 644 $(LIBA) $(DESTDIR)$(LIBDIR)/libbowimg.a
	install -m 755 $(LIBSO) $(DESTDIR)$(LIBDIR)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/libbowimg.so
	$(if $(PLUGIN),install -m 755 $(PLUGIN) $(DESTDIR)$(NBDKITPLUGINDIR)/nbdkit-bowimg-plugin.so)
	install -m 644 $(PC) $(DESTDIR)$(PKGCONFIGDIR)/libbowimg.pc
	install -m 644 include/bowimg.h $(DESTDIR)$(INCLUDEDIR)/bowimg.h
	install -m 644 man/bowimg.1 $(DESTDIR)$(MANDIR)/man1/bowimg.1
	install -m 644 man/bowimg-format.5 $(DESTDIR)$(MANDIR)/man5/bowimg-format.5
	install -m 644 man/bowimg-patch.5 $(DESTDIR)$(MANDIR)/man5/bowimg-patch.5

uninstall:
	rm -f $(addprefix $(DESTDIR),$(INSTALLED))

clean:
	rm -rf $(BUILD)

help:
	@printf '%s\n' \
		'all              the program, the libraries (default)' \
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
		'check-package    symbols, install and uninstall, the header from C++' \
		'asan             unit and property tests under ASan and UBSan' \
		'lint             layers, format, static analysis, shellcheck, help and man' \
		'bench            the figures' \
		'format           run clang-format on everything' \
		'install, uninstall, clean'
	@sed -n 's/^#\t/  /p' Makefile

-include $(patsubst %.c,$(BUILD)/obj/%.d,$(ALL_SRC))
