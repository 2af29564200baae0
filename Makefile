# Sandpool: `make help` lists the targets. What they make goes to .build; `make clean` removes it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .build/bin
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
TESTS := $(BIN)/runtests -timeout=30m

# All our programs are static: the init must be, and the others then run on any host.
export CGO_ENABLED := 0

# Where install puts things.
PREFIX ?= /usr/local
export PREFIX DESTDIR

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: build stack image ## show it all: fill a pool, claim a sandbox, run in it, release it, measure
	@$(BIN)/demo

.PHONY: shell
shell: build stack image ## open a shell with sandpool on a private containerd; its end removes everything
	@$(BIN)/demo -shell

.PHONY: test
test: build stack image .build/stack/prometheus ## run every test once, under the race detector, on the real containerd and runsc too
	@for part in systemd tmux examples race; do scripts/stack.sh $$part; done
	@CGO_ENABLED=1 $(TESTS) -race -short ./...

.PHONY: test-release
test-release: test-packages test-images ## run the long rounds too, which must pass before a release; they take an hour
	@for part in systemd race; do scripts/stack.sh $$part; done
	@CGO_ENABLED=1 $(TESTS) -race ./systemd/systemdtest
	@$(MAKE) test-faults bench-cold

.PHONY: test-faults
test-faults: build stack image ## inject faults into the real stack and count what they break (FAULTS=-short: fewer)
	@scripts/stack.sh race
	@CGO_ENABLED=1 go build -race -trimpath -tags faults -o $(BIN)/sandpoold-faults ./cmd/sandpoold
	@go build -trimpath -o $(BIN)/faults ./scripts/faults
	@$(BIN)/faults $(FAULTS)

.PHONY: test-hostile
test-hostile: build stack image ## attack the real stack as a user and from sandboxes, and count what gets through (HOSTILE="-only NAME": one)
	@go build -trimpath -o $(BIN)/ ./scripts/hostile ./scripts/outside/guest
	@$(BIN)/hostile $(HOSTILE)

.PHONY: bench
bench: build stack image ## measure warm claims and restores beside cold starts
	@$(BIN)/demo -bench

.PHONY: bench-idle
bench-idle: build stack image ## measure for minutes what 375 paused sandboxes cost that nobody uses (they take about 10 GB)
	@$(BIN)/demo -idle

.PHONY: images
images: build ## build the production image, Python with git and three templates with BuildKit (IMAGES=names: others); the first time takes minutes
	@scripts/images.sh $(or $(IMAGES),production python-git python-fastapi react-vite nextjs)

.PHONY: test-images
test-images: build stack image images ## claim sandboxes of those images, ask their servers, and have clients of all kinds talk by the door
	@scripts/images.sh clients
	@$(TESTS) -tags=images ./images/imagetest

.PHONY: bench-cold
bench-cold: build stack image images ## measure cold starts of those images beside warm ones
	@$(BIN)/demo -cold

.PHONY: build
build: ## build our programs into .build/bin
	@mkdir -p $(BIN)
	@go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN)/ ./cmd/... ./scripts/demo ./scripts/mkimage ./scripts/runtests

.PHONY: share
share: build ## make the manual and the shells' completion in .build/share
	@scripts/share.sh $(VERSION)

.PHONY: install
install: share ## install below PREFIX (/usr/local), and below DESTDIR for packages; see docs/install.md
	@scripts/stack.sh shim
	@scripts/install.sh install

.PHONY: uninstall
uninstall: ## remove what install put there, but no configuration that was changed and no state
	@scripts/install.sh uninstall

.PHONY: packages
packages: share ## build a .deb and an .rpm in .build/packages with nfpm
	@for part in nfpm shim; do scripts/stack.sh $$part; done
	@scripts/packages.sh $(VERSION)

.PHONY: test-packages
test-packages: packages ## install, upgrade and remove what install and packages made, in roots of their own
	@scripts/stack.sh debian
	@scripts/testpackages.sh

.PHONY: stack
stack: ## build containerd, runsc and the shim, or check those in SANDPOOL_STACK=/a/folder
	@scripts/stack.sh

.PHONY: image
image: .build/images/busybox.tar .build/images/python.tar ## make the default image, and the tests' image with Python
	@:

.build/images/busybox.tar: .build/images/busybox $(wildcard images/*.go scripts/mkimage/*.go) | build
	@$(BIN)/mkimage -busybox $< -o $@

.build/images/python.tar: .build/images/busybox .build/images/python $(wildcard images/*.go scripts/mkimage/*.go) | build
	@$(BIN)/mkimage -busybox $< -root .build/images/python -name sandpool.local/python:1 -o $@

# The script fetches nothing that is as it would make it.
.build/images/busybox .build/images/python .build/stack/prometheus: scripts/stack.sh
	@scripts/stack.sh $(@F)

.PHONY: vet
vet: ## run go vet
	@go vet ./...

.PHONY: lint
lint: ## run golangci-lint, shellcheck, and BuildKit's own checks of the Dockerfiles
	@scripts/stack.sh lint
	@GOLANGCI_LINT_CACHE=$(abspath .build/lint) .build/stack/golangci-lint run --allow-parallel-runners --build-tags images,manual ./...
	@GOWORK=off go run -C scripts/stack/buildkit -trimpath ./dockerlint $(abspath $(wildcard images/*/Dockerfile images/templates/*/Dockerfile))
	@shellcheck scripts/*.sh .ci/run

.PHONY: fmt
fmt: ## format the code
	@gofmt -l -w $$(git ls-files --cached --others --exclude-standard '*.go')

.PHONY: check
check: vet lint test ## what to run before a commit

.PHONY: clean
clean: ## remove all that was built
	@rm -rf .build
