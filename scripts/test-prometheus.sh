#!/bin/sh
# Tests what deploy/ has for Prometheus and Grafana with promtool and with a real Prometheus on a free port. Installs Debian's
# package of it if that needs no password, without starting its service. Where it is missing, says so and fails only in CI
# (CI=true), so that Go alone is enough to work on the hub.
set -eu

have() { command -v "$1" >/dev/null 2>&1; }

install_prometheus() {
    have apt-get || return 1
    if [ "$(id -u)" -eq 0 ]; then
        as_root=
    elif have sudo && sudo -n true 2>/dev/null; then
        as_root='sudo -n'
    else
        return 1
    fi
    echo 'prometheus is missing; installing it, as that needs no password'
    # Its service would listen on all addresses from then on. A policy that says so is a rule of the system's own: it is kept.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
        $as_root chmod 755 "$policy"
        trap '$as_root rm -f "$policy"' EXIT
    fi
    $as_root apt-get update -qq &&
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus
}

if ! have prometheus || ! have promtool; then
    (install_prometheus) </dev/null || true # In a shell of its own, whose end takes the policy away.
fi
missing=
have prometheus || missing="$missing prometheus"
have promtool || missing="$missing promtool"
if [ -n "$missing" ]; then
    echo "test-prometheus was not run, for want of:$missing (Debian: the package prometheus)" >&2
    if [ "${CI:-}" = true ]; then exit 1; fi
    exit 0
fi

# The test cache does not see Prometheus, nor the hub that the tests build.
go test -race -count=1 -tags prometheus ./test/prometheus/...
