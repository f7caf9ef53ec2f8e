# calico-rs: `make demo` shows it working, `make test` proves it. CONTRIBUTING.md says the rest.
TARGET := x86_64-unknown-linux-gnu
BUILT := target/$(TARGET)/release/calico
PREFIX ?= /usr/local
NAMES := calicoctl calico-node calico-ipam
export CALICO_GIT_COMMIT := $(shell git rev-parse --short=8 HEAD 2>/dev/null || echo unknown)

.PHONY: build demo demo-kubernetes images test test-guest test-kubernetes bench fmt lint install setup setup-test setup-kubernetes

build: ## the one static binary, at target/release/calico
	cargo build --release --locked -p calico
	@mkdir -p target/release && ln -sf ../$(TARGET)/release/calico target/release/calico

images: build ## the container images, at target/calico-images.tar; needs Go
	scripts/plugins
	$(BUILT) lab image target/calico-images.tar

demo: setup build ## four nodes, the modes, reachability, a recovery; checked step by step
	scripts/demo

demo-kubernetes: setup-kubernetes images ## a real Kubernetes cluster of three nodes, from one manifest; needs Go
	scripts/demo-kubernetes

test: setup-test build ## every test; needs root, for namespaces
	scripts/test

test-guest: setup-test build ## what needs a kernel with ipip and ip_vs, in an emulated machine
	tests/guest/run

test-kubernetes: setup-kubernetes build ## on real Kubernetes clusters in labs
	scripts/test-kubernetes

bench: setup-test setup-kubernetes build ## all figures, into docs/benchmarks.md
	scripts/bench

fmt: ## format the code
	cargo fmt --all

lint: ## what CI checks before it tests
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --workspace --test kubernetes --locked -- -D warnings

install: build ## the binary and its names, below PREFIX
	install -D -m 0755 $(BUILT) $(DESTDIR)$(PREFIX)/bin/calico
	$(foreach name,$(NAMES),ln -sf calico $(DESTDIR)$(PREFIX)/bin/$(name);)

setup: ## packages that the demo's nodes use
	scripts/setup demo

setup-test: ## packages that tests and benchmarks use as peers and oracles
	scripts/setup test

setup-kubernetes: ## packages and Kubernetes' programs, for clusters in labs; wants Go
	scripts/setup kubernetes
