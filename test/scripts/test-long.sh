#!/usr/bin/env bash
# The tests that take long: in files with the build tag "long", named TestLong...
. "$(dirname "$0")/lib.sh"
need_root test-long
need_programs "${RUN_PROGRAMS[@]}" "${TEST_PROGRAMS[@]}"
find_go

mapfile -t dirs < <(grep -rlE '^//go:build .*\blong\b' --include='*_test.go' . | xargs -r -n 1 dirname | sort -u)
if [ ${#dirs[@]} = 0 ]; then
	say "there is no test with the build tag long"
	exit 0
fi
test/scripts/build.sh
say "go test -tags long: ${dirs[*]}"
go test -p 1 -tags long -run '^TestLong' -timeout 60m "${dirs[@]}" </dev/null

# Each fuzz target for a while; what it finds is kept in its testdata/fuzz.
say "fuzzing, ${FUZZTIME:=20s} each"
grep -rnoE '^func (Fuzz[A-Za-z0-9]+)' --include='*_test.go' . | while IFS=: read -r file _ match; do
	go test -run '^$' -fuzz "^${match#func }\$" -fuzztime "$FUZZTIME" "$(dirname "$file")" </dev/null
done
