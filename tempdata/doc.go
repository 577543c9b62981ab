// Package tempdata keeps temporary data in Redis: values under namespace and key, forms of named steps, the state of
// conversations and their histories, and leases. Everything expires.
//
// Guarantees, of a Store and all others with the same Redis and prefix:
//
//   - What a call acknowledges is in Redis, as durable as that is, or is marked Degraded. Each change is one script there: a
//     condition is checked in the same step, steps of a form that nobody names are not touched, and a history is never longer
//     than it may be. All but patches and Back, which look first, take one round trip; so do the reads.
//   - An entity tag never comes back, also not when a value is deleted and set again as it was.
//   - A form is submitted once. With an IdempotencyKey, who did not get the answer may ask again for an hour.
//   - Listing and clearing use an index and never scan keys. What expired is not listed.
//   - While Redis is away calls go on in memory, with what this process read and wrote last, as far as Config.MemoryBytes
//     reaches, and are marked Degraded. When it is back the changes are written with the time to live that they have left;
//     of two changes of the same value or step the later one, by the clocks of the processes, wins. What is not known in
//     memory gives ErrUnavailable and never ErrNotFound, and what does not fit ErrFull. Nothing is submitted, leased, listed or
//     cleared then.
//   - What a Redis that was restarted has lost, and this process has in memory, is put back within about a second, or before
//     the first call that notices is answered.
//   - Reading what the bot wrote runs nothing: see package djangocache.
//
// Limits:
//
//   - What waits in memory is lost when the process ends before Redis is back. Other processes do not see it: where several
//     share the callers, MemoryBytes should be negative.
//   - A call that fails with ErrUnavailable may have been done. To put or delete again does no harm; to append does, and to
//     submit without an IdempotencyKey may.
//   - With Config.Django, what the bot wrote while no hub listened is listed, and belongs to its form, only after a walk
//     over all keys, which takes some seconds for a million of them; listing, clearing and reading that form as a whole give
//     ErrUnavailable until then. What it deleted meanwhile is listed until it would have expired. The entity tag of
//     its form comes back when the form is again what it was, as does that of two values that the bot itself wrote alike in the
//     same microsecond. Other forms and histories are not the bot's.
//   - One Redis server: the scripts use keys that a cluster would keep apart.
package tempdata
