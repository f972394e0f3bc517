# The two commands of the README: `make` sets up and builds, `make test` proves it.
BUILD ?= build
JOBS ?= $(shell nproc)

.PHONY: all setup build test bench clean
all: build

setup:
	@scripts/setup.sh

build: setup
	@cmake -S . -B $(BUILD) -G Ninja $(CMAKE_OPTIONS)
	@cmake --build $(BUILD) -j $(JOBS)

# Tests that measure nothing, in parallel; slow end-to-end ones start first (COST in tests/).
test: build
	@ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)

clean:
	rm -rf $(BUILD)
