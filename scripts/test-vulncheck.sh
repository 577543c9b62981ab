#!/bin/sh
# Tests scripts/vulncheck.sh with databases of its own: one that is away, one without entries, and two with a made-up entry
# for a module that the hub uses, in a function it calls and in one that it does not.
set -eu

package=./internal/djangocache # A small one, which is soon looked through.
module=github.com/klauspost/compress
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# database makes one whose entry, if a function is named, says that the function is vulnerable.
database() {
    db=$dir/$1
    mkdir -p "$db/index" "$db/ID"
    echo '{"modified":"2026-01-01T00:00:00Z"}' >"$db/index/db.json"
    [ $# -eq 1 ] && echo '[]' >"$db/index/modules.json" && return
    echo '[{"path":"'$module'","vulns":[{"id":"GO-2026-99999","modified":"2026-01-01T00:00:00Z"}]}]' >"$db/index/modules.json"
    cat >"$db/ID/GO-2026-99999.json" <<JSON
{"schema_version":"1.3.1","id":"GO-2026-99999","modified":"2026-01-01T00:00:00Z","published":"2026-01-01T00:00:00Z",
 "summary":"Made up for a test","details":"Made up for a test.","affected":[{
   "package":{"name":"$module","ecosystem":"Go"},
   "ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}],
   "ecosystem_specific":{"imports":[{"path":"$module/zlib","symbols":["$2"]}]}}],
 "database_specific":{"url":"https://pkg.go.dev/vuln/GO-2026-99999"}}
JSON
}

# expect runs the check and compares its status, 0 or 1 for another, and what it says.
expect() {
    what=$1 status=$2 said=$3
    shift 3
    got=0
    env "$@" scripts/vulncheck.sh "$package" >"$dir/out" 2>&1 || got=1
    if [ "$got" != "$status" ] || ! grep -q "$said" "$dir/out"; then
        echo "test-vulncheck: with $what the status is $got, want $status, and it should say \"$said\". It says:" >&2
        cat "$dir/out" >&2
        exit 1
    fi
}

database empty
database called NewWriterLevel
database uncalled NewWriter
go tool -modfile=tools/go.mod -n govulncheck >/dev/null # It could not be fetched with a proxy that is away.
away=http://127.0.0.1:1 # Nothing listens there.
expect 'a database that is away' 0 'NOT LOOKED FOR.* at https://vuln.go.dev' VULNCHECK= GOVULNDB= HTTPS_PROXY="$away"
expect 'a database that is away and required' 1 'NOT LOOKED FOR' VULNCHECK=required GOVULNDB= HTTPS_PROXY="$away"
expect 'a copy that is away' 0 "NOT LOOKED FOR.* at $away" VULNCHECK= GOVULNDB="$away"
expect 'a copy that is away and required' 1 'NOT LOOKED FOR' VULNCHECK=required GOVULNDB="file://$dir/nowhere"
expect 'an empty database' 0 'No vulnerabilities found' VULNCHECK=required GOVULNDB="file://$dir/empty"
expect 'a vulnerability that is called' 1 'GO-2026-99999' VULNCHECK= GOVULNDB="file://$dir/called"
expect 'a vulnerability that is not called' 0 'No vulnerabilities found' VULNCHECK= GOVULNDB="file://$dir/uncalled"
echo 'test-vulncheck: what is found fails, what cannot be looked for is said'
