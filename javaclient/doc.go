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
//     a budget. A GET is tried again after any failure that may pass, and asked a second time while the first answer is late.
//   - While the service fails, a breaker answers in its place, at once, with CodeBreakerOpen; one call at a time finds out
//     whether it is back. No more than Config.Concurrency calls are under way.
//   - The breaker opens after 5 failures in a row, or when at least half of at least 10 within 30 s failed. Every attempt of
//     a call counts, except that one and the other that was made while it was late count once. Failures are: no
//     connection or a broken one, an answer that is malformed or too large, a status of 5xx, and time that ran out after
//     the service had at least half of Config.Timeout, whoever set the limit. A refusal, a failure of the service's data
//     source and a caller who leaves are none.
//   - No redirect is followed and no proxy used, no more than Config.MaxAnswer bytes of an answer are read, and no
//     answer, name or token stands in an error or in the log. The message of an Error is the service's own, for the caller.
//
// Limit: what a POST that failed after it was sent has done is not known. Calls to the service's health pass by the breaker.
//
// All of it is safe for concurrent use.
package javaclient
