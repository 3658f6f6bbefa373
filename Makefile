# SPDX-License-Identifier: Apache-2.0
#
# `make demo` and `make test` are the two commands of the README; both work on a bare Debian 12 with Go, as root.

GO          ?= go
BIN         := bin
TOOLS       := $(CURDIR)/.cache/bin
PLATFORMS   := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS     := -s -w -X main.version=$(VERSION)

# Debian 12's clang: another version writes other object files, and CI compares them byte by byte.
BPF_CLANG   ?= clang-14

# Pinned, so that a lint finding is always a change of ours.
GOLANGCI_LINT_VERSION := v2.15.0
GOFUMPT_VERSION       := v0.12.0

# Paddock is one static binary: nothing in it may need a C compiler or the C library of the machine it runs on.
export CGO_ENABLED := 0
export BPF2GO_CC := $(BPF_CLANG)

.PHONY: build
build: ## bin/paddock for this machine; needs nothing but Go
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/paddock .

.PHONY: build-all
build-all: $(PLATFORMS:%=build-all/%) ## every platform we ship for, into bin/OS-ARCH/

.PHONY: $(PLATFORMS:%=build-all/%)
$(PLATFORMS:%=build-all/%): build-all/%:
	GOOS=$(*D) GOARCH=$(*F) $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/$(*D)-$(*F)/paddock .

.PHONY: generate
generate: ## rebuild the committed BPF objects and the Go generated from them (run `make setup` first)
	$(GO) generate ./ebpf/...

.PHONY: setup
setup: ## install what the tests need: Debian packages, VM kernels, a Collector, VictoriaLogs, Codex, Claude Code; silent when nothing is missing
	@tests/setup/setup.sh

.PHONY: test
test: ## install what is missing, then run everything; the last line is `N passed, N failed, N skipped`
	@tests/run.sh

.PHONY: lint
lint: $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION) $(TOOLS)/gofumpt-$(GOFUMPT_VERSION) ## golangci-lint and gofumpt at pinned versions
	@unformatted=$$($(TOOLS)/gofumpt-$(GOFUMPT_VERSION) -l .) && if [ -n "$$unformatted" ]; then \
		echo "not formatted (run .cache/bin/gofumpt-$(GOFUMPT_VERSION) -w on them):"; echo "$$unformatted"; exit 1; fi
	$(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION) run ./...

$(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION):
	GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv $(TOOLS)/golangci-lint $@

$(TOOLS)/gofumpt-$(GOFUMPT_VERSION):
	GOBIN=$(TOOLS) $(GO) install mvdan.cc/gofumpt@$(GOFUMPT_VERSION)
	mv $(TOOLS)/gofumpt $@

.PHONY: bench
bench: build setup ## what Paddock costs: interleaved pairs, printed as a table
	@tests/setup/bench.sh
	PADDOCK_BENCH=1 $(GO) test -count=1 -v -timeout 30m ./tests/bench/...

.PHONY: demo
demo: build ## govern a small session and tell what happened; leaves nothing behind
	@examples/demo.sh

.PHONY: clean
clean: ## remove what was built; `rm -rf .cache` also forgets kernels and tools
	rm -rf $(BIN)
	find . -path ./.cache -prune -o -name '*.test' -type f -exec rm -f {} +
