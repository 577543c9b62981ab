// Package jobqueue is a durable queue of jobs in Redis, shared by all processes with the same prefix.
//
// Guarantee: a job that was added is handled until a handler says that it is done or is to be buried, or it was taken too
// often. One process at a time has it, by a lease that it renews; when the process dies, another takes the job when the lease
// ends. A job is finished once, and its handlers can decide on one result, once, whichever of them comes first. An id is added
// once as long as it is known. Every change is one script in Redis, whose clock decides.
//
// Limit: a handler may be called again for a job whose work it did, when its outcome did not reach Redis, and while another
// handler that has lost its lease has not noticed yet; so what a handler does must bear repetition, or follow from what it has
// decided. What Redis itself loses or evicts is lost. Jobs are taken in the order in which they become due, and
// with several workers may end in another.
//
// All processes with a prefix should have the same Config. The client of Redis should cut a call when its context ends
// (ContextTimeoutEnabled), as those of redisconn do, or a Redis that hangs holds calls up longer than Config.Timeout.
package jobqueue
