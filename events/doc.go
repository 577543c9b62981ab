// Package events publishes ConnectBot's events on Redis, keeps them in a log per channel and gives them to those who
// listen.
//
// A Publisher appends an event to its channel's log and publishes it on the Redis Pub/Sub channel in one step. Services
// that only know the Pub/Sub channels read the plain JSON they always read. A Subscriber, and the Streams of a Fanout,
// start from a Cursor, read what the log holds after it and go on live, through lost connections and restarts.
// A Consumer shares the events of one channel with others of its group, so that one of several hubs handles each.
// A Bridge takes into the log what the Django bot publishes on the channels without a hub. Log reads pages of history.
//
// # Guarantee
//
// What Publish acknowledged is in the log of the channel, once, and is delivered to every stream that follows the channel
// exactly once and in the order of the log, for as long as the log keeps it (Config.User, Global and Service). A stream
// that comes back too late is told so by a Gap; nothing is left out silently. Events with the same id, or with
// the same idempotency key, are published once within Config.DedupeWindow. A group of Consumers handles each event at
// least once, even when some of them die.
//
// # Limit
//
// The log is as durable as the Redis server is configured to be: with appendfsync everysec a crash of the machine may take
// the last second, and without persistence a restart takes all. A stream is told so by a Gap when the last event it read
// is among what was lost. Plain Pub/Sub readers get each event at most once, as always. There is no order between
// channels. A read may report a Gap although only the very event at the cursor was trimmed and nothing after it, or
// although nothing was published while the cursor grew older than the log.
package events
