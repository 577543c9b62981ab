#!/bin/sh
# Looks for known vulnerabilities that the code can reach, tests included, in the packages named, or in all. Fails if there
# is one. The database is the one of GOVULNDB, or Go's own. Where that is out of reach, says so and that nothing was looked
# for, and fails only with VULNCHECK=required: a machine without it must be able to run the other checks.
set -eu

[ $# -gt 0 ] || set -- ./...
db=${GOVULNDB:-https://vuln.go.dev}
govulncheck() { go tool -modfile=tools/go.mod govulncheck -db "$db" "$@"; }

go tool -modfile=tools/go.mod -n govulncheck >/dev/null # Fails if there is no govulncheck.
# Only with the database there is a line that says how old that is.
version=$(govulncheck -version 2>&1) || true
case $version in
*'DB updated:'*) ;;
*)
    cat >&2 <<HELP

    KNOWN VULNERABILITIES WERE NOT LOOKED FOR: there is no vulnerability database to be had at $db.
    Name another in GOVULNDB, and set VULNCHECK=required where a check that was not made must fail.

HELP
    [ "${VULNCHECK:-}" = required ] && exit 1
    exit 0
    ;;
esac
printf '%s\n' "$version" | sed -n 's/^DB\( updated\)*: /vulnerability database\1: /p'
govulncheck -test -tags clients,java,prometheus "$@"
