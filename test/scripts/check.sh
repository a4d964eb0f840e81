#!/usr/bin/env bash
# Style and conventions; changes nothing.
. "$(dirname "$0")/lib.sh"
find_go

say gofmt
bad=$(git -c safe.directory="$ROOT" ls-files -co --exclude-standard '*.go' 2>/dev/null || find . -name '*.go' -not -path './.git/*')
bad=$(printf '%s\n' "$bad" | xargs gofmt -l)
[ -z "$bad" ] || die "not formatted: $bad"
say go vet
go vet ./...
go vet -tags long,goldens,bench,vm ./...
say staticcheck
go tool staticcheck ./...
say conventions
go test ./test/conventions
