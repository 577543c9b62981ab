// Package javaclient calls ConnectBot's Java matching service, and keeps its head when that is slow, half up or down.
//
// A [Client] has a method for each call of the service. What the service answers, in whichever of its shapes, becomes one
// type per kind of answer, and whatever else happens becomes an [Error] with a stable [Code].
//
// Guarantees:
//
//   - A call ends within Config.Timeout per attempt and Config.TotalTimeout in all, and with the caller's context. An
//     answer that does not come within that time, down to its last byte, has not come.
//   - A POST is sent again only when it is certain that nothing of it was sent: the service answers at random and knows no
//     idempotency. Both are tried at most three times, with growing pauses or those that the service asks for, and within
//     a budget. A GET is tried again after any failure that may pass, and while the answer to its first attempt is late it is
//     asked for a second time: four times in all, not counting what net/http sends again on its own when a connection that
//     it had kept ends without an answer.
//   - While the service fails, a breaker answers in its place, at once, with CodeBreakerOpen; one call at a time finds out
//     whether it is back. No more than Config.Concurrency calls are under way.
//   - The breaker opens after 5 failures in a row, or when at least half of at least 10 within 30 s failed. Every attempt of
//     a call counts, except that one and the other that was made while it was late count once. Failures are: no
//     connection or a broken one, an answer that is malformed or too large, a status of 5xx, and time that ran out after
//     the service had at least half of Config.Timeout, whoever set the limit. A refusal, a failure of the service's data
//     source and a caller who leaves are none.
//   - No redirect is followed and no proxy used, no more than Config.MaxAnswer bytes of an answer are read, and no
//     answer, name, token or address stands in an error or in the log. The message of an Error is the service's own, for the
//     caller.
//   - No answer becomes much more in memory than it is: there may be 10,000 pairs, as many without a partner, 100
//     algorithms, 100,000 matches of a tournament, and 10,000 members of all teams together.
//
// Limits:
//
//   - What a POST that failed after it was sent has done is not known.
//   - Calls to the service's health pass by the breaker.
//   - Callers whose deadlines are shorter than half of Config.Timeout never open the breaker by waiting: a service that hangs
//     keeps each of them until its deadline. Where all are in such a hurry, make Config.Timeout shorter.
//   - What a service sends beyond the length that it announced, net/http writes to the standard logger, and there may be names
//     in it. A program that must not log any calls log.SetOutput(io.Discard) of package log, as the hub does.
//
// All of it is safe for concurrent use.
package javaclient
