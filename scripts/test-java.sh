#!/bin/sh
# Builds the matching service of test/matching-service and runs the hub's code against it. This needs a JDK and Maven:
# where they are missing, says so and fails only in CI (CI=true), so that Go alone is enough to work on the hub.
set -eu

have() { command -v "$1" >/dev/null 2>&1; }

missing=
have mvn || missing="$missing mvn"
if ! have java || ! have javac; then
    missing="$missing JDK-17-or-later"
elif [ "$(javac -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p')" -lt 17 ]; then
    missing="$missing JDK-17-or-later"
fi
if [ -n "$missing" ]; then
    echo "test-java was not run, for want of:$missing" >&2
    if [ "${CI:-}" = true ]; then exit 1; fi
    exit 0
fi

# The service is built again only when something of it is newer than the jar.
cd test/matching-service
jar=target/matching-service.jar
if [ ! -e "$jar" ] || [ -n "$(find pom.xml src -newer "$jar")" ]; then
    package() { mvn -q -B -DskipTests "$@" package; }
    # Without the network, if Maven has everything already.
    package -o >/dev/null 2>&1 || package
    touch "$jar"
fi
cd ../..
# The test cache does not see the service.
go test -race -count=1 -tags java ./test/java/...
