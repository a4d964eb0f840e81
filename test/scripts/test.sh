#!/usr/bin/env bash
# Every test. Packages run one after the other, for many of them take the whole
# machine: namespaces, cgroups, a containerd of their own.
. "$(dirname "$0")/lib.sh"
need_root test
need_programs "${RUN_PROGRAMS[@]}" "${TEST_PROGRAMS[@]}"
find_go

started=$SECONDS
say "building"
test/scripts/build.sh
say "go vet"
go vet ./...
say "go test"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
# shellcheck disable=SC2086 # PKG may name several
go test -p 1 -timeout 20m ${PKG:-./...} </dev/null 2>&1 | tee "$log" || status=$?

passed=$(grep -c '^ok ' "$log" || true)
failed=$(grep -cE '^FAIL[[:space:]]+[^[:space:]]' "$log" || true)
give_back bin
say "$((SECONDS - started)) s; packages with tests:"
[ "$failed" = 0 ] || grep -E '^(FAIL[[:space:]]+[^[:space:]]|[[:space:]]*--- FAIL)' "$log"
echo "$passed passed, $failed failed"
[ $status = 0 ] && [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
