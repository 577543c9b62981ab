#!/bin/sh
# Lints the OpenAPI document and runs the hub against clients in other languages. These need more than Go: where node,
# npm, curl, bash or redis-cli is missing, says so and fails only in CI (CI=true), so that Go alone is enough to work on the hub. Where a
# browser or Python is missing, says so and leaves out the tests that need it.
set -eu

have() { command -v "$1" >/dev/null 2>&1; }

missing=
for tool in node npm curl bash redis-cli; do
    have "$tool" || missing="$missing $tool"
done
if have node && ! node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'; then
    missing="$missing node-20-or-later"
fi
if [ -n "$missing" ]; then
    echo "test-clients was not run, for want of:$missing" >&2
    if [ "${CI:-}" = true ]; then exit 1; fi
    exit 0
fi

without=
if ! have chromium && ! have chromium-browser && ! have google-chrome; then
    echo 'test-clients leaves out the browser, for want of chromium' >&2
    without='^TestBrowser'
fi
if ! python3 -c 'import ensurepip, venv' >/dev/null 2>&1; then
    echo 'test-clients leaves out the Python services, for want of python3 with venv (Debian: python3-venv)' >&2
    without="${without:+$without|}^TestPython"
fi

(cd test/clients && npm ci --no-audit --no-fund && npm run lint)
# The tests build the hub themselves, which the test cache does not see.
go test -race -count=1 -tags clients ${without:+-skip "$without"} ./test/clients/... ./internal/djangocache
