VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null)
BRANCH   ?= $(shell git rev-parse --abbrev-ref HEAD 2>/dev/null)
PKG      := github.com/prometheus/common/version
LDFLAGS  := -s -w -X $(PKG).Version=$(VERSION) -X $(PKG).Revision=$(REVISION) -X $(PKG).Branch=$(BRANCH)

.PHONY: build test lint demo ci bench

build:
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o waitpoint_exporter .

test:
	go test -race -short ./...

lint:
	golangci-lint run ./...

demo:
	go run . --demo

ci:
	.ci/run

bench:
	go run ./collector/bench
	go test -run '^$$' -bench . -benchmem ./client ./collector/...
