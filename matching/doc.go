// Package matching finds partners for people: it asks the Java service and, when that is away, matches them itself.
//
// A [Matcher] answers at once; [Jobs] take requests that may wait, and answer them with events.
//
// Guarantees of a Matcher:
//
//   - Nobody is in two pairs and nobody in a pair who did not take part, whoever matched: an answer of the service that
//     says otherwise counts as a failure of the service. Who has no partner is named.
//   - With Config.Fallback, whatever is wrong with the service, a request that names its people is answered, and says so
//     (Degraded). The local matcher leaves the fewest possible without a partner, and heeds whom they exclude: see package
//     local.
//   - The same idempotency key gives the same pairs for a day, also to callers at the same time and of several hubs. So do
//     the same people within Config.CacheTTL, as long as Redis is there.
//
// Guarantees of Jobs:
//
//   - A request that was acknowledged is answered, once: with matching.completed or matching.failed for the service, and
//     with matching.completed for each user who has a partner. What a request came to is stored before it is told, and the
//     ids of the events are derived from the request's, so that no attempt that is repeated can tell another story.
//   - A request is worked on by one process at a time. When that dies, another goes on.
//   - A request that cannot be answered, or has failed too often, becomes a dead letter, and nothing waits behind it.
//
// Limits: the service answers at random and a request may be sent to it again when the process that sent it died before it
// had the answer. What is told of a request once is remembered as long as the publisher remembers ids. Requests that wait
// are as durable as the Redis server.
//
// All of it is safe for concurrent use.
package matching
