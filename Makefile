# Each target is a script in test/scripts that finds Go by itself, also where
# sudo hides it. Variables given on the command line reach the scripts.
.PHONY: help build run test test-long check bench cleanup goldens vm-test

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | while read -r name text; do \
		if [ $$name = help ] || [ -x test/scripts/$$name.sh ]; then printf '  make %-12s %s\n' "$$name" "$$text"; fi; done

build: ## build bin/davit: one static binary, the helper embedded
	@test/scripts/build.sh

run: ## (root) run the example pods; NETNS=name: in a network namespace; RUN_ONCE=1: check them and end
	@test/scripts/run.sh

test: ## (root) install what is missing and run all tests; PKG=./runtime/...: only some
	@test/scripts/test.sh

test-long: ## (root) the tests that take long: kill sweeps, fuzzing, soak
	@test/scripts/test-long.sh

check: ## gofmt, vet, staticcheck and the project's conventions
	@test/scripts/check.sh

goldens: ## (root) record anew what a real kubelet does; RUN=pattern: only some scenarios
	@test/scripts/goldens.sh

cleanup: ## (root) remove what an interrupted run left
	@test/scripts/cleanup.sh

ifneq ($(wildcard test/scripts/bench.sh),)
bench: ## (root) measure against the floor
	@test/scripts/bench.sh
endif

ifneq ($(wildcard test/scripts/vm-test.sh),)
vm-test: ## (root) the smoke and reboot tests in a VM with systemd and cgroup v2
	@test/scripts/vm-test.sh
endif
