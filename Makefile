# ollama-pool: `make help` says what can be made.

# Options for every `swift build`, such as --jobs 2.
SWIFT_BUILD_FLAGS ?=
PREFIX ?= /usr/local
DESTDIR ?=
PURGE ?=
# A folder with programs and their library to install or pack as they are; without it they are built in release first.
PROGRAMS ?=

VERSION := $(shell cat VERSION)
TARBALL := ollama-pool-$(VERSION)-$(shell uname -m)
# Release builds are up to date when this is newer than everything that they are made of.
RELEASE_STAMP := .build/release-is-built
SOURCES := Package.swift VERSION $(shell find Sources -type f)

.DEFAULT_GOAL := help
.PHONY: help run packages test-packages build test lint format bench install uninstall dist clean
export SWIFT_BUILD_FLAGS PREFIX DESTDIR PURGE PROGRAMS

help: ## say what can be made
	@echo "ollama-pool $(VERSION)"
	@sed -n 's/^\([a-z]*\):[^#]*## /  make \1\t/p' Makefile | expand -t 20

run: packages build ## build, and run the pool here; needs no root, systemd or GPU
	@'$(CURDIR)/.build/release/ollama-pool' serve --config config/ollama-pool.yaml --next-free-port

packages: ## install the system packages that a build needs and that are missing
	@scripts/packages build

test-packages:
	@scripts/packages test

build: $(RELEASE_STAMP) ## build the programs in release, into .build/release

$(RELEASE_STAMP): $(SOURCES)
	@scripts/build $(SWIFT_BUILD_FLAGS)
	@touch $@

test: test-packages build ## run all tests; as root also those that need a systemd (a private one)
	@scripts/test

lint: ## check the format of the Swift files, and the scripts
	@swift format lint --strict --parallel --recursive Package.swift Sources Tests Benchmarks
	@if command -v shellcheck >/dev/null; then \
	  shellcheck -e SC2317 .ci/run scripts/build scripts/install.sh scripts/packages Tests/with-systemd; \
	else echo "shellcheck is not here: the scripts were not checked"; fi

format: ## format the Swift files
	@swift format --in-place --parallel --recursive Package.swift Sources Tests Benchmarks

bench: test-packages ## measure what the pool's own work costs
	@$(MAKE) --no-print-directory -C Benchmarks

install: $(if $(PROGRAMS),,build) ## install for systemd (PREFIX=/usr/local, DESTDIR)
	@scripts/install.sh

uninstall: ## stop without cutting a request, and remove; PURGE=1: configuration and state too
	@scripts/install.sh uninstall

dist: $(if $(PROGRAMS),,build) ## make a tarball in dist/ that installs on a machine without a toolchain
	@rm -rf dist/$(TARBALL)
	@mkdir -p dist/$(TARBALL)/bin dist/$(TARBALL)/lib/ollama-pool
	@cd $(or $(PROGRAMS),.build/release) && install -s -m 755 ollama-pool ollama-simulator '$(CURDIR)/dist/$(TARBALL)/bin'
	@cd $(or $(PROGRAMS),.build/release) && \
	  install -s -m 644 libSimulatedNVML.so '$(CURDIR)/dist/$(TARBALL)/lib/ollama-pool'
	@install -m 755 scripts/install.sh dist/$(TARBALL)
	@cp -R VERSION LICENSE README.md config docs units dist/$(TARBALL)
	@tar -C dist --owner=0 --group=0 --sort=name -czf dist/$(TARBALL).tar.gz $(TARBALL)
	@rm -rf dist/$(TARBALL)
	@echo "dist/$(TARBALL).tar.gz: unpack it anywhere, then sudo ./install.sh"

clean: ## remove what was built
	@rm -rf .build .venv dist
