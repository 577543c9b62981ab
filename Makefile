# Go, make and git are all that `make run` and `make build` need; `make test` needs a C compiler (for the race
# detector) and redis-server as well. The other tools are pinned in tools/go.mod and built when first used.

GOLANGCI_LINT := go tool -modfile=tools/go.mod golangci-lint
VERSION       := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COUNT         ?= 3
FUZZTIME      ?= 10s
export FUZZTIME

.NOTPARALLEL:
.PHONY: help run build test race fuzz cover bench test-clients test-java test-prometheus generate fmt lint vulncheck check \
        generate-is-clean tidy-is-clean redis-server

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## run the hub, with its embedded Redis unless REDIS_URL names another
	go run ./cmd/connecthub serve

build: ## build bin/connecthub
	go build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/connecthub ./cmd/connecthub

test: redis-server ## run the tests with the race detector
	go test -race ./...

race: redis-server ## look for flaky tests: run them COUNT times (3), in random order, nothing cached
	go test -race -count=$(COUNT) -shuffle=on ./...

fuzz: redis-server ## run every fuzz target for FUZZTIME (10s)
	scripts/fuzz.sh

cover: redis-server ## measure test coverage: coverage/index.html
	mkdir -p coverage
	go test -coverpkg=./... -coverprofile=coverage/cover.out ./...
	go tool cover -html=coverage/cover.out -o coverage/index.html
	go tool cover -func=coverage/cover.out | tail -n 1

bench: redis-server ## run the benchmarks of docs/benchmarks.md
	go run ./bench

test-clients: redis-server ## lint the API document, and test with clients in other languages (needs node, npm, curl)
	scripts/test-clients.sh

test-java: redis-server ## test with a real Java matching service (needs a JDK 17 and mvn)
	scripts/test-java.sh

test-prometheus: redis-server ## test the dashboard and the alerts with a real Prometheus (needs prometheus)
	scripts/test-prometheus.sh

generate: ## regenerate code and documents
	go generate ./...

fmt: ## format the code
	$(GOLANGCI_LINT) fmt

lint: ## check the code and its format
	$(GOLANGCI_LINT) run
	$(GOLANGCI_LINT) fmt --diff

check: generate-is-clean tidy-is-clean lint vulncheck test test-clients test-java test-prometheus ## everything that CI checks

vulncheck: ## look for known vulnerabilities; VULNCHECK=required fails where there is no database of them
	scripts/vulncheck.sh
	scripts/test-vulncheck.sh

generate-is-clean: ## check that regenerating changes nothing
	scripts/generate-is-clean.sh

tidy-is-clean: ## check that go.mod and go.sum are tidy
	go mod tidy -diff
	cd tools && go mod tidy -diff

redis-server:
	@scripts/install-redis.sh
