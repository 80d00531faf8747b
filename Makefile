# Each target works alone on a fresh checkout; `make help` lists them.

GO      ?= go
BIN     := bin/apogee
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.commit=$(COMMIT)
FUZZTIME ?= 20s
# The client of bench-semantics runs on core 1, the server on core 0, where that can be had.
PIN := $(shell [ "$$(nproc 2>/dev/null || echo 1)" -gt 1 ] && command -v taskset >/dev/null && echo taskset -c 1)

.PHONY: help build run test race fuzz crash compat compat-apache bench bench-recovery bench-semantics lint clean

help: ## what there is to make
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## one static binary: bin/apogee, with mqnamesrv and mqbroker as links to it
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/apogee
	ln -sf apogee bin/mqnamesrv
	ln -sf apogee bin/mqbroker

run: build ## name server and broker in one process, data in ./apogee-data
	./$(BIN) server

test: lint ## every test; the Java parts run when java and mvn are there
	$(GO) test -timeout 25m ./...

race: ## the packages under the race detector
	$(GO) test -race -timeout 30m ./codec/... ./remoting/... ./store/... ./processor/... ./namesrv/... ./broker/...

fuzz: ## every fuzz target for FUZZTIME (20s) each
	@set -e; for pkg in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "fuzz $$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg; \
		done; \
	done

crash: ## the store's crash test over 1,000 seeds
	STORE_CRASH_SEEDS=1000 $(GO) test -run Crash -timeout 60m -v ./store/

compat: ## real clients against our server
	$(GO) test -count=1 -timeout 25m -v ./compat/

compat-apache: ## the same scenarios against Apache's own server (needs java and mvn)
	APOGEE_TARGET=apache $(GO) test -count=1 -timeout 40m -v ./compat/

bench: ## the hot paths, with allocations
	$(GO) test -run '^$$' -bench . -skip '^BenchmarkOpen' -benchmem ./codec/ ./remoting/ ./store/ ./processor/

bench-recovery: ## start after a kill on a store of 10 GiB, ours and (with java and mvn) Apache's; needs 25 GB below TMPDIR
	$(GO) test ./store -run '^$$' -bench '^BenchmarkOpen' -benchtime 2x -timeout 30m
	RECOVERY_BYTES=$${RECOVERY_BYTES:-10737418240} $(GO) test ./compat -run '^$$' -bench Recovery -benchtime 3x -timeout 60m

bench-semantics: ## transactions, delays, filters, POP: ours and Apache's server in one run (needs java and mvn)
	$(PIN) $(GO) test -run '^$$' -bench Semantics -benchtime 1x -timeout 60m ./compat/

lint: ## gofmt, go vet, staticcheck
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

clean: ## remove what was built
	rm -rf bin
