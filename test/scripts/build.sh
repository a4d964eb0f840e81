#!/usr/bin/env bash
# Builds bin/davit: the helper first, then davit with the helper embedded.
. "$(dirname "$0")/lib.sh"
find_go

version=$(git -c safe.directory="$ROOT" describe --tags --always --dirty 2>/dev/null || echo unknown)
export CGO_ENABLED=0
flags=(-trimpath -buildvcs=false)

# A helper that did not change keeps its bytes: its hash is its name at run time.
embedded=runtime/helper/embedded/davit-helper
mkdir -p bin "$(dirname $embedded)"
new=$(mktemp bin/.helper-XXXXXX)
trap 'rm -f "$new"' EXIT
go build "${flags[@]}" -ldflags '-s -w -buildid=' -o "$new" ./cmd/davit-helper
chmod 755 "$new"
cmp -s "$new" $embedded || mv "$new" $embedded
size=$(stat -c %s $embedded)
[ "$size" -lt $((4 << 20)) ] || die "davit-helper has $size bytes, the limit is 4 MiB"

go build "${flags[@]}" -ldflags "-s -w -X main.version=$version" -o bin/davit ./cmd/davit
give_back bin "$(dirname $embedded)"
say "bin/davit $version, $(($(stat -c %s bin/davit) >> 20)) MiB, helper $((size >> 10)) KiB"
