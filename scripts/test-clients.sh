#!/bin/sh
# Lints the OpenAPI document and runs the hub against clients in other languages. These need more than Go: where that
# is missing, says so, and fails only in CI (CI=true), so that Go alone is enough to work on the hub.
set -eu

missing=
for tool in node npm curl; do
    command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"
done
if [ -n "$missing" ]; then
    echo "test-clients was not run, for want of:$missing" >&2
    if [ "${CI:-}" = true ]; then exit 1; fi
    exit 0
fi

(cd test/clients && npm ci --no-audit --no-fund && npm run lint)
go test -race -tags clients ./test/clients/...
