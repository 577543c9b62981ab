// Package java tests the hub's code with a real Java matching service, that of test/matching-service, and with faults
// between the two. Run it with make test-java, which builds the service, sets the build tag java and says what is missing.
package java
