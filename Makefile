# The two commands of the README: `make` sets up and builds, `make test` proves it.
BUILD ?= build
JOBS ?= $(shell nproc)

SEED ?= 0
TASK ?= pick_up_the_cube_and_place_it_on_the_plate

.PHONY: all setup build test bench demo clean
all: build

setup:
	@scripts/setup.sh

build: setup
	@cmake -S . -B $(BUILD) -G Ninja $(CMAKE_OPTIONS)
	@cmake --build $(BUILD) -j $(JOBS)

# Tests that measure nothing, in parallel; slow end-to-end ones start first (COST in tests/).
test: build
	@ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)

# From nothing to a robot that succeeds, with its controls: docs/demo.md. Goes on where it was
# stopped. `make demo SEED=1` trains another one; TASK is one of the suite `demo`.
demo:
	@MAKE="$(MAKE)" BUILD=$(BUILD) SEED=$(SEED) TASK=$(TASK) scripts/demo

clean:
	rm -rf $(BUILD)
