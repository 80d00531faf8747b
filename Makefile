# Each target works alone on a fresh checkout; `make help` lists them.

GO      ?= go
BIN     := bin/apogee
VERSION := $(shell sed -n 's/^\tversion = "\(.*\)"$$/\1/p' cmd/apogee/main.go)
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.commit=$(COMMIT)
FUZZTIME ?= 20s
# The clients of bench-bare, bench-cold, bench-delays and bench-semantics run on core 1, the server on core 0, where that can be had.
PIN := $(shell [ "$$(nproc 2>/dev/null || echo 1)" -gt 1 ] && command -v taskset >/dev/null && echo taskset -c 1)

PLATFORMS := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64
IMAGE   ?= apogee
DOCKER  ?= docker

# Where the crash tests have their stores: what they ask for survives a copy, so a disk adds nothing but time.
SHM := $(shell df -Pk /dev/shm 2>/dev/null | awk 'NR==2 && $$4 > 2097152 {print "/dev/shm"}')

.PHONY: help man release image image-apache debian-base image-test chart build run test race fuzz crash compat compat-apache dashboard exporter bench bench-append bench-bare bench-compare bench-cold bench-delays bench-recovery bench-semantics lint clean

help: ## what there is to make
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## one static binary: bin/apogee, with mqnamesrv, mqbroker and mqadmin as links to it
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/apogee
	ln -sf apogee bin/mqnamesrv
	ln -sf apogee bin/mqbroker
	ln -sf apogee bin/mqadmin

man: build ## the manual page of mqadmin: bin/man/man1/mqadmin.1
	mkdir -p bin/man/man1
	./$(BIN) man > bin/man/man1/mqadmin.1

run: build ## name server and broker in one process, data in ./apogee-data
	./$(BIN) server

test: lint ## every test; the Java parts run when java and mvn are there, and alone: each has servers and clients of its own
	$(GO) test -timeout 20m $$($(GO) list ./... | grep -v /compat$$)
	$(GO) test -timeout 45m ./compat/

race: ## the packages under the race detector
	$(GO) test -race -timeout 30m ./codec/... ./remoting/... ./store/... ./processor/... ./namesrv/... ./broker/...

fuzz: ## every fuzz target for FUZZTIME (20s) each
	@set -e; for pkg in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "fuzz $$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg; \
		done; \
	done

crash: ## the store's crash tests over 1,000 seeds each, in memory where /dev/shm has 2 GB; CRASH_DIR=DIR for elsewhere
	STORE_CRASH_SEEDS=1000 $(GO) test -exec "env -u GOTMPDIR TMPDIR=$(or $(CRASH_DIR),$(SHM),$${TMPDIR:-/tmp})" \
		-run Crash -parallel 8 -timeout 60m ./store/

compat: ## real clients against our server
	$(GO) test -count=1 -timeout 45m -v ./compat/

compat-apache: ## the same scenarios against Apache's own server (needs java and mvn)
	APOGEE_TARGET=apache $(GO) test -count=1 -timeout 40m -v ./compat/

# Where the sources of Apache's dashboard and exporter are; they are fetched when they are not there.
DASHBOARD ?= dist/rocketmq-dashboard
EXPORTER  ?= dist/rocketmq-exporter

$(DASHBOARD) $(EXPORTER):
	git clone --depth 1 https://github.com/apache/$(notdir $@).git $@

dashboard: $(DASHBOARD) ## RocketMQ Dashboard, without its front end, at ours and Apache's servers: what all pages ask (needs java and mvn)
	DASHBOARD_SOURCE=$(abspath $(DASHBOARD)) $(GO) test -count=1 -timeout 30m -v -run '^TestDashboard$$' ./compat/

exporter: $(EXPORTER) ## RocketMQ Exporter at ours and Apache's servers: the same series (needs java and mvn)
	EXPORTER_SOURCE=$(abspath $(EXPORTER)) $(GO) test -count=1 -timeout 30m -v -run '^TestExporter$$' ./compat/

bench: ## the hot paths: allocations, and ratios to an echo of the same event loop and to a plain copy
	$(GO) test -run '^$$' -bench . -skip '^BenchmarkOpen' -benchmem ./codec/ ./remoting/ ./store/ ./processor/

bench-append: ## appends beside plain copies, the append lock, new segments, group commit
	$(GO) test -run '^$$' -bench '^BenchmarkAppend(Lock|Parallel)?$$' -benchtime 500000x -cpu 1,2 ./store/
	$(GO) test -run '^$$' -bench '^Benchmark(AppendAcrossSegments|GroupCommit)$$' -benchmem ./store/

bench-recovery: ## start after a kill on a store of 10 GiB, ours and (with java and mvn) Apache's; needs 25 GB below TMPDIR
	$(GO) test ./store -run '^$$' -bench '^BenchmarkOpen' -benchtime 2x -timeout 30m
	RECOVERY_BYTES=$${RECOVERY_BYTES:-10737418240} $(GO) test ./compat -run '^$$' -bench Recovery -benchtime 3x -timeout 60m

bench-compare: ## `apogee bench` against ours and Apache's server in turn, three rounds, into dist/compare (needs java and mvn)
	APOGEE_COMPARE_DIR=$(abspath dist/compare) $(GO) test -v -run '^$$' -bench '^BenchmarkCompare$$' -benchtime 1x -timeout 120m ./compat/

bench-cold: ## sends while a backlog of 10 GB is pulled whose pages are not in memory: ours and Apache's server (needs java and mvn, and 15 GB below TMPDIR)
	$(PIN) $(GO) test -run '^$$' -bench ColdReads -benchtime 1x -timeout 60m ./compat/

bench-bare: ## the traffic of bench-compare on a server that does nothing with it: the kernel's and the machine's share
	$(PIN) $(GO) test -run '^$$' -bench '^BenchmarkBare$$' -benchtime 1x -timeout 60m ./compat/

bench-delays: ## how late 10,000 delayed messages a second come, and the memory of 1,000,000 that wait: ours and Apache's server
	$(PIN) $(GO) test -run '^$$' -bench '^BenchmarkDelays$$' -benchtime 1x -timeout 60m ./compat/

bench-semantics: ## transactions, delays, filters, POP: ours and Apache's server in one run (needs java and mvn)
	$(PIN) $(GO) test -run '^$$' -bench Semantics -benchtime 1x -timeout 60m ./compat/

lint: ## gofmt, go vet, staticcheck
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

release: ## static binaries of every platform with checksums: dist/
	rm -rf dist/release && mkdir -p dist/release
	@set -e; for platform in $(PLATFORMS); do \
		os=$${platform%/*} arch=$${platform#*/} name=apogee-$(VERSION)-$${platform%/*}-$${platform#*/}; \
		mkdir -p dist/release/$$name; \
		echo "build $$name"; \
		CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o dist/release/$$name/apogee ./cmd/apogee; \
		for link in mqnamesrv mqbroker mqadmin; do ln -sf apogee dist/release/$$name/$$link; done; \
		cp README.md LICENSE dist/release/$$name/; cp -r deploy/systemd dist/release/$$name/; \
		tar -C dist/release --owner=0 --group=0 --sort=name --mtime=@0 -czf dist/release/$$name.tar.gz $$name; \
		rm -r dist/release/$$name; \
	done
	cd dist/release && sha256sum *.tar.gz > SHA256SUMS && cat SHA256SUMS

dist/image: FORCE
	mkdir -p dist/image/data
	@set -e; for arch in amd64 arm64; do \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o dist/image/apogee-linux-$$arch ./cmd/apogee; \
	done
FORCE:

image: dist/image ## the small container image, not root; needs a container engine (DOCKER=docker), or DOCKER=buildah
	$(DOCKER) build -f deploy/docker/Dockerfile -t $(IMAGE):$(VERSION) -t $(IMAGE):latest .

image-apache: dist/image ## images with the paths and commands of Apache's and of its operator's
	$(DOCKER) build -f deploy/docker/apache/Dockerfile --target rocketmq -t $(IMAGE)-rocketmq:$(VERSION) .
	$(DOCKER) build -f deploy/docker/apache/Dockerfile --target operator-broker -t $(IMAGE)-rocketmq-broker:$(VERSION) .
	$(DOCKER) build -f deploy/docker/apache/Dockerfile --target operator-nameserver -t $(IMAGE)-rocketmq-nameserver:$(VERSION) .

# The base of Apache's image, made of Debian's packages where no registry can be asked.
DEBIAN := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/apogee-compat/debian-bookworm-slim.tar

debian-base: $(DEBIAN) ## a base image for image-test, without a registry (needs mmdebstrap and root)
$(DEBIAN):
	mkdir -p $(dir $@)
	mmdebstrap --variant=minbase $(foreach d,doc locale man,--dpkgopt='path-exclude=/usr/share/$(d)/*') bookworm $@.tmp.tar
	mv $@.tmp.tar $@

image-test: debian-base ## build Apache's layout of images with buildah and send messages through their name server and brokers
	APACHE_IMAGES=1 $(GO) test -count=1 -v -run 'Image' ./deploy/

# Helm as a Go module, where it is not installed.
HELM_VERSION := v3.22.0
HELM := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/apogee-compat/helm-$(HELM_VERSION)

chart: ## lint and render the Helm chart, with a helm built of its sources where none is installed
	@command -v helm >/dev/null || [ -x $(HELM)/helm ] || GOBIN=$(HELM) $(GO) install helm.sh/helm/v3/cmd/helm@$(HELM_VERSION)
	PATH="$$PATH:$(HELM)" $(GO) test -count=1 -v -run Chart ./deploy/

clean: ## remove what was built
	rm -rf bin dist
