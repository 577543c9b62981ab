package jobqueue

// Stats counts what this process did since the Queue was made.
type Stats struct {
	// Added jobs, not counting those that were known.
	Added int64
	// Taken jobs, each time that one was.
	Taken int64
	// What became of them: Finished, Retried, Buried, Released by Close, and Lost: the outcome was not written, because the
	// lease had ended or Redis was away. Jobs that were buried because they were taken too often are counted as Buried only.
	Finished, Retried, Buried, Released, Lost int64
	// Panicked handlers, whose jobs are counted above, too.
	Panicked int64
}

// Stats returns the counters.
func (q *Queue) Stats() Stats {
	c := &q.count
	return Stats{
		Added: c.added.Load(), Taken: c.taken.Load(), Finished: c.finished.Load(), Retried: c.retried.Load(),
		Buried: c.buried.Load(), Released: c.released.Load(), Lost: c.lost.Load(), Panicked: c.panicked.Load(),
	}
}
