// Package local matches people without the Java service: partners for coffee, brackets and teams.
//
// It only computes: it does no I/O, starts no goroutines, logs nothing and keeps nothing between calls, so that every
// function may be called from several goroutines at a time. The same arguments give the same result, whatever the order
// of the people; another seed gives another one, since the people are shuffled by the seed first.
package local
