#!/bin/sh
# Regenerates everything and fails, with the difference, if that changes, adds or removes any file that git does not
# ignore. Compares the work tree before and after, so it holds before a commit as well as in a fresh clone.
set -eu

index=$(mktemp)
trap 'rm -f "$index"' EXIT

# tree prints the name of the work tree as git would store it, and leaves the user's own index alone.
tree() {
    GIT_INDEX_FILE=$index git read-tree --empty
    GIT_INDEX_FILE=$index git add --all
    GIT_INDEX_FILE=$index git write-tree
}

before=$(tree)
go generate ./...
after=$(tree)

if ! git --no-pager diff --exit-code "$before" "$after"; then
    echo 'generated files were out of date: commit what go generate ./... has just written' >&2
    exit 1
fi
