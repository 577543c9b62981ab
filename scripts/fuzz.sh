#!/bin/sh
# Runs every fuzz target of the repository, one after the other, each for FUZZTIME (10s unless set). Goes on after a
# failure, and fails at the end if there was one.
set -eu

: "${FUZZTIME:=10s}"
status=0
for file in $(find . -name node_modules -prune -o -name '*_test.go' -print); do
    for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
        echo "$target, $(dirname "$file"), $FUZZTIME"
        go test -run='^$' -fuzz="^$target\$" -fuzztime="$FUZZTIME" "$(dirname "$file")" || status=1
    done
done
exit $status
