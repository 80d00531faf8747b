package store

// deleteHead removes up to n segments from the beginning of the log and returns how many it removed: never the last one,
// and none whose records are not flushed and visible. Readers keep what they hold; queues find their new first offset
// when they are next asked (queue.minOffset). Retention decides when to call it. Apache: CommitLog.deleteExpiredFile.
func (s *Store) deleteHead(n int) (int, error) {
	list := s.log.all()
	safe := min(s.Dispatched(), s.Flushed())
	may := 0
	for may < min(n, len(list)-1) && list[may].end() <= safe {
		may++
	}
	return may, s.log.deleteHead(may)
}
